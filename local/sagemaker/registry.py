"""The model registry: package groups, versioned packages, approval."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from local.sagemaker import events
from local.sagemaker.api import ApiError, invalid, not_emulated, shaped
from local.sagemaker.records import Record, listing, named
from local.sagemaker.world import World

_UPDATABLE = {
    "ModelApprovalStatus": "ModelApprovalStatus",
    "ApprovalDescription": "ApprovalDescription",
    "ModelLifeCycle": "ModelLifeCycle",
    "InferenceSpecification": "InferenceSpecification",
    "SourceUri": "sourceUri",
    "ModelPackageRegistrationType": "ModelPackageRegistrationType",
}
"""Member of UpdateModelPackage -> its spelling in the event's UpdatedModelPackageFields."""


class Registry:
    """Model package groups and packages. Nothing makes an approval final: it may be changed again at any time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._groups: dict[str, Record] = {}
        self._packages: dict[str, Record] = {}
        self._tokens: dict[str, tuple[dict[str, Any], str]] = {}
        self._versions: dict[str, int] = {}

    # -- groups ------------------------------------------------------------------------------------------------------

    def create_model_package_group(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Create a group. Raises ApiError when the name is taken."""
        name = params["ModelPackageGroupName"]
        arn = self._world.arn("model-package-group", name)
        if arn in self._world.tags:
            raise invalid(f"Model Package Group already exists: {arn}")
        record = {**params, "ModelPackageGroupArn": arn, "ModelPackageGroupStatus": "Completed", "CreatedBy": {}}
        self._world.created(record, arn, named(params))
        self._groups[name] = record
        return {"ModelPackageGroupArn": arn}

    def describe_model_package_group(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a group by name or ARN."""
        record = self._group(params["ModelPackageGroupName"])
        return shaped("DescribeModelPackageGroup", record) | {"CreatedBy": {}}

    def delete_model_package_group(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete an empty group. Raises ApiError(ConflictException) while it has packages."""
        record = self._group(params["ModelPackageGroupName"])
        name = record["ModelPackageGroupName"]
        if any(package.get("ModelPackageGroupName") == name for package in self._packages.values()):
            raise ApiError("ConflictException", f"Model Package Group {name} cannot be deleted: it has model packages")
        self._versions.pop(name, None)
        del self._groups[name], self._world.tags[record["ModelPackageGroupArn"]]
        return {}

    def list_model_package_groups(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List groups."""
        return listing("ListModelPackageGroups", params, self._groups.values(), "ModelPackageGroup")

    def _group(self, name: str) -> Record:
        for record in self._groups.values():
            if name in (record["ModelPackageGroupName"], record["ModelPackageGroupArn"]):
                return record
        raise invalid(f"ModelPackageGroup {name} does not exist.")

    # -- packages ----------------------------------------------------------------------------------------------------

    def create_model_package(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Register a package: the group's next version, or an unversioned one by name.

        A ClientToken seen before answers with the first package. Raises ApiError(ConflictException) when it comes back
        with other parameters.
        """
        token, content = params.get("ClientToken"), {k: v for k, v in params.items() if k != "ClientToken"}
        if token in self._tokens:
            first, arn = self._tokens[token]
            if first != content:
                raise ApiError("ConflictException", f"ClientToken {token} was used before with other parameters")
            return {"ModelPackageArn": arn}
        given = {"ModelPackageGroupName", "ModelPackageName"} & set(params)
        if not given:
            raise invalid("Missing ARN.")  # AWS's words for both: getmoto/moto#7165
        if len(given) > 1:
            raise invalid(
                "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use."
            )
        record = {name: deepcopy(value) for name, value in content.items() if name != "Tags"}
        record |= self._identity(params)
        record |= {
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "CertifyForMarketplace": params.get("CertifyForMarketplace", False),
        }
        arn = record["ModelPackageArn"]
        self._world.created(record, arn, named(params))
        del record["LastModifiedTime"]  # there only after an update
        self._packages[arn] = record
        if token:
            self._tokens[token] = (deepcopy(content), arn)
        events.package(self._world, record)
        return {"ModelPackageArn": arn}

    def _identity(self, params: Mapping[str, Any]) -> Record:
        if "ModelPackageName" in params:
            arn = self._world.arn("model-package", params["ModelPackageName"])
            if arn in self._packages:
                raise invalid(f"Model Package already exists: {arn}")
            return {"ModelPackageArn": arn}
        if params.get("Tags"):
            raise invalid("Tags are not allowed on a versioned model package: it uses the tags of its group")
        group = self._group(params["ModelPackageGroupName"])["ModelPackageGroupName"]
        version = self._versions[group] = self._versions.get(group, 0) + 1
        return {
            "ModelPackageGroupName": group,
            "ModelPackageName": group,
            "ModelPackageVersion": version,
            "ModelPackageArn": self._world.arn("model-package", f"{group}/{version}"),
            "ModelApprovalStatus": params.get("ModelApprovalStatus", "PendingManualApproval"),
        }

    def describe_model_package(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a package by ARN, or an unversioned one by name."""
        return _shown(shaped("DescribeModelPackage", self.find(params["ModelPackageName"])))

    def update_model_package(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Change approval, description, lifecycle or metadata; the event names the members that came in."""
        record = self.find(params["ModelPackageArn"])
        metadata = {"CustomerMetadataProperties", "CustomerMetadataPropertiesToRemove"}
        if unknown := set(params) - set(_UPDATABLE) - metadata - {"ModelPackageArn", "ClientToken"}:
            raise not_emulated(f"UpdateModelPackage with {', '.join(sorted(unknown))}")
        updated = [event_name for name, event_name in _UPDATABLE.items() if name in params]
        record |= {name: deepcopy(params[name]) for name in _UPDATABLE if name in params}
        added, removed = params.get("CustomerMetadataProperties"), params.get("CustomerMetadataPropertiesToRemove")
        if added is not None or removed is not None:
            kept = {**record.get("CustomerMetadataProperties", {}), **(added or {})}
            record["CustomerMetadataProperties"] = {k: v for k, v in kept.items() if k not in (removed or ())}
            if not record["CustomerMetadataProperties"]:
                del record["CustomerMetadataProperties"]
            updated.append("CustomerMetadataProperties")
        record["LastModifiedTime"] = self._world.now()
        events.package(self._world, record, updated)
        return {"ModelPackageArn": record["ModelPackageArn"]}

    def delete_model_package(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete a package; its version number is not used again."""
        arn = self.find(params["ModelPackageName"])["ModelPackageArn"]
        del self._packages[arn], self._world.tags[arn]
        return {}

    def list_model_packages(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """List packages: of a group when one is named, else the unversioned ones unless ModelPackageType says more."""
        records: list[Record] = list(self._packages.values())
        kind = params.get("ModelPackageType", "Both" if "ModelPackageGroupName" in params else "Unversioned")
        if kind != "Both":
            records = [record for record in records if ("ModelPackageVersion" in record) == (kind == "Versioned")]
        if "ModelPackageGroupName" in params:
            group = self._group(params["ModelPackageGroupName"])["ModelPackageGroupName"]
            records = [record for record in records if record.get("ModelPackageGroupName") == group]
        if "ModelApprovalStatus" in params:
            wanted = params["ModelApprovalStatus"]
            records = [record for record in records if record.get("ModelApprovalStatus") == wanted]
        answer = listing("ListModelPackages", params, records, "ModelPackage")
        return answer | {"ModelPackageSummaryList": [_shown(found) for found in answer["ModelPackageSummaryList"]]}

    def find(self, name: str) -> Record:
        """Return a package by ARN, or an unversioned one by name. Raises ApiError(ValidationException)."""
        arn = name if name.startswith("arn:") else self._world.arn("model-package", name)
        if arn not in self._packages:
            raise invalid(f"ModelPackage {arn} does not exist.")
        return self._packages[arn]


def _shown(package: Record) -> Record:
    """Return a package as answers show it: a version goes by its ARN, only an unversioned package has a name.

    Source: SageMaker's guide, "View the details of a model version"; the SDK v3 takes the name first where there is one.
    """
    hidden = {"ModelPackageName"} if "ModelPackageVersion" in package else set()
    return {key: value for key, value in package.items() if key not in hidden}
