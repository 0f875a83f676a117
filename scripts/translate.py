"""Writes template.yaml as CloudFormation sees it after the SAM transform: `python -m scripts.translate <file>`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[1]


class _ManagedPolicies:
    """The managed policies that SAM gives to functions and machines, by name; SAM's own loader asks IAM for them."""

    def load(self) -> dict[str, str]:
        names = (
            "AWSXrayWriteOnlyAccess", "AWSXRayDaemonWriteAccess", "service-role/AWSLambdaBasicExecutionRole",
            "service-role/AWSLambdaVPCAccessExecutionRole",
        )  # fmt: skip
        return {name.rpartition("/")[2]: f"arn:aws:iam::aws:policy/{name}" for name in names}


def translated(path: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """Return a SAM template after the transform, with names of objects in place of its folders and files."""
    written = yaml_parse(path.read_text())
    for resource in written["Resources"].values():
        properties = resource.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            if name in properties:
                properties[name] = "s3://bucket/key"
        if "DefinitionUri" in properties:
            properties["DefinitionUri"] = {"Bucket": "bucket", "Key": properties["DefinitionUri"]}
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the transform asks for the partition of a region
    return dict(transform(written, {}, _ManagedPolicies()))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(translated(), indent=1))
