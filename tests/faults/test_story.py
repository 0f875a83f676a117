"""The main story - onboard, train, register, approve, release, serve - while calls are throttled, refused, cut and unheard.

Every fault lies within what an SDK's own retries bridge (four attempts, so at most three faults of one call in a row); what
lies beyond is a throttled or failed run, which tests/workflow plays.
"""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from local.demo import ENDPOINT, MODEL, STACK, Story
from local.story import first_release, first_run, onboard
from models.flights import data as flights
from tests.faults.conftest import Proxy, Rule

THROTTLED = {"error": {"code": "ThrottlingException", "message": "Rate exceeded"}}
BUSY = {"error": {"code": "ServiceUnavailable", "status": 503}}
SLOW_DOWN = {"error": {"code": "SlowDown", "status": 503}}
CUT = {"reset": True}
UNHEARD = {"response": {"abort_frac": 0, "strip_headers": ["Content-Length"]}}
"""Without a length the answer comes in chunks, whose missing end is seen; botocore takes a short one."""
ACTION = {
    "throttled": "error:ThrottlingException", "busy": "error:ServiceUnavailable", "slow down": "error:SlowDown",
    "cut": "reset", "unheard": "response:abort",
}  # fmt: skip
FAULTS = {"throttled": THROTTLED, "busy": BUSY, "slow down": SLOW_DOWN, "cut": CUT, "unheard": UNHEARD}
PLAN = [
    # Each change that the story makes once goes through unheard; whoever made it asks again and meets its own work.
    *(
        ("unheard", f"sagemaker {operation}", 1)
        for operation in (
            "CreateExperiment", "CreateTrial", "CreateModelPackageGroup", "CreateTrainingJob", "CreateModel",
            "CreateTransformJob", "CreateModelPackage", "UpdateModelPackage", "CreateEndpointConfig", "CreateEndpoint",
        )
    ),
    ("unheard", "dynamodb PutItem", 2), ("unheard", "dynamodb UpdateItem", 2), ("unheard", "dynamodb TransactWriteItems", 2),
    ("unheard", "stepfunctions StartExecution", 2), ("unheard", "sns Publish", 1), ("unheard", "cloudwatch PutMetricAlarm", 1),
    ("throttled", "dynamodb GetItem", 2), ("throttled", "sagemaker CreateTrainingJob", 1),
    ("throttled", "sagemaker DescribeModelPackage", 2), ("throttled", "stepfunctions StartExecution", 1),
    ("slow down", "s3 GetObject", 3),
    ("busy", "sagemaker DescribeEndpoint", 2), ("busy", "sns Publish", 1), ("busy", "dynamodb Query", 1),
    ("cut", "dynamodb GetItem", 1), ("cut", "dynamodb Query", 2),
    ("cut", "s3 ListObjectVersions", 1), ("cut", "cloudwatch PutMetricData", 1), ("cut", "sagemaker CreateEndpointConfig", 1),
]  # fmt: skip


def rule(fault: str, call: str, times: int) -> Rule:
    service, operation = call.split()
    return {"service": service, "operation": operation, "times": times, **FAULTS[fault]}


@pytest.fixture(scope="module")
def story(proxy: Proxy) -> Story:
    """Return the story, played to its end; it stops at the first expectation that does not hold."""
    told = Story(Console(file=io.StringIO()))
    told.stack, told.out = proxy.stack, proxy.stack.outputs(STACK)
    told.connect()
    told.subscribe()
    proxy.befall([rule(*row) for row in PLAN])
    onboard(told)
    first = first_run(told)
    first_release(told, first)
    return told


def test_f28_f32_the_story_ends_well_and_every_fault_did_happen(proxy: Proxy, story: Story) -> None:
    assert [phase.result for phase in story.phases if phase.result.startswith("FAILED")] == []
    planned: Counter[tuple[str, str]] = Counter()
    for fault, call, times in PLAN:
        planned[call, ACTION[fault]] += times
    assert proxy.faults() == planned
    assert planned.total() >= 35


def test_f28_the_jobs_whose_making_was_not_heard_are_made_once_and_adopted(story: Story) -> None:
    retrain = story.stepfunctions.list_executions(stateMachineArn=story.out["RetrainMachineArn"])["executions"]
    assert {execution["status"] for execution in retrain} == {"SUCCEEDED"}
    played = [story.states(execution["executionArn"]) for execution in retrain]
    (states,) = [one for one in played if one[-1] != "Nothing to do"]  # whoever starts it once more finds nothing to do
    assert "Adopt the job that was made" in states
    assert len(story.sagemaker.list_training_jobs()["TrainingJobSummaries"]) == 1
    assert len(story.sagemaker.list_transform_jobs()["TransformJobSummaries"]) == 1
    assert len(story.sagemaker.list_model_packages(ModelPackageGroupName=ENDPOINT)["ModelPackageSummaryList"]) == 1


def test_i5_what_was_written_unheard_is_written_once(story: Story) -> None:
    entries = story.rows(f"model/{MODEL}#history")
    told = Counter(str({key: value for key, value in entry.items() if key not in ("sk", "at")}) for entry in entries)
    assert [what for what, times in told.items() if times > 1] == []
    kinds = Counter(str(entry["kind"]) for entry in entries)
    once = ("onboarding", "batch", "signal", "run-started", "judgement", "decision", "run-ended", "release")
    assert {kind: kinds[kind] for kind in once} == dict.fromkeys(once, 1)
    assert kinds["candidate"] == 2  # registered, approved


def test_the_endpoint_answers_callers_whose_connections_are_cut(proxy: Proxy, story: Story) -> None:
    proxy.befall([{"service": "sagemaker", "headers": {"content-type": "text/csv"}, "times": 2, **CUT}])
    before, runtime = proxy.faults(), story.stack.client("sagemaker-runtime", retries={"mode": "standard"})
    for row in flights.requests(season="winter", count=10):
        score = runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="text/csv", Body=row)["Body"].read()
        assert 0 <= float(score) <= 1
    assert (proxy.faults() - before).total() == 2
