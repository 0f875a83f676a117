"""What the template promises of keys, transport, retention, networks and artifacts (SE-03..SE-06, DC-06, CO-08)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.template.conftest import ROOT, resources

CLASSES = {"AWS::DynamoDB::Table": "LedgerKey", "AWS::SQS::Queue": "MessagesKey", "AWS::SNS::Topic": "MessagesKey",
           "AWS::Logs::LogGroup": "LogsKey"}  # fmt: skip
OWN_KEYS = ("DataKey", "LedgerKey", "MessagesKey", "LogsKey")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resolved(value: Any, conditions: dict[str, bool]) -> Any:
    """Return a value of the template with its `Fn::If` decided; AWS::NoValue leaves nothing."""
    if isinstance(value, dict):
        if set(value) == {"Fn::If"}:
            condition, yes, no = value["Fn::If"]
            return resolved(yes if conditions[condition] else no, conditions)
        made = {name: resolved(v, conditions) for name, v in value.items()}
        return {name: v for name, v in made.items() if v != {"Ref": "AWS::NoValue"}}
    return [resolved(v, conditions) for v in value] if isinstance(value, list) else value


def world(template: dict[str, Any], **said: bool) -> dict[str, Any]:
    """Return the template as it is deployed with these conditions, all others being false."""
    conditions = dict.fromkeys(template["Conditions"], False) | said
    there = {n: r for n, r in template["Resources"].items() if conditions.get(r.get("Condition", ""), True)}
    return {"Resources": resolved(there, conditions)}


def statements(template: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return list(template["Resources"][key]["Properties"]["KeyPolicy"]["Statement"])


@pytest.mark.parametrize("own", [False, True])
def test_se_03_everything_that_stores_names_its_key_and_every_key_rotates(template: dict[str, Any], own: bool) -> None:
    found = world(template, HasKeyPerDataClass=own)
    keys = resources(found, "AWS::KMS::Key")

    assert set(keys) == (set(OWN_KEYS) if own else {"DataKey"})
    assert all(key["EnableKeyRotation"] is True for key in keys.values())
    for kind, key in CLASSES.items():
        wanted = {"Fn::GetAtt": [key if own else "DataKey", "Arn"]}
        stores = resources(found, kind)
        assert stores
        for store in stores.values():
            named = store.get("SSESpecification", store)
            assert wanted in (named.get("KMSMasterKeyId"), named.get("KmsMasterKeyId"), named.get("KmsKeyId"))


@pytest.mark.parametrize("own", [False, True])
def test_whoever_delivers_to_what_is_encrypted_is_granted_its_key_or_alarms_would_vanish(
    template: dict[str, Any], own: bool
) -> None:
    """practice.md B4: EventBridge -> SQS, CloudWatch alarms -> SNS and CloudWatch Logs each need the key by its policy."""
    found = world(template, HasKeyPerDataClass=own)
    messages, logs = ("MessagesKey", "LogsKey") if own else ("DataKey", "DataKey")

    def grants(key: str, service: Any) -> list[dict[str, Any]]:
        return [
            s
            for s in statements(found, key)
            if _list(s["Principal"].get("Service") if s["Principal"] != "*" else None) == [service]
        ]

    for service in ("events.amazonaws.com", "cloudwatch.amazonaws.com"):
        (grant,) = grants(messages, service)
        assert {"kms:Decrypt", "kms:GenerateDataKey"} <= set(grant["Action"])
    (grant,) = grants(logs, {"Fn::Sub": "logs.${AWS::Region}.amazonaws.com"})
    group = json.dumps(next(iter(resources(found, "AWS::Logs::LogGroup").values()))["LogGroupName"])
    named = grant["Condition"]["ArnEquals"]["kms:EncryptionContext:aws:logs:arn"]["Fn::Sub"]
    assert named.endswith(":log-group:/linnet/${AWS::StackName}")
    assert "/linnet/${AWS::StackName}" in group


@pytest.mark.parametrize("key", ["DataKey", "MessagesKey"])
def test_the_grant_for_eventbridge_asks_for_no_source_account_because_its_requests_carry_none(
    template: dict[str, Any], key: str
) -> None:
    """With the condition every dead letter would be dropped in silence (Amazon SNS Developer Guide, "Key management")."""
    (grant,) = [s for s in statements(template, key) if s["Principal"] == {"Service": "events.amazonaws.com"}]

    assert "Condition" not in grant
    (sending,) = [
        s
        for policy in resources(template, "AWS::SQS::QueuePolicy").values()
        for s in policy["PolicyDocument"]["Statement"]
        if s["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    assert sending["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_a_key_that_is_open_to_the_account_is_open_through_its_own_service_alone(template: dict[str, Any]) -> None:
    for key in OWN_KEYS:
        for statement in statements(template, key):
            if statement["Principal"] == "*":
                condition = statement["Condition"]["StringEquals"]
                assert condition["kms:CallerAccount"] == {"Ref": "AWS::AccountId"}
                assert all("amazonaws.com" in json.dumps(service) for service in condition["kms:ViaService"])
                assert not [a for a in statement["Action"] if "*" in a or "Grant" in a]


def test_se_05_buckets_queues_and_topics_refuse_what_does_not_come_by_tls(template: dict[str, Any]) -> None:
    for store, policy, names in (
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
    ):
        guarded = set()
        for held in resources(template, policy).values():
            wanted = ("Deny", "*", {"Bool": {"aws:SecureTransport": "false"}})
            said = [(s["Effect"], s["Principal"], s.get("Condition")) for s in held["PolicyDocument"]["Statement"]]
            plain = wanted in said
            guarded |= {ref["Ref"] for ref in _list(held[names]) if plain}
        assert guarded == set(resources(template, store))


def test_se_05_the_bucket_refuses_tls_before_version_1_2(template: dict[str, Any]) -> None:
    conditions = [s.get("Condition") for s in _bucket_statements(template) if s["Effect"] == "Deny"]

    assert {"NumericLessThan": {"s3:TlsVersion": "1.2"}} in conditions


def _bucket_statements(template: dict[str, Any]) -> list[dict[str, Any]]:
    (policy,) = resources(template, "AWS::S3::BucketPolicy").values()
    return list(policy["PolicyDocument"]["Statement"])


def test_an_artifact_is_written_by_sagemakers_role_and_by_nobody_else(template: dict[str, Any]) -> None:
    (only,) = [s for s in _bucket_statements(template) if s["Sid"] == "OnlyJobsWriteArtifacts"]

    assert (only["Effect"], only["Principal"], only["Action"]) == ("Deny", "*", "s3:PutObject")
    assert only["Resource"] == {"Fn::Sub": "${DataBucket.Arn}/models/*"}
    assert only["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["SageMakerRole", "Arn"]}}}


def test_dc_06_co_08_what_expires_on_the_versioned_bucket_is_deleted_and_not_only_hidden(
    template: dict[str, Any],
) -> None:
    (bucket,) = resources(template, "AWS::S3::Bucket").values()
    rules = bucket["LifecycleConfiguration"]["Rules"]
    expiring = {rule["Prefix"]: rule for rule in rules if "ExpirationInDays" in rule}

    assert {"raw-data/", "data-capture/"} <= set(expiring)
    assert [p for p, rule in expiring.items() if "NoncurrentVersionExpiration" not in rule] == []
    assert [rule for rule in rules if rule.get("ExpiredObjectDeleteMarker")]
    raw = expiring["raw-data/"]
    assert (raw["Transitions"], raw["ExpirationInDays"]) == ([{"StorageClass": "GLACIER", "TransitionInDays": 90}], 365)
    assert {"DaysAfterInitiation": 7} in [rule.get("AbortIncompleteMultipartUpload") for rule in rules]


@pytest.mark.parametrize("inside", [False, True])
def test_se_04_functions_and_jobs_run_in_the_vpc_that_the_parameters_name_or_in_none(
    template: dict[str, Any], inside: bool
) -> None:
    found = world(template, InVpc=inside)
    wanted = {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}} if inside else None
    variables = {"LINNET_SUBNETS": "SubnetIds", "LINNET_SECURITY_GROUPS": "SecurityGroupIds"}

    for function in resources(found, "AWS::Lambda::Function").values():
        assert function.get("VpcConfig") == wanted
        told = function["Environment"]["Variables"]
        assert {name: told[name] for name in variables} == {
            n: {"Fn::Join": [",", {"Ref": p}]} for n, p in variables.items()
        }
    assert ("SageMakerInVpc" in found["Resources"]) is inside


def test_no_functions_code_may_make_network_interfaces_though_sam_lets_its_role(template: dict[str, Any]) -> None:
    roles = {n for n, r in resources(template, "AWS::IAM::Role").items() if "AWSLambdaVPCAccess" in json.dumps(r)}
    denial = template["Resources"]["OnlyLambdaMakesInterfaces"]["Properties"]
    (statement,) = denial["PolicyDocument"]["Statement"]

    assert {ref["Ref"] for ref in denial["Roles"]} == roles
    assert len(roles) == len(resources(template, "AWS::Lambda::Function"))
    assert (statement["Effect"], list(statement["Condition"]["ArnLike"])) == ("Deny", ["lambda:SourceFunctionArn"])
    assert "ec2:CreateNetworkInterface" in statement["Action"]


def test_se_06_no_parameter_and_no_variable_holds_a_secret(source: dict[str, Any]) -> None:
    words = ("password", "secret", "token", "apikey", "credential")
    functions = [r["Properties"] for r in source["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
    variables = [source["Globals"]["Function"], *functions]
    names = [*source["Parameters"], *(n for f in variables for n in f.get("Environment", {}).get("Variables", {}))]

    assert [n for n in names if any(word in n.lower().replace("_", "") for word in words)] == []


def test_the_small_stack_is_the_default_one_key_no_vpc(source: dict[str, Any]) -> None:
    given = {
        name: source["Parameters"][name]["Default"] for name in ("KeyPerDataClass", "SubnetIds", "SecurityGroupIds")
    }

    assert given == {"KeyPerDataClass": "false", "SubnetIds": "", "SecurityGroupIds": ""}


def test_layers_are_built_from_pinned_hashes_and_wheels_alone() -> None:
    made = (ROOT / "layers" / "Makefile").read_text()

    assert "--require-hashes" in made
    assert "--only-binary=:all:" in made
    for locked in (ROOT / "layers").glob("*/requirements.txt"):
        pins = [block for block in re.split(r"^(?=\w)", locked.read_text(), flags=re.MULTILINE) if block[:1].isalpha()]
        assert pins
        assert [pin for pin in pins if not re.match(r"[\w.-]+==\S+ \\\n +--hash=sha256:[0-9a-f]{64}", pin)] == []


def test_every_threat_of_the_model_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\|.*\| (.*) \|$", (ROOT / "docs" / "threat-model.md").read_text(), re.MULTILINE)[2:]
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    functions = "\n".join(re.findall(r"def (test_\w+)", "".join((ROOT / name).read_text() for name in files)))

    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`([^`]+)`", row)
        assert named
        for name in named:
            pattern = name.replace("...", r"\w*")
            assert name in files or re.search(rf"^{pattern}$", functions, re.MULTILINE), name
