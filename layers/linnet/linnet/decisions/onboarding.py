"""What a spec file asks for: its model, the names of what is started, the model's alarms, tags and subscriptions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from linnet.decisions import monitoring
from linnet.decisions.names import base, digest, valid_model
from linnet.errors import BadInputError

if TYPE_CHECKING:  # it builds models at import, which whoever only needs names and keys should not pay
    from linnet.events.spec import Spec

PREFIX, SUFFIX = "specs/", ".yaml"
_PROJECT = "linnet"


def model_of_key(key: str) -> str | None:
    """Return the model that a key `specs/<model>.yaml` names; None for a folder's marker, which means nothing (DA-02).

    Raises:
        BadInputError: the key is another one.
    """
    if key.endswith("/"):
        return None
    name = key.removeprefix(PREFIX).removesuffix(SUFFIX)
    if key != f"{PREFIX}{name}{SUFFIX}" or not valid_model(name):
        raise BadInputError(
            "key", key, "specs/<model>.yaml; a model is lower case, digits, hyphens, at most 20 characters"
        )
    return name


def check_name(spec: Spec, key: str) -> None:
    """Refuse a spec that lies under another model's name: it would take that model over.

    Raises:
        BadInputError: the field `model` and the file's name differ.
    """
    if spec.model != model_of_key(key):
        raise BadInputError("model", spec.model, f"{model_of_key(key)}: the name of its file {key}")


def execution(model: str, purpose: str, *versions: str) -> str:
    """Return the name of the execution that answers this version of a spec's object: twice the event, once the work."""
    return f"{model}-{purpose}-{digest(model, purpose, *versions)}"


def tags(environment: str, spec: Spec) -> list[dict[str, str]]:
    """Return the tags of what is made for a model; teardown deletes nothing without the first one."""
    found = {"project": _PROJECT, "environment": environment, "model": spec.model, "owner": spec.owner}
    return [{"Key": key, "Value": value} for key, value in found.items() if value]


def alarm_names(stack: str, model: str) -> tuple[str, str]:
    """Return the names of the alarm that starts a run and of the one that only tells."""
    return f"{base(stack, model)}-drift", f"{base(stack, model)}-drift-notice"


def alarms(stack: str, spec: Spec, topic: str) -> list[dict[str, Any]]:
    """Return the requests that create the model's alarms, or nothing when its monitor is off (AL-01, TG-07).

    Missing data is ignored: a silent window is unknown, so it neither raises nor clears an alarm (I7). `missing` would
    raise the alarm on a single breaching window after silence, although three are asked for (CloudWatch User Guide,
    "Configuring how CloudWatch alarms treat missing data": premature alarm state).
    """
    quality = spec.monitors.data_quality
    if not quality.enabled or not spec.endpoint.capture_percent:
        return []
    retrain, notice = alarm_names(stack, spec.model)
    common = {
        "Namespace": monitoring.NAMESPACE,
        "MetricName": monitoring.WORST,
        "Dimensions": monitoring.dimensions(stack, spec.model),
        "Statistic": "Maximum",
        "Period": quality.window_minutes * 60,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "ignore",
    }
    windows = f"windows of {quality.window_minutes} minutes"
    return [
        common | {
            "AlarmName": retrain,
            "AlarmDescription": f"{spec.model}: drift above {quality.retrain_above} in {quality.retrain_windows} "
            f"{windows} in a row. Starts a run where the spec lets it.",
            "Threshold": quality.retrain_above,
            "EvaluationPeriods": quality.retrain_windows,
            "DatapointsToAlarm": quality.retrain_windows,
        },
        common | {
            "AlarmName": notice,
            "AlarmDescription": f"{spec.model}: drift above {quality.notify_above} in one of the {windows}.",
            "Threshold": quality.notify_above,
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "AlarmActions": [topic],
        },
    ]  # fmt: skip


def filter_policy(models: Iterable[str]) -> str:
    """Return the SNS filter policy that lets messages about these models pass (NO-02)."""
    return json.dumps({"model": sorted(models)})
