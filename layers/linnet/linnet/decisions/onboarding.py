"""What a spec file asks for: its model, the names of what is started, the model's alarms, tags and subscriptions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from linnet.decisions import monitoring, schedules
from linnet.decisions.names import base, digest, valid_model
from linnet.errors import BadInputError
from linnet.events.schedules import every

if TYPE_CHECKING:  # it builds models at import, which whoever only needs names and keys should not pay
    from linnet.events.spec import Spec

PREFIX, SUFFIX = "specs/", ".yaml"
_PROJECT = "linnet"
SERVING = ("slow", "failing", "silent")
"""Not `latency` and `errors`, in which the alarms of a release end: a model may be named as another's release."""


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


def alarm_names(stack: str, model: str) -> tuple[str, ...]:
    """Return the names of all alarms that a model may have; no release's own alarm is called so."""
    purposes = ("drift", "drift-notice", "quality", "bias", "attribution", *SERVING)
    return tuple(f"{base(stack, model)}-{purpose}" for purpose in purposes)


def serving_names(stack: str, model: str) -> tuple[str, ...]:
    """Return the names of those alarms of a model that watch the variant that serves."""
    return tuple(f"{base(stack, model)}-{purpose}" for purpose in SERVING)


def alarms(stack: str, spec: Spec, topic: str, prefix: str = monitoring.PREFIX) -> list[dict[str, Any]]:
    """Return the requests that create the alarms on what the model's monitors find, but for those that are off.

    `prefix` is that of the metrics' namespaces. Missing data is ignored: a silent window is unknown, so it neither raises
    nor clears an alarm (I7). `missing` would raise the alarm on a single breaching window after silence, although three
    are asked for (CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data": premature alarm state).
    """
    watched = spec.monitors.data_quality.enabled and spec.endpoint.capture_percent
    drift = _drift(stack, spec, topic, prefix) if watched else []
    drift += _bias(stack, spec, topic, prefix) if spec.monitors.bias.enabled and spec.endpoint.capture_percent else []
    explained = spec.monitors.attribution.enabled and spec.endpoint.capture_percent
    drift += _attribution(stack, spec, topic, prefix) if explained else []
    floor, judged = spec.monitors.alarms.accuracy_below, spec.monitors.model_quality
    if floor is None:
        return drift
    period, whole = schedules.period(every(judged.schedule)) if judged.enabled else (21_600, True)
    lasting = f"on average in two times {period // 60} minutes" if whole else "in a window"
    return [
        *drift,
        _told(topic, "ignore", period, 2 if whole else 1) | {
            "AlarmName": f"{base(stack, spec.model)}-quality",
            "AlarmDescription": f"{spec.model}: accuracy below {floor} {lasting}. Starts a run where the spec "
            "lets it.",
            "Namespace": monitoring.namespace(prefix, "model-quality"), "MetricName": "accuracy",
            "Statistic": "Average", "Dimensions": monitoring.dimensions(stack, spec.model, "model-quality"),
            "Threshold": floor, "ComparisonOperator": "LessThanThreshold",
        },
    ]  # fmt: skip


def _bias(stack: str, spec: Spec, topic: str, prefix: str) -> list[dict[str, Any]]:
    """The alarm on limits that a group's treatment breaks (TG-09)."""
    return [
        _told(topic, "ignore", schedules.period(every(spec.monitors.bias.schedule))[0], 1) | {
            "AlarmName": f"{base(stack, spec.model)}-bias",
            "AlarmDescription": f"{spec.model}: a limit on bias is broken. Starts a run where the spec lets it.",
            "Namespace": monitoring.namespace(prefix, "bias"), "MetricName": monitoring.EXCESS,
            "Statistic": "Maximum", "Dimensions": monitoring.dimensions(stack, spec.model, "bias"),
            "Threshold": 0.0, "ComparisonOperator": "GreaterThanThreshold",
        },
    ]  # fmt: skip


def _attribution(stack: str, spec: Spec, topic: str, prefix: str) -> list[dict[str, Any]]:
    """The alarm on a ranking of the features that is not the champion's own any more (TG-09)."""
    wanted = spec.monitors.attribution
    return [
        _told(topic, "ignore", schedules.period(every(wanted.schedule))[0], 1) | {
            "AlarmName": f"{base(stack, spec.model)}-attribution",
            "AlarmDescription": f"{spec.model}: the NDCG of the features' ranking is below {wanted.minimum_ndcg}. Starts a "
            "run where the spec lets it.",
            "Namespace": monitoring.namespace(prefix, "attribution"), "MetricName": monitoring.NDCG,
            "Statistic": "Minimum", "Dimensions": monitoring.dimensions(stack, spec.model, "attribution"),
            "Threshold": wanted.minimum_ndcg, "ComparisonOperator": "LessThanThreshold",
        },
    ]  # fmt: skip


def _drift(stack: str, spec: Spec, topic: str, prefix: str) -> list[dict[str, Any]]:
    """The alarm that starts a run and the one that only tells (AL-01, TG-07)."""
    quality, name = spec.monitors.data_quality, f"{base(stack, spec.model)}-drift"
    period, whole = schedules.period(schedules.of(quality.model_dump()))
    common = {
        "Namespace": monitoring.namespace(prefix),
        "MetricName": monitoring.WORST,
        "Dimensions": monitoring.dimensions(stack, spec.model),
        "Statistic": "Maximum",
        "Period": period,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "ignore",
    }
    windows = f"windows of {period // 60} minutes" if whole else "windows of more than a day"
    return [
        common | {
            "AlarmName": name,
            "AlarmDescription": f"{spec.model}: drift above {quality.retrain_above} in {quality.retrain_windows} "
            f"{windows} in a row. Starts a run where the spec lets it.",
            "Threshold": quality.retrain_above,
            "EvaluationPeriods": quality.retrain_windows,
            "DatapointsToAlarm": quality.retrain_windows,
        },
        common | {
            "AlarmName": f"{name}-notice",
            "AlarmDescription": f"{spec.model}: drift above {quality.notify_above} in one of the {windows}.",
            "Threshold": quality.notify_above,
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "AlarmActions": [topic],
        },
    ]  # fmt: skip


def serving_alarms(stack: str, model: str, limits: Mapping[str, Any], variant: str, topic: str) -> list[dict[str, Any]]:
    """Return the requests that create the alarms on the variant that serves, by `limits`, the spec's monitors.alarms.

    Nobody calls: latency and errors are unknown, so they neither raise nor clear their alarms; the traffic alarm is there
    to say so (AL-02, AL-03, AL-05). SageMaker counts latency in microseconds (T-03).
    """
    slow, failing, silent = serving_names(stack, model)
    watched = [{"Name": "EndpointName", "Value": base(stack, model)}, {"Name": "VariantName", "Value": variant}]
    latency, errors, requests = (limits[name] for name in ("latency_above_ms", "errors_above", "requests_below"))
    common = {"Namespace": "AWS/SageMaker", "Dimensions": watched}
    found = [
        (latency, _told(topic, "ignore", 300, 2) | {
            "AlarmName": slow, "MetricName": "ModelLatency", "Statistic": "Average",
            "AlarmDescription": f"{model}: slower than {latency} ms on average in two times five minutes.",
            "Threshold": 1000.0 * (latency or 0), "ComparisonOperator": "GreaterThanThreshold",
        }),
        (errors, _told(topic, "ignore", 60, 1) | {
            "AlarmName": failing, "MetricName": "Invocation5XXErrors", "Statistic": "Sum",
            "AlarmDescription": f"{model}: more than {errors} server errors in a minute.",
            "Threshold": float(errors or 0), "ComparisonOperator": "GreaterThanThreshold",
        }),
        (requests, _told(topic, "breaching", 300, 3) | {
            "AlarmName": silent, "MetricName": "Invocations", "Statistic": "Sum",
            "AlarmDescription": f"{model}: fewer than {requests} requests in each of three times five minutes.",
            "Threshold": float(requests or 0), "ComparisonOperator": "LessThanThreshold",
        }),
    ]  # fmt: skip
    return [common | alarm for limit, alarm in found if limit is not None]


def _told(topic: str, missing: str, period: int, periods: int) -> dict[str, Any]:
    return {
        "Period": period, "EvaluationPeriods": periods, "DatapointsToAlarm": periods, "TreatMissingData": missing,
        "AlarmActions": [topic],
    }  # fmt: skip


def filter_policy(models: Iterable[str]) -> str:
    """Return the SNS filter policy that lets messages about these models pass (NO-02)."""
    return json.dumps({"model": sorted(models)})
