"""`make redrive`: the dead letters go to their targets again, and doing it twice is doing it once (F12)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from linnet.gateways import clients
from scripts import redrive
from tests.contract.onboarding_world import sample
from tests.workflow.conftest import World


@pytest.fixture
def queue(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the stack's dead-letter queue; the script's clients find the stack as a person's would."""
    for name, value in {
        "AWS_ENDPOINT_URL": world.stack.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    yield str(world.stack.client("sqs").get_queue_url(QueueName="linnet-dead-letters")["QueueUrl"])
    clients.client.cache_clear()


def letters(world: World, queue: str) -> int:
    found = world.stack.client("sqs").get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    )["Attributes"]
    return sum(int(count) for count in found.values())


def test_f12_dead_letters_of_a_rule_and_of_a_function_are_done_once_however_often_they_are_redriven(
    world: World, queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.onboard("redriven", retraining={"signals": ["drift"]})["status"] == "SUCCEEDED"
    found = world.stack.client("lambda").list_functions(MaxItems=100)["Functions"]
    arn = next(f["FunctionArn"] for f in found if "OnSignal" in f["FunctionName"])
    event = sample("on_signal.request")
    event["detail"] |= {"model": "redriven", "request_id": "by-redrive"}
    by_function = {"requestContext": {"functionArn": f"{arn}:$LATEST"}, "requestPayload": event}
    text = {"DataType": "String"}
    by_rule = {"TARGET_ARN": {**text, "StringValue": arn}, "ERROR_CODE": {**text, "StringValue": "SDK_CLIENT_ERROR"}}
    sqs = world.stack.client("sqs")

    def put() -> None:
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(by_function))
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event), MessageAttributes=by_rule)

    put()
    assert redrive.main(["--stack", "linnet"]) == 0
    put()
    assert redrive.main(["--stack", "linnet"]) == 0
    assert "2 done, 0 stay" in capsys.readouterr().out
    assert letters(world, queue) == 0
    assert len([r for r in world.rows("model/redriven", "reason#") if r["signal"]["kind"] == "manual"]) == 1


def test_f12_a_letter_that_fails_again_stays_with_its_reason_and_the_command_says_so(
    world: World, queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gone: dict[str, Any] = {
        "requestContext": {"functionArn": "arn:aws:lambda:us-east-1:000000000000:function:gone"}, "requestPayload": {},
    }  # fmt: skip
    sqs = world.stack.client("sqs")
    for body in (json.dumps(gone), '{"somebody": "elses"}', '"text"'):
        sqs.send_message(QueueUrl=queue, MessageBody=body)

    assert redrive.main(["--stack", "linnet"]) == 1
    said = capsys.readouterr().out
    assert "0 done, 3 stay" in said
    assert "gone" in said
    assert "neither a rule's message" in said
    assert letters(world, queue) == 3
    sqs.purge_queue(QueueUrl=queue)


def test_a_stack_that_is_not_there_is_named(world: World, queue: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert redrive.main(["--stack", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
