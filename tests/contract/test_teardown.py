"""`make teardown` deletes what is named for the stack and tagged Linnet's, after a question, and nothing else."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from scripts import teardown
from tests.contract.onboarding_world import World, world  # noqa: F401

ROLE = "arn:aws:iam::123456789012:role/sagemaker"
OURS = [{"Key": "project", "Value": "linnet"}]


@pytest.fixture(autouse=True)
def _stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation made one alarm (moto's CloudFormation needs packages that nothing else here does)."""
    monkeypatch.setattr(teardown, "_stack_resources", lambda _: {"linnet-of-the-stack"})


@pytest.fixture
def made(world: World) -> World:
    """Return a world with things of this stack, of another stack, and of somebody who uses the same prefix."""
    alarm(world, "linnet-of-the-stack", OURS)
    for name, tags in (("linnet-flights", OURS), ("linnet-by-hand", []), ("linnet2-flights", OURS)):
        world.sagemaker.create_model(ModelName=f"{name}-v1", ExecutionRoleArn=ROLE, Tags=tags)
        variant: Any = {
            "VariantName": "blue", "ModelName": f"{name}-v1", "InitialInstanceCount": 1,
            "InstanceType": "ml.m5.xlarge", "InitialVariantWeight": 1.0,
        }  # fmt: skip
        world.sagemaker.create_endpoint_config(
            EndpointConfigName=f"{name}-v1-f1", ProductionVariants=[variant], Tags=tags
        )  # fmt: skip
        world.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-v1-f1", Tags=tags)
        alarm(world, f"{name}-drift", tags)
        experiment = world.sagemaker.create_experiment(ExperimentName=name)["ExperimentArn"]
        if tags:  # moto drops those of the request
            world.sagemaker.add_tags(ResourceArn=experiment, Tags=tags)
        world.sagemaker.create_trial(TrialName=f"{name}-r0123456789", ExperimentName=name)
    return world


def alarm(world: World, name: str, tags: Any) -> None:
    world.cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="n", MetricName="m", Period=60, EvaluationPeriods=1, Threshold=1,
        Statistic="Maximum", ComparisonOperator="GreaterThanThreshold", Tags=tags,
    )  # fmt: skip


def left(world: World) -> dict[str, list[str]]:
    return {
        "endpoints": sorted(e["EndpointName"] for e in world.sagemaker.list_endpoints()["Endpoints"]),
        "configs": sorted(c["EndpointConfigName"] for c in world.sagemaker.list_endpoint_configs()["EndpointConfigs"]),
        "models": sorted(m["ModelName"] for m in world.sagemaker.list_models()["Models"]),
        "experiments": sorted(e["ExperimentName"] for e in world.sagemaker.list_experiments()["ExperimentSummaries"]),
        "trials": sorted(t["TrialName"] for t in world.sagemaker.list_trials()["TrialSummaries"]),
        "alarms": sorted(a["AlarmName"] for a in world.cloudwatch.describe_alarms()["MetricAlarms"]),
    }


def test_listing_deletes_nothing_and_shows_what_would_go_and_what_stays(
    made: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = left(made)

    assert teardown.main(["--stack", "linnet", "--list"]) == 0

    shown = capsys.readouterr().out
    assert left(made) == before
    assert "would delete  endpoint             linnet-flights\n" in shown
    assert "left alone: no tag project=linnet:  endpoint             linnet-by-hand\n" in shown
    assert "linnet2-flights" not in shown
    assert "6 to delete; nothing was deleted" in shown


def test_where_nobody_can_be_asked_nothing_is_deleted(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = left(made)
    monkeypatch.setattr(sys, "stdin", io.StringIO("linnet\n"))

    assert teardown.main(["--stack", "linnet"]) == 0
    assert left(made) == before


@pytest.mark.parametrize(("answer", "gone"), [("linnet", True), ("yes", False), ("", False)])
def test_a_person_confirms_by_the_stacks_name(
    made: World, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool
) -> None:  # fmt: skip
    before = left(made)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)

    assert teardown.main(["--stack", "linnet", "--wait", "0.1"]) == 0
    assert (left(made) != before) is gone


def test_yes_deletes_ours_in_order_and_leaves_the_rest(made: World) -> None:
    assert teardown.main(["--stack", "linnet", "--yes", "--wait", "0.1"]) == 0

    names = ["linnet-by-hand", "linnet2-flights"]
    assert left(made) == {
        "endpoints": names,
        "configs": [f"{n}-v1-f1" for n in names],
        "models": [f"{n}-v1" for n in names],
        "experiments": names,
        "trials": [f"{n}-r0123456789" for n in names],
        "alarms": ["linnet-by-hand-drift", "linnet-of-the-stack", "linnet2-flights-drift"],
    }
    assert teardown.main(["--stack", "linnet", "--yes"]) == 0


def test_an_empty_account_is_said_to_be_empty(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert teardown.main([]) == 0
    assert "Nothing that Linnet made at run time is left" in capsys.readouterr().out
