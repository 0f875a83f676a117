"""The functions of onboarding and off-boarding against AWS as moto plays it, fed with the samples of events/."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from linnet.decisions import onboarding
from linnet.errors import BadInputError, BusyError, ConflictError, NotFoundError
from linnet.gateways import approvals, clients, ledger
from models.flights import data as flights
from tests.contract.onboarding_world import BUCKET, CONTEXT, World, handler, sample, world  # noqa: F401

AT = "2026-11-21T10:00:00Z"


@pytest.fixture
def spec() -> dict[str, Any]:
    return flights.spec()


def created(key: str, version: str) -> dict[str, Any]:
    event = sample("on_spec")
    event["detail"]["object"] |= {"key": key, "version-id": version}
    return event


def onboard(world: World, spec: dict[str, Any]) -> dict[str, Any]:
    version = world.put(f"specs/{spec['model']}.yaml", spec)
    given = {"bucket": BUCKET, "key": f"specs/{spec['model']}.yaml", "version_id": version}
    return dict(handler("onboard_model")(given | {"at": AT, "correlation_id": f"c-{version}"}, CONTEXT))


def emails(world: World) -> dict[str, str]:
    found = world.sns.list_subscriptions_by_topic(TopicArn=world.topic)["Subscriptions"]
    arns = {s["Endpoint"]: s["SubscriptionArn"] for s in found if s["Protocol"] == "email"}
    return {
        email: world.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["FilterPolicy"]
        for email, arn in arns.items()
    }


# --- on_spec -----------------------------------------------------------------------------------------------------


def test_a_new_spec_starts_one_onboarding_however_often_its_event_comes(world: World, spec: dict[str, Any]) -> None:
    version = world.put("specs/flights.yaml", spec)
    first = handler("on_spec")(created("specs/flights.yaml", version), CONTEXT)
    again = handler("on_spec")(created("specs/flights.yaml", version), CONTEXT)

    (execution,) = world.started("onboard")
    assert execution["input"] == {
        "bucket": BUCKET, "key": "specs/flights.yaml", "version_id": version, "correlation_id": execution["name"],
    }  # fmt: skip
    assert first["done"] == f"started: {execution['name']}"
    assert execution["name"] in again["done"]


def test_two_versions_of_a_spec_are_two_onboardings(world: World, spec: dict[str, Any]) -> None:
    for description in ("one", "two"):
        version = world.put("specs/flights.yaml", spec | {"description": description})
        handler("on_spec")(created("specs/flights.yaml", version), CONTEXT)

    assert len(world.started("onboard")) == 2


@pytest.mark.parametrize(
    ("key", "body", "field"),
    [
        ("specs/Flights.yml", "model: flights", "key"),
        ("specs/a/b.yaml", "model: flights", "key"),
        ("specs/flights.yaml", "model: [", "spec file"),
        ("specs/flights.yaml", "model: flights", "data"),
        ("specs/flights.yaml", "x" * 70_000, "object size"),
        ("specs/other.yaml", None, "model"),
    ],
)
def test_a_bad_spec_is_quarantined_with_field_and_place_and_told_and_starts_nothing(
    world: World, spec: dict[str, Any], key: str, body: str | None, field: str
) -> None:  # fmt: skip
    version = world.put(key, spec if body is None else body)

    answer = handler("on_spec")(created(key, version), CONTEXT)

    (record,) = world.documents("quarantine/").values()
    assert record["field"] == field
    assert answer == {"quarantined": f"s3://{BUCKET}/" + next(iter(world.documents("quarantine/")))}
    assert [m["kind"] for m in world.messages()] == ["quarantined"]
    assert world.started("onboard") == []


@pytest.mark.parametrize("event", [sample("on_spec.wrong_name"), {"source": "aws.s3"}, {}])
def test_an_event_that_cannot_be_a_spec_is_quarantined(world: World, event: dict[str, Any]) -> None:
    assert "quarantined" in handler("on_spec")(event, CONTEXT)


def test_a_folder_and_a_version_that_is_gone_mean_nothing(world: World) -> None:
    assert handler("on_spec")(sample("on_spec.folder"), CONTEXT) == {"done": "ignored: a folder's marker"}
    assert handler("on_spec")(sample("on_spec"), CONTEXT) == {"done": "ignored: this version is gone"}


def test_a_deleted_spec_starts_off_boarding_once_and_only_when_it_is_really_gone(
    world: World, spec: dict[str, Any]
) -> None:  # fmt: skip
    assert handler("on_spec")(sample("on_spec.deleted"), CONTEXT) == {"done": "ignored: the model is not onboarded"}
    onboard(world, spec)
    assert handler("on_spec")(sample("on_spec.deleted"), CONTEXT) == {"done": "ignored: the spec is still there"}
    world.s3.delete_object(Bucket=BUCKET, Key="specs/flights.yaml")

    for _ in range(2):
        handler("on_spec")(sample("on_spec.deleted"), CONTEXT)

    (execution,) = world.started("offboard")
    assert execution["input"] == {"model": "flights", "correlation_id": execution["name"]}


# --- read_spec and onboard_model ---------------------------------------------------------------------------------


def test_reading_a_spec_says_whether_it_is_new_changed_or_superseded(world: World, spec: dict[str, Any]) -> None:
    first = world.put("specs/flights.yaml", spec)
    given = {"bucket": BUCKET, "key": "specs/flights.yaml"}
    new = handler("read_spec")(given, CONTEXT)
    onboard(world, spec)
    unchanged = handler("read_spec")(given, CONTEXT)
    world.put("specs/flights.yaml", spec | {"description": "other"})
    changed = handler("read_spec")(given, CONTEXT)
    late = handler("read_spec")(given | {"version_id": first}, CONTEXT)

    assert [a["why"] for a in (new, unchanged, changed)] == [
        f"the spec is {w}" for w in ("new", "unchanged", "changed")
    ]
    assert [a["proceed"] for a in (new, unchanged, changed, late)] == [True, True, True, False]
    assert (late["version_id"], new["version_id"], new["model"]) == (first, first, "flights")


def test_a_script_model_needs_its_archive_before_its_spec(world: World) -> None:
    from models.diamonds import data as diamonds  # noqa: PLC0415

    world.put("specs/diamonds.yaml", diamonds.spec())
    given = {"bucket": BUCKET, "key": "specs/diamonds.yaml"}

    with pytest.raises(BadInputError, match=r"^training.source: 'code/diamonds/sourcedir.tar.gz' .* before the spec"):
        handler("read_spec")(given, CONTEXT)
    world.put("code/diamonds/sourcedir.tar.gz", diamonds.sourcedir())
    assert handler("read_spec")(given, CONTEXT)["proceed"] is True


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, BadInputError),
        ({"bucket": "elsewhere", "key": "specs/flights.yaml"}, BadInputError),
        ({"bucket": BUCKET, "key": "specs/"}, BadInputError),
        ({"bucket": BUCKET, "key": "specs/flights.yaml"}, NotFoundError),
        (sample("read_spec"), NotFoundError),
    ],
)
def test_a_console_user_who_names_a_wrong_file_sees_an_error_not_a_success(
    world: World, given: dict[str, Any], error: type[Exception]
) -> None:  # fmt: skip
    with pytest.raises(error):
        handler("read_spec")(given, CONTEXT)


def test_onboarding_makes_group_alarms_and_rows_and_repeating_it_changes_nothing(
    world: World, spec: dict[str, Any]
) -> None:  # fmt: skip
    version = world.put("specs/flights.yaml", spec)
    given = sample("onboard_model") | {"version_id": version}
    first = handler("onboard_model")(given, CONTEXT)
    rows = {pk: list(ledger.query(pk)) for pk in ("models", "model/flights", "model/flights#history")}
    again = handler("onboard_model")(given, CONTEXT)

    assert first == again
    assert rows == {pk: list(ledger.query(pk)) for pk in rows}
    assert [m["kind"] for m in world.messages()] == ["onboarded"]
    assert first["experiment"] == rows["model/flights"][0]["experiment"] == {"ExperimentName": "linnet-flights"}
    assert world.sagemaker.describe_experiment(ExperimentName="linnet-flights")
    group = world.sagemaker.describe_model_package_group(ModelPackageGroupName="linnet-flights")
    tags = {t["Key"]: t["Value"] for t in world.sagemaker.list_tags(ResourceArn=group["ModelPackageGroupArn"])["Tags"]}
    assert tags == {"project": "linnet", "environment": "production", "model": "flights", "owner": "arrivals desk"}
    (row,) = rows["model/flights"]
    assert (row["digest"], row["version_id"]) == (rows["models"][0]["spec_digest"], version)
    assert row["spec"]["data"]["holdout"] == 0.2


def test_dc_05_a_changed_endpoint_part_releases_what_serves_again_once(world: World, spec: dict[str, Any]) -> None:
    kept = onboarding_part(world, spec)
    champion = {"version": 2, "config": "linnet-flights-v2-f3", "fence": 3}

    onboard(world, spec | {"endpoint": {"capture_percent": 10}})
    assert world.started("release") == []  # nothing serves
    ledger.put_once("model/flights", "champion", champion)
    ledger.put_once("model/flights", "release#000003", {"spec": {"endpoint": kept}})
    onboard(world, spec | {"endpoint": {"capture_percent": kept["capture_percent"]}})
    assert world.started("release") == []  # it serves so already
    for _ in range(2):
        onboard(world, spec | {"endpoint": {"capture_percent": 10}})

    (started,) = world.started("release")
    assert started["name"].startswith("flights-v2-")
    assert started["input"] == {"model": "flights", "version": 2, "serving": 2, "correlation_id": started["name"]}


def onboarding_part(world: World, spec: dict[str, Any]) -> dict[str, Any]:
    """Onboard a spec; return its endpoint part with all defaults."""
    onboard(world, spec)
    row = ledger.read("model/flights", "spec") or {}
    return dict(row["spec"]["endpoint"])


def test_the_alarms_need_sustained_drift_and_take_silence_for_unknown_al_01_tg_07(
    world: World, spec: dict[str, Any]
) -> None:  # fmt: skip
    onboard(world, spec)
    alarms = {a["AlarmName"]: a for a in world.cloudwatch.describe_alarms()["MetricAlarms"]}
    retrain, notice = alarms["linnet-flights-drift"], alarms["linnet-flights-drift-notice"]

    for alarm in (retrain, notice):
        assert (alarm["Namespace"], alarm["MetricName"]) == (
            "aws/sagemaker/Endpoints/data-metrics", "feature_baseline_drift_max",
        )  # fmt: skip
        assert {d["Name"]: d["Value"] for d in alarm["Dimensions"]} == {
            "Endpoint": "linnet-flights", "MonitoringSchedule": "linnet-flights-data-quality",
        }  # fmt: skip
        assert (alarm["Period"], alarm["ComparisonOperator"], alarm["TreatMissingData"]) == (
            3600, "GreaterThanThreshold", "ignore",
        )  # fmt: skip
    assert (retrain["Threshold"], retrain["EvaluationPeriods"], retrain["DatapointsToAlarm"]) == (0.3, 3, 3)
    assert (notice["Threshold"], notice["EvaluationPeriods"], notice["AlarmActions"]) == (0.1, 1, [world.topic])


def test_a_monitor_that_is_turned_off_loses_its_alarms(world: World, spec: dict[str, Any]) -> None:
    onboard(world, spec)
    spec["monitors"] = {"data_quality": {"enabled": False}, "alarms": {"accuracy_below": None}}
    onboard(world, spec)

    assert world.cloudwatch.describe_alarms()["MetricAlarms"] == []


def test_al_02_al_05_a_spec_changes_the_alarms_of_what_serves(world: World, spec: dict[str, Any]) -> None:
    first = onboard(world, spec)
    ledger.put_once("model/flights", "champion", {"version": 1, "variant": "blue", "config": "linnet-flights-v1-f1"})
    spec["monitors"]["alarms"] = {"latency_above_ms": 100, "errors_above": None, "requests_below": 100}
    second = onboard(world, spec)

    found = {a["AlarmName"]: a for a in world.cloudwatch.describe_alarms()["MetricAlarms"]}
    before = {"linnet-flights-drift", "linnet-flights-drift-notice", "linnet-flights-quality"}
    assert set(first["alarms"]) == before  # nothing serves yet
    assert set(second["alarms"]) == set(found) == before | {"linnet-flights-slow", "linnet-flights-silent"}
    assert (found["linnet-flights-slow"]["Threshold"], found["linnet-flights-silent"]["Threshold"]) == (100_000, 100)


def test_an_address_hears_of_exactly_the_models_that_name_it(world: World, spec: dict[str, Any]) -> None:
    spec["notifications"] = {"emails": ["ada@example.org", "bob@example.org"]}
    onboard(world, spec)
    onboard(world, spec | {"model": "planes", "notifications": {"emails": ["ada@example.org"]}})
    both = emails(world)
    onboard(world, spec | {"notifications": {"emails": ["ada@example.org"]}})

    assert both == {
        "ada@example.org": onboarding.filter_policy(["flights", "planes"]),
        "bob@example.org": onboarding.filter_policy(["flights"]),
    }
    assert emails(world)["bob@example.org"] == onboarding.filter_policy(["_nothing"])


@pytest.mark.parametrize("ours", [True, False])
def test_a_package_group_that_exists_is_adopted_if_it_is_ours_and_else_left_alone(
    world: World, spec: dict[str, Any], ours: bool
) -> None:  # fmt: skip
    # moto overwrites an existing group in silence; AWS refuses so.
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/linnet-flights"
    tags = {"project": "linnet", "model": "flights" if ours else "other"}
    with Stubber(clients.client("sagemaker")) as sagemaker:
        sagemaker.add_client_error(
            "create_model_package_group", "ValidationException", f"Model Package Group already exists: {arn}"
        )
        sagemaker.add_response(
            "describe_model_package_group",
            {
                "ModelPackageGroupName": "linnet-flights", "ModelPackageGroupArn": arn, "CreationTime": AT,
                "CreatedBy": {}, "ModelPackageGroupStatus": "Completed",
            },
        )  # fmt: skip
        sagemaker.add_response("list_tags", {"Tags": [{"Key": k, "Value": v} for k, v in tags.items()]})
        if ours:
            sagemaker.add_response("add_tags", {"Tags": []})
            sagemaker.add_response("create_experiment", {})
            assert onboard(world, spec)["group"] == arn
        else:
            with pytest.raises(ConflictError, match="exists and is not Linnet's for flights"):
                onboard(world, spec)
            assert ledger.read("model/flights", "spec") is None
        sagemaker.assert_no_pending_responses()


@pytest.mark.parametrize("ours", [True, False])
def test_an_experiment_that_exists_is_adopted_if_it_is_ours_and_else_left_alone(
    world: World, spec: dict[str, Any], ours: bool
) -> None:  # fmt: skip
    # moto overwrites an existing experiment in silence; AWS refuses, since 2026 in these words.
    arn = "arn:aws:sagemaker:us-east-1:123456789012:experiment/linnet-flights"
    tags = {"project": "linnet", "model": "flights" if ours else "other"}
    with Stubber(clients.client("sagemaker")) as sagemaker:
        sagemaker.add_response("create_model_package_group", {"ModelPackageGroupArn": arn})
        sagemaker.add_client_error(
            "create_experiment",
            "ValidationException",
            "Experiment names must be unique within an AWS account and region.",
        )
        sagemaker.add_response("describe_experiment", {"ExperimentArn": arn})
        sagemaker.add_response("list_tags", {"Tags": [{"Key": k, "Value": v} for k, v in tags.items()]})
        if ours:
            sagemaker.add_response("add_tags", {"Tags": []})
            assert onboard(world, spec)["experiment"] == {"ExperimentName": "linnet-flights"}
        else:
            with pytest.raises(
                ConflictError, match="the experiment linnet-flights exists and is not Linnet's for flights"
            ):
                onboard(world, spec)
            assert ledger.read("model/flights", "spec") is None
        sagemaker.assert_no_pending_responses()


def test_an_account_with_no_room_for_an_experiment_onboards_the_model_and_says_so(
    world: World, spec: dict[str, Any]
) -> None:  # fmt: skip
    with Stubber(clients.client("sagemaker")) as sagemaker:
        sagemaker.add_response("create_model_package_group", {"ModelPackageGroupArn": "arn:aws:sagemaker:x"})
        sagemaker.add_client_error("create_experiment", "ResourceLimitExceeded", "The limit of experiments is reached")
        made = onboard(world, spec)

    row = ledger.read("model/flights", "spec") or {}
    assert "The limit of experiments is reached" in row["experiment"]["why"]
    assert made["experiment"] == row["experiment"]


def test_an_older_spec_never_overwrites_a_newer_one(world: World, spec: dict[str, Any]) -> None:
    onboard(world, spec)
    ledger.change("model/flights", "spec", put={"modified": "2999-01-01T00:00:00Z"})

    with pytest.raises(ConflictError, match="a later spec of flights was onboarded"):
        onboard(world, spec)


# --- off-boarding ------------------------------------------------------------------------------------------------


def serve(world: World) -> None:
    """Give flights a champion with an endpoint, and an older candidate."""
    role = "arn:aws:iam::123456789012:role/sagemaker"
    for version in (1, 2):
        world.sagemaker.create_model(ModelName=f"linnet-flights-v{version}", ExecutionRoleArn=role)
        variant = {
            "VariantName": "blue", "ModelName": f"linnet-flights-v{version}", "InitialInstanceCount": 1,
            "InstanceType": "ml.m5.xlarge", "InitialVariantWeight": 1.0,
        }  # fmt: skip
        config = f"linnet-flights-v{version}-f{version}"
        world.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
        ledger.put_once("model/flights", f"candidate#{version:06d}", {"version": version, "package_arn": ""})
        ledger.put_once("model/flights", f"release#{version:06d}", {"config": config, "state": "promoted"})
    world.sagemaker.create_model(ModelName="linnet-flights-eu-v1", ExecutionRoleArn=role)  # another model's
    world.sagemaker.create_endpoint(EndpointName="linnet-flights", EndpointConfigName="linnet-flights-v2-f2")
    ledger.put_once("model/flights", "champion", {"version": 2, "config": "linnet-flights-v2-f2"})
    ledger.put_once("model/flights", "reason#s1", {"kind": "data"})


def test_a_person_is_asked_once_with_all_that_would_go_and_the_token_stays_secret(
    world: World, spec: dict[str, Any]
) -> None:  # fmt: skip
    onboard(world, spec)
    serve(world)
    world.messages()
    plan = handler("plan_offboarding")(sample("plan_offboarding"), CONTEXT)
    given = sample("ask_offboarding") | plan
    first = handler("ask_offboarding")(given, CONTEXT)
    again = handler("ask_offboarding")(given | {"token": "the second token"}, CONTEXT)

    assert plan["things"] == {
        "endpoint": 1, "endpoint config": 2, "model": 2, "alarm": 8, "experiment": 1, "model package group": 1,
    }  # fmt: skip
    assert plan["why"] == "version 2 serves"
    assert first == again == {"decision_id": first["decision_id"], "state": "OPEN"}
    (message,) = world.messages()
    assert (message["kind"], message["decision_id"]) == ("confirmation-wanted", first["decision_id"])
    assert "2 endpoint config" in message["what"]
    assert given["token"] not in str(message)
    assert approvals.read(first["decision_id"])["token"] == "the second token"


def test_without_an_answer_the_question_closes_and_everything_stays(world: World, spec: dict[str, Any]) -> None:
    onboard(world, spec)
    asked = handler("ask_offboarding")(sample("ask_offboarding"), CONTEXT)

    for _ in range(2):
        assert handler("keep_model")(sample("keep_model"), CONTEXT) == {"kept": "flights", "state": "EXPIRED"}

    assert approvals.read(asked["decision_id"])["state"] == "EXPIRED"
    assert ledger.read("models", "flights") is not None
    assert [e["kind"] for e in ledger.history("model/flights")].count("offboarding") == 1


def removed(**changes: Any) -> dict[str, Any]:
    """Call remove_model until the endpoint is gone, as the machine's Retry does."""
    remove = handler("remove_model")
    with pytest.raises(BusyError, match="the endpoint linnet-flights is Deleting"):
        remove(sample("remove_model") | changes, CONTEXT)
    return dict(remove(sample("remove_model") | changes, CONTEXT))


def test_off_boarding_deletes_what_the_model_has_and_nothing_else_and_keeps_packages_and_ledger(
    world: World, spec: dict[str, Any]
) -> None:  # fmt: skip
    onboard(world, spec | {"notifications": {"emails": ["ada@example.org"]}})
    serve(world)
    world.messages()

    removed()

    assert world.sagemaker.list_endpoints()["Endpoints"] == []
    assert world.sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert [m["ModelName"] for m in world.sagemaker.list_models()["Models"]] == ["linnet-flights-eu-v1"]
    assert world.cloudwatch.describe_alarms()["MetricAlarms"] == []
    assert world.sagemaker.list_experiments()["ExperimentSummaries"] == []
    assert world.sagemaker.describe_model_package_group(ModelPackageGroupName="linnet-flights")
    assert emails(world) == {"ada@example.org": onboarding.filter_policy(["_nothing"])}
    left = {str(r["sk"]).split("#")[0] for r in ledger.query("model/flights")}
    assert left.isdisjoint({"spec", "champion", "reason"})
    assert list(ledger.query("models")) == []
    assert [e["kind"] for e in ledger.history("model/flights")] == ["offboarding", "onboarding"]
    assert [m["kind"] for m in world.messages()] == ["offboarded"]


def test_off_boarding_may_be_repeated_and_takes_the_packages_along_where_asked(
    world: World, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    onboard(world, spec)
    serve(world)
    groups = ["linnet-flights"]

    def delete(ModelPackageGroupName: str) -> None:  # noqa: N803 - moto has no such call
        if ModelPackageGroupName not in groups:
            answer: Any = {"Error": {"Code": "ValidationException", "Message": "ModelPackageGroup does not exist."}}
            raise ClientError(answer, "DeleteModelPackageGroup")
        groups.remove(ModelPackageGroupName)

    monkeypatch.setattr(clients.client("sagemaker"), "delete_model_package_group", delete)
    first = removed(packages=True)
    again = handler("remove_model")(sample("remove_model") | {"packages": True}, CONTEXT)

    assert groups == []
    assert ["model package group", "linnet-flights"] in first["deleted"]
    assert ["model package group", "linnet-flights"] not in again["deleted"]
    assert len(list(ledger.history("model/flights"))) == 2


def test_a_model_that_is_not_onboarded_cannot_be_off_boarded(world: World) -> None:
    with pytest.raises(NotFoundError, match="flights is not onboarded"):
        handler("plan_offboarding")(sample("plan_offboarding"), CONTEXT)
