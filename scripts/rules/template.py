"""Linnet's own rules for its template, as cfn-lint rules: `cfn-lint template.yaml --append-rules scripts/rules`.

They see the template after the SAM transform, whichever form was given; EventBridgeRuleOnly looks at it as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cfnlint.decode import decode
from cfnlint.rules import CloudFormationLintRule, RuleMatch
from cfnlint.template import Template

_SOURCES = {"EventBridgeRule", "Schedule", "ScheduleV2"}


def _of(cfn: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in cfn.get_resources(kind).items():
        yield name, resource.get("Properties", {})


def _at(value: Any, *keys: str | int) -> Any:
    """Return what lies below these keys, None where something on the way is missing or is no mapping or list."""
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _target(value: Any) -> str | None:
    """Return the logical id that a Ref or a GetAtt names."""
    if isinstance(value, Mapping):
        named = value.get("Ref") or value.get("Fn::GetAtt")
        return str(named[0] if isinstance(named, list) else str(named).partition(".")[0]) if named else None
    return None


def _match(name: str, *path: str | int, why: str) -> RuleMatch:
    return RuleMatch(["Resources", name, *path], f"{name}: {why}")


class LogRetention(CloudFormationLintRule):
    """A log group that Lambda makes for itself is kept for ever."""

    id = "E9001"
    shortdesc = "Logs are kept for a stated time"
    description = "Every log group has RetentionInDays, and every function writes to a log group of this template"
    source_url = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/Working-with-log-groups-and-streams.html"
    tags = ("linnet",)

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return the log groups without an end and the functions without a log group."""
        groups = dict(_of(cfn, "AWS::Logs::LogGroup"))
        found = [_match(n, why="no RetentionInDays") for n, p in groups.items() if "RetentionInDays" not in p]
        for name, properties in _of(cfn, "AWS::Lambda::Function"):
            if _target(_at(properties, "LoggingConfig", "LogGroup")) not in groups:
                found.append(_match(name, why="LoggingConfig.LogGroup is no log group of this template"))
        return found


class DeadLetters(CloudFormationLintRule):
    """What cannot be delivered is kept, or it is lost without a word."""

    id = "E9002"
    shortdesc = "What cannot be delivered ends in a dead-letter queue"
    description = "Every target of a rule or a schedule has DeadLetterConfig and RetryPolicy, every function OnFailure"
    source_url = "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html"
    tags = ("linnet",)

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return targets without a dead-letter queue or a retry policy, and functions whose failures go nowhere."""
        targets: list[tuple[str, list[str | int], dict[str, Any]]] = [
            (name, ["Properties", "Targets", number], target)
            for name, properties in _of(cfn, "AWS::Events::Rule")
            for number, target in enumerate(properties.get("Targets", []))
        ]
        targets += [(n, ["Properties", "Target"], p.get("Target", {})) for n, p in _of(cfn, "AWS::Scheduler::Schedule")]
        found = [
            _match(name, *path, why=f"the target has no {field}")
            for name, path, target in targets
            for field in ("DeadLetterConfig", "RetryPolicy")
            if field not in target
        ]
        told = {
            _target(properties.get("FunctionName"))
            for _, properties in _of(cfn, "AWS::Lambda::EventInvokeConfig")
            if _at(properties, "DestinationConfig", "OnFailure", "Destination")
        }
        missing = [name for name, _ in _of(cfn, "AWS::Lambda::Function") if name not in told]
        return found + [_match(name, why="no EventInvokeConfig with a destination OnFailure") for name in missing]


class OneTarget(CloudFormationLintRule):
    """One target's failure must not repeat another's work, and a dead letter must name whom it failed for."""

    id = "E9003"
    shortdesc = "A rule has one target"
    description = "Every EventBridge rule has exactly one target"
    source_url = "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-best-practices.html"
    tags = ("linnet",)

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return the rules with no target or with several."""
        return [
            _match(name, "Properties", why=f"{len(properties.get('Targets', []))} targets; allowed: 1")
            for name, properties in _of(cfn, "AWS::Events::Rule")
            if len(properties.get("Targets", [])) != 1
        ]


class EventBridgeRuleOnly(CloudFormationLintRule):
    """One road for events: through EventBridge, where patterns, dead letters and replay are."""

    id = "E9004"
    shortdesc = "Events come through EventBridge"
    description = "Every event of a SAM function or state machine is an EventBridgeRule, a Schedule or a ScheduleV2"
    source_url = "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-eventbridgerule.html"
    tags = ("linnet",)

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return the events of another type, in the template as it was written."""
        written, _ = decode(cfn.filename) if cfn.filename else (cfn.template, [])
        return [
            _match(name, why=f"event {event} is {said.get('Type')}; allowed: {', '.join(sorted(_SOURCES))}")
            for name, resource in _at(written, "Resources").items()
            for event, said in (_at(resource, "Properties", "Events") or {}).items()
            if said.get("Type") not in _SOURCES
        ]


class AlarmSpeaks(CloudFormationLintRule):
    """An alarm that does not say what no data means is silent when its source dies."""

    id = "E9005"
    shortdesc = "An alarm says what it means and tells somebody"
    description = "Every alarm has AlarmDescription, AlarmActions and TreatMissingData"
    source_url = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html"
    tags = ("linnet",)

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return the alarms in which something of it is missing or empty."""
        return [
            _match(name, "Properties", why=f"no {field}")
            for name, properties in _of(cfn, "AWS::CloudWatch::Alarm")
            for field in ("AlarmDescription", "AlarmActions", "TreatMissingData")
            if not properties.get(field)
        ]


class TwoDatapoints(CloudFormationLintRule):
    """One bad datapoint is no trend; where it is enough, the resource's own Metadata ignores this rule and says why."""

    id = "E9006"
    shortdesc = "An alarm needs two datapoints"
    description = "Every alarm looks at two datapoints or more, unless its Metadata ignores this rule and says why"
    source_url = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html"
    tags = ("linnet",)

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return the alarms that one datapoint raises."""
        return [
            _match(name, "Properties", "EvaluationPeriods", why="one datapoint raises it; allowed: 2 or more")
            for name, properties in _of(cfn, "AWS::CloudWatch::Alarm")
            if properties.get("DatapointsToAlarm", properties.get("EvaluationPeriods")) in (1, "1")
        ]


class QueueWatched(CloudFormationLintRule):
    """A dead letter that nobody hears of is lost after its retention."""

    id = "E9007"
    shortdesc = "A dead-letter queue has an alarm"
    description = "Every queue has an alarm on ApproximateNumberOfMessagesVisible; every queue here holds dead letters"
    source_url = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/dead-letter-queues-alarms-cloudwatch.html"
    tags = ("linnet",)

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return the queues whose depth no alarm watches."""
        watched = {
            _target(dimension.get("Value"))
            for _, properties in _of(cfn, "AWS::CloudWatch::Alarm")
            if properties.get("MetricName") == "ApproximateNumberOfMessagesVisible"
            for dimension in properties.get("Dimensions", [])
        }
        return [_match(n, why="no alarm on its depth") for n, _ in _of(cfn, "AWS::SQS::Queue") if n not in watched]


class Encrypted(CloudFormationLintRule):
    """What is stored is encrypted with a key of the stack, whose policy says who reads it and whose log says who did."""

    id = "E9008"
    shortdesc = "What is stored is encrypted with a key of this stack"
    description = "Every bucket, table, queue, topic and log group names a key of this template or of its parameters"
    source_url = "https://docs.aws.amazon.com/wellarchitected/latest/serverless-applications-lens/data-protection.html"
    tags = ("linnet",)

    _keys: Mapping[str, tuple[str | int, ...]] = {
        "AWS::S3::Bucket": (
            "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "KMSMasterKeyID",
        ),
        "AWS::DynamoDB::Table": ("SSESpecification", "KMSMasterKeyId"),
        "AWS::SQS::Queue": ("KmsMasterKeyId",),
        "AWS::SNS::Topic": ("KmsMasterKeyId",),
        "AWS::Logs::LogGroup": ("KmsKeyId",),
    }  # fmt: skip

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return what stores without a key, or with one that AWS owns or manages (a name, an alias)."""
        return [
            _match(name, "Properties", why=f"{'.'.join(map(str, path))} names no key of this template")
            for kind, path in self._keys.items()
            for name, properties in _of(cfn, kind)
            if not isinstance(_at(properties, *path), Mapping)
        ]


class Recoverable(CloudFormationLintRule):
    """The ledger is the only thing that cannot be made again."""

    id = "E9009"
    shortdesc = "A table can be restored and is not deleted by mistake"
    description = "Every table has point-in-time recovery, deletion protection and the DeletionPolicy Retain"
    source_url = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Point-in-time-recovery.html"
    tags = ("linnet",)

    def match(self, cfn: Template) -> list[RuleMatch]:
        """Return the tables that lack one of the three."""
        found = []
        for name, resource in cfn.get_resources("AWS::DynamoDB::Table").items():
            properties = resource.get("Properties", {})
            kept = {
                "PointInTimeRecoveryEnabled": _at(
                    properties, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled"
                ),
                "DeletionProtectionEnabled": properties.get("DeletionProtectionEnabled"),
                "DeletionPolicy: Retain": resource.get("DeletionPolicy") == "Retain",
            }
            found += [_match(name, why=f"no {what}") for what, is_so in kept.items() if is_so not in (True, "true")]
        return found
