"""The template as CloudFormation sees it after the SAM transform, and the state machines with their substitutions."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {
            "AWSXrayWriteOnlyAccess": "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess",
            "AWSXRayDaemonWriteAccess": "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess",
            "AWSLambdaBasicExecutionRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
            "AWSLambdaVPCAccessExecutionRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
        }


@pytest.fixture(scope="session")
def source() -> dict[str, Any]:
    """Return template.yaml as written."""
    return dict(yaml_parse((ROOT / "template.yaml").read_text()))


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """Return template.yaml after the SAM transform."""
    written = yaml_parse((ROOT / "template.yaml").read_text())
    for resource in written["Resources"].values():
        properties = resource.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            if name in properties:
                properties[name] = "s3://bucket/key"
        if "DefinitionUri" in properties:
            properties["DefinitionUri"] = {"Bucket": "bucket", "Key": properties["DefinitionUri"]}
    written.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the transform asks for the partition of a region
    return dict(transform(written, {}, _NoManagedPolicies()))


def resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return logical id -> properties of every resource of a type."""
    return {k: r.get("Properties", {}) for k, r in template["Resources"].items() if r["Type"] == kind}


def machines() -> list[Path]:
    """Return the paths of the state machines' definitions."""
    return sorted((ROOT / "statemachines").glob("*.asl.json"))


def substitutions(text: str) -> set[str]:
    """Return the names in `${...}` of a definition."""
    return set(re.findall(r"\$\{(\w+)\}", text))


def states(definition: dict[str, Any], at: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return every state of a definition with its path, those in Parallel branches and Map processors included."""
    found = []
    for name, state in definition["States"].items():
        path = f"{at}/{name}"
        found.append((path, state))
        for branch in [*state.get("Branches", []), *filter(None, [state.get("ItemProcessor")])]:
            found += states(branch, path)
    return found


def load(path: Path) -> dict[str, Any]:
    """Return a definition."""
    return dict(json.loads(path.read_text()))
