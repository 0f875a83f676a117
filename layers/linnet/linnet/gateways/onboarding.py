"""From a spec file to everything its model needs; each step creates or adopts, so that it may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from linnet.decisions import baselines, names, onboarding
from linnet.errors import BadInputError, ConflictError, NotFoundError
from linnet.gateways import alarms, findings, ledger, machines, notifications, registry, s3, subscriptions
from linnet.gateways.clients import client, error_code
from linnet.settings import settings

if TYPE_CHECKING:
    from linnet.events.spec import Spec


@dataclass(frozen=True)
class SpecFile:
    """A spec as one version of its object holds it."""

    spec: Spec
    key: str
    version: str
    modified: str
    """When this version was put, by S3: of two versions the later one holds."""

    @property
    def digest(self) -> str:
        """What the spec says, whoever put it and however it was spelled."""
        return names.digest(self.document)

    @property
    def document(self) -> dict[str, Any]:
        """The spec as plain JSON with all defaults filled in."""
        return dict(self.spec.model_dump(mode="json"))


def on_created(bucket: str, key: str, version: str) -> str:
    """Start `onboard` for a new version of a spec; return what was done.

    Raises:
        BadInputError: the object is not a spec that can be onboarded.
    """
    if onboarding.model_of_key(key) is None:
        return "ignored: a folder's marker"
    try:
        found = load(bucket, key, version)
    except NotFoundError:
        return "ignored: this version is gone"
    name = onboarding.execution(found.spec.model, "on", found.version, found.modified)
    given = {"bucket": bucket, "key": key, "version_id": found.version, "correlation_id": name}
    return machines.start(settings().onboard_machine, name, given)


def on_deleted(bucket: str, key: str, marker: str) -> str:
    """Start `offboard` when a spec is really gone; return what was done.

    Raises:
        BadInputError: it is another bucket, which no role of ours can read.
    """
    model = onboarding.model_of_key(key)
    if model is None:
        return "ignored: a folder's marker"
    _check_bucket(bucket)
    if s3.head(f"s3://{bucket}/{key}") is not None:
        return "ignored: the spec is still there"
    row = ledger.read(f"model/{model}", "spec")
    if row is None:
        return "ignored: the model is not onboarded"
    name = onboarding.execution(model, "off", str(row["version_id"]), marker)
    return machines.start(settings().offboard_machine, name, {"model": model, "correlation_id": name})


def load(bucket: str, key: str, version: str = "") -> SpecFile:
    """Return the spec of one version of an object, of the latest by default.

    Raises:
        NotFoundError: there is no such object or version.
        BadInputError: it is another bucket, too large, no YAML, no spec, or another model's; names what and where.
    """
    # The spec's models and YAML take as long to import as all else here; most events need neither.
    from linnet.events.spec import MAXIMUM_BYTES, check_spec  # noqa: PLC0415
    from linnet.events.spec_file import read_yaml  # noqa: PLC0415

    _check_bucket(bucket)
    if onboarding.model_of_key(key) is None:
        raise BadInputError("key", key, "specs/<model>.yaml")
    uri = f"s3://{bucket}/{key}"
    found = s3.head(uri, version or None)
    if found is None:
        raise NotFoundError(f"{uri} (version {version or 'latest'}) does not exist")
    version = version or str(found.get("VersionId", ""))
    spec = check_spec(read_yaml(s3.read(uri, version=version or None, limit=MAXIMUM_BYTES)))
    onboarding.check_name(spec, key)
    modified: datetime = found["LastModified"]
    return SpecFile(spec, key, version, modified.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _check_bucket(bucket: str) -> None:
    if bucket != settings().data_bucket:
        raise BadInputError("bucket", bucket, settings().data_bucket)


def plan(bucket: str, key: str, version: str = "") -> dict[str, Any]:
    """Return what onboarding this version means: `{proceed, why, model, version_id, digest}`.

    Raises:
        NotFoundError, BadInputError: as `load`; also where the training script's archive or a file of a baseline is missing.
    """
    found = load(bucket, key, version)
    source = found.spec.training.source
    if source and s3.head(f"s3://{bucket}/{source}") is None:
        raise BadInputError("training.source", source, f"an object of {bucket}: put the archive before the spec")
    _check_baselines(found.document)
    latest = s3.head(f"s3://{bucket}/{key}")
    superseded = latest is None or str(latest.get("VersionId", "")) != found.version
    row = ledger.read(f"model/{found.spec.model}", "spec")
    known = "unchanged" if row and row["digest"] == found.digest else "changed" if row else "new"
    return {
        "proceed": not superseded,
        "why": "a later version or a deletion of the file supersedes this one"
        if superseded
        else f"the spec is {known}",
        "model": found.spec.model,
        "version_id": found.version,
        "digest": found.digest,
    }


def _check_baselines(spec: Mapping[str, Any]) -> None:
    """Refuse baselines elsewhere than where they may be read, and those of which a file is missing or not one."""
    for field, uri in baselines.foreign(spec["monitors"]["data_quality"]).items():
        home = f"s3://{settings().data_bucket}/baselines/"
        if not uri.startswith(home):
            raise BadInputError(field, uri, f"a folder below {home}: copy it there")
        for name in baselines.FILES:
            file = f"{uri.rstrip('/')}/{name}"
            try:
                known = baselines.names(file, findings.document(file))
            except NotFoundError:
                raise BadInputError(field, file, "a file that is there: put the baseline before the spec") from None
            baselines.check(file, known, spec["data"]["features"])


def carry_out(bucket: str, key: str, version: str, *, at: str, correlation_id: str) -> dict[str, Any]:
    """Make or adopt package group, experiment and alarms; then write the spec down, which admits signals; then subscribe.

    Where something serves and the endpoint part changed, its version is released again with the new one (DC-05).

    Raises:
        ConflictError: a package group or experiment of this name exists and is not Linnet's, or a later spec was written.
    """
    found = load(bucket, key, version)
    spec, stack = found.spec, settings().stack
    before = ledger.read(f"model/{spec.model}", "spec") or {}
    group, experiment = _package_group(stack, spec), _experiment(stack, spec)
    found_alarms = _alarms(stack, spec)
    row = {
        "model": spec.model, "spec": found.document, "digest": found.digest, "version_id": found.version,
        "modified": found.modified, "at": at, "group": group, "alarms": found_alarms,
        "experiment": experiment,
    }  # fmt: skip
    condition = "attribute_not_exists(pk) OR #modified <= :modified"
    if not ledger.change(f"model/{spec.model}", "spec", put=row, only_if=condition, given={"modified": found.modified}):
        raise ConflictError(f"a later spec of {spec.model} was onboarded than version {found.version}")
    index = {"model": spec.model, "spec_digest": found.digest}
    found_alarms = found_alarms + alarms.follow(spec.model, onboarding.tags(settings().environment, spec))
    ledger.change("models", spec.model, put=index, only_if="attribute_not_exists(pk) OR attribute_exists(pk)")
    subscriptions.renew({*spec.notifications.emails, *subscriptions.emails(before)})
    entry = {"digest": found.digest, "version_id": found.version, "correlation_id": correlation_id}
    key_of_entry = f"{found.digest}#{found.version}"
    if not ledger.told(f"model/{spec.model}", "onboarding", key_of_entry):
        notifications.notify(
            "onboarded",
            model=spec.model,
            subject=f"{spec.model} is onboarded" if not before else f"{spec.model}: its spec changed",
            what=f"The spec with digest {found.digest} holds from now on.",
            why=f"{key} was put at {found.modified}.",
            proof=f"s3://{bucket}/{key} version {found.version}",
            next_step=f"Put data below raw-data/{spec.model}/<batch>/.",
            correlation_id=correlation_id,
        )
    ledger.append(f"model/{spec.model}", "onboarding", at, entry, key=key_of_entry)
    was = (before.get("spec") or {}).get("endpoint")
    renewed = registry.renew(spec.model, asked=was != found.document["endpoint"])
    return {"model": spec.model, "group": group, "experiment": experiment, "alarms": found_alarms, "renewed": renewed}


def _package_group(stack: str, spec: Spec) -> str:
    sagemaker, name = client("sagemaker"), names.base(stack, spec.model)
    tags = onboarding.tags(settings().environment, spec)
    try:
        return str(
            sagemaker.create_model_package_group(
                ModelPackageGroupName=name,
                ModelPackageGroupDescription=spec.description or f"Candidates of {spec.model}",
                Tags=tags,
            )["ModelPackageGroupArn"]
        )
    except ClientError as error:
        if error_code(error) not in ("ValidationException", "ConflictException", "ResourceInUse"):
            raise
        try:
            arn = str(sagemaker.describe_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"])
        except ClientError:
            raise error from None  # the request was wrong, not the name taken
    _adopt("package group", name, arn, spec.model, tags)
    return arn


def _experiment(stack: str, spec: Spec) -> dict[str, str]:
    """Return `{ExperimentName}`, or `{why}` where the account has no room for one: its runs then have no trial (EX-01)."""
    sagemaker, name = client("sagemaker"), names.base(stack, spec.model)
    tags = onboarding.tags(settings().environment, spec)
    try:
        description = spec.description or f"Runs of {spec.model}"
        sagemaker.create_experiment(ExperimentName=name, Description=description, Tags=tags)
    except ClientError as error:
        if error_code(error) == "ResourceLimitExceeded":
            return {"why": str(error)}
        if error_code(error) != "ValidationException":
            raise
        try:
            arn = str(sagemaker.describe_experiment(ExperimentName=name)["ExperimentArn"])
        except ClientError:
            raise error from None  # the request was wrong, not the name taken
        _adopt("experiment", name, arn, spec.model, tags)
    return {"ExperimentName": name}


def _adopt(kind: str, name: str, arn: str, model: str, tags: list[dict[str, str]]) -> None:
    sagemaker = client("sagemaker")
    has = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    if (has.get("project"), has.get("model")) != ("linnet", model):
        raise ConflictError(f"the {kind} {name} exists and is not Linnet's for {model}: tags {has}")
    sagemaker.add_tags(ResourceArn=arn, Tags=tags)


def _alarms(stack: str, spec: Spec) -> list[str]:
    wanted = onboarding.alarms(stack, spec, settings().topic, settings().metrics_prefix)
    names_of_monitors = set(onboarding.alarm_names(stack, spec.model)) - set(
        onboarding.serving_names(stack, spec.model)
    )
    alarms.renew(sorted(names_of_monitors), wanted, onboarding.tags(settings().environment, spec))
    return [request["AlarmName"] for request in wanted]
