"""What the template tells a function through its environment, checked at the first use."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The names of the stack's resources; a function's role decides which of them it may use."""

    stack: str
    data_bucket: str
    table: str
    bus: str
    topic: str
    compliance_topic: str = ""
    """Where broken limits on bias are told too (MO-07)."""
    sagemaker_role: str = ""
    data_key: str = ""
    """The key that encrypts what SageMaker's jobs and endpoints write."""
    subnets: str = ""
    security_groups: str = ""
    """Of the VPC that jobs and endpoints run in, ids between commas; both empty for SageMaker's own network (SE-04)."""
    retrain_machine: str = ""
    release_machine: str = ""
    rollback_machine: str = ""
    intake_machine: str = ""
    onboard_machine: str = ""
    offboard_machine: str = ""
    environment: str = "production"
    metrics_prefix: str = "aws/sagemaker"
    """Before the namespaces of the monitors' metrics, as Model Monitor has it."""
    largest_window: str = "536870912"
    """Bytes of capture that one function looks at, 512 MB unless said otherwise."""
    instance_quota: str = "20"
    """How many endpoint instances of a type the account may run at once."""

    def vpc(self) -> dict[str, Any]:
        """Return the `VpcConfig` of what SageMaker runs, or nothing."""
        if not self.subnets:
            return {}
        groups = self.security_groups.split(",")
        return {"VpcConfig": {"SecurityGroupIds": groups, "Subnets": self.subnets.split(",")}}


@cache
def settings() -> Settings:
    """Read the settings from variables named LINNET_<FIELD>.

    Raises:
        KeyError: a variable without default is missing; names it.
    """
    given = {f.name: os.environ.get(f"LINNET_{f.name.upper()}") for f in fields(Settings)}
    missing = [name for name in ("stack", "data_bucket", "table", "bus", "topic") if not given[name]]
    if missing:
        raise KeyError("environment lacks " + ", ".join(f"LINNET_{name.upper()}" for name in missing))
    return Settings(**{name: value for name, value in given.items() if value})
