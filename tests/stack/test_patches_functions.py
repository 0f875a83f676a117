"""Each patch of Lambda and EventBridge: what AWS does (ours) and what the published emulator does instead."""

from __future__ import annotations

import inspect
import json
import time
from typing import Any

import pytest
from ministack.core import lambda_runtime as runtime

from tests.stack.conftest import Bench, sandboxes, until


def test_an_exceptions_class_is_the_error_that_retry_and_catch_match(ours: Bench, published: Bench) -> None:
    def error(bench: Bench) -> Any:
        return bench.run(bench.hello({"fail": "short and stout"}))["error"]

    assert error(ours) == "TeapotError"
    assert error(published) == "Runtime.HandlerError"


def test_an_error_answer_carries_message_type_request_and_stack(ours: Bench, published: Bench) -> None:
    kind, body = ours.invoke({"fail": "short and stout"})
    assert (kind, body["errorType"], body["errorMessage"]) == ("Unhandled", "TeapotError", "short and stout")
    assert body["requestId"]
    assert "raise TeapotError" in "".join(body["stackTrace"])
    assert set(published.invoke({"fail": "x"})[1]) == {"errorMessage", "errorType"}


def test_a_sandbox_outlives_its_handlers_exceptions(ours: Bench, published: Bench) -> None:
    def processes(bench: Bench) -> set[int]:
        before = bench.invoke({})[1]["process"]
        bench.invoke({"fail": "x"})
        return {before, bench.invoke({})[1]["process"]}

    assert len(processes(ours)) == 1
    assert len(processes(published)) == 2


def test_a_process_that_ends_is_an_exit_error(ours: Bench, published: Bench) -> None:
    assert ours.invoke({"exit": True})[1]["errorType"] == "Runtime.ExitError"
    assert published.invoke({"exit": True})[1]["errorType"] == "Runtime.HandlerError"


def test_the_last_line_a_handler_says_is_in_its_log(ours: Bench) -> None:
    for number in range(20):
        ours.invoke({"say": f"line {number}"})
    streams = ours.logs.describe_log_streams(logGroupName="/aws/lambda/t-hello")["logStreams"]
    said = [
        [event["message"] for event in ours.logs.get_log_events(
            logGroupName="/aws/lambda/t-hello", logStreamName=stream["logStreamName"])["events"]]
        for stream in streams
    ]  # fmt: skip
    for number in range(20):
        mine = [lines for lines in said if f"said line {number}" in lines]
        assert len(mine) == 1
        assert [line.split()[0] for line in mine[0]] == ["START", "said", "END", "REPORT"]


def test_nobody_waits_for_log_lines_that_may_still_come() -> None:
    published = inspect.signature(runtime.Worker._drain_stderr_bounded)
    assert published.parameters["first_line_wait"].default == 0.050


def test_a_burst_runs_in_at_most_eight_sandboxes(ours: Bench, published: Bench) -> None:
    def most(bench: Bench, busy: int) -> int:
        for number in range(10):
            detail = json.dumps({"sleep": 2, "send": f"burst {number}"})
            bench.events.put_events(Entries=[{"Source": "test", "DetailType": "Hello", "Detail": detail}])
        until(lambda: sandboxes(bench, "t-hello") >= busy)
        bench.messages(bench.outputs["Queue"], 10, seconds=60)
        return sandboxes(bench, "t-hello")

    assert most(ours, 8) == 8
    assert most(published, 9) > 8


@pytest.mark.parametrize("how", ["rule", "topic"])
def test_an_event_whose_function_keeps_failing_ends_in_the_failure_destination(
    ours: Bench, published: Bench, how: str
) -> None:
    def send(bench: Bench) -> None:
        if how == "rule":
            entry = {"Source": "test", "DetailType": "Hello", "Detail": json.dumps({"fail": "rule"})}
            bench.events.put_events(Entries=[entry])
        else:
            function = bench.__getattr__("lambda").get_function(FunctionName="t-hello")["Configuration"]["FunctionArn"]
            topic = bench.sns.create_topic(Name=bench.name())["TopicArn"]
            bench.sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)
            bench.sns.publish(TopicArn=topic, Message="topic")

    send(ours)
    (message,) = ours.messages(ours.outputs["DeadLetters"])
    record = json.loads(message["Body"])
    assert record["version"] == "1.0"
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestContext"]["functionArn"].endswith(":function:t-hello:$LATEST")
    assert how in json.dumps(record["requestPayload"])
    assert record["responsePayload"]["errorType"] == "TeapotError"
    send(published)
    time.sleep(4)  # its own retries would take 1 and 2 seconds
    assert not published.sqs.receive_message(QueueUrl=published.outputs["DeadLetters"]).get("Messages")


def test_an_event_for_a_missing_target_ends_in_the_rules_dead_letter_queue(ours: Bench, published: Bench) -> None:
    def lost(bench: Bench) -> list[dict[str, Any]]:
        dead, rule, source = bench.queue(), bench.name(), bench.name()
        bench.events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
        target = "arn:aws:lambda:us-east-1:000000000000:function:missing"
        bench.events.put_targets(
            Rule=rule, Targets=[{"Id": "f", "Arn": target, "DeadLetterConfig": {"Arn": bench.arn(dead)}}]
        )
        bench.events.put_events(Entries=[{"Source": source, "DetailType": "x", "Detail": json.dumps({"a": 1})}])
        answer = bench.sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"], WaitTimeSeconds=1)
        return list(answer.get("Messages", []))

    (message,) = lost(ours)
    assert json.loads(message["Body"])["detail"] == {"a": 1}
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_RESOURCE"
    assert message["MessageAttributes"]["RULE_ARN"]["StringValue"].startswith("arn:aws:events:")
    assert lost(published) == []


def test_a_throttled_function_is_too_many_requests_in_a_workflow(ours: Bench, published: Bench) -> None:
    def error(bench: Bench) -> Any:
        bench.__getattr__("lambda").put_function_concurrency(FunctionName="t-hello", ReservedConcurrentExecutions=0)
        try:
            return bench.run(bench.hello({}))["error"]
        finally:
            bench.__getattr__("lambda").delete_function_concurrency(FunctionName="t-hello")

    assert error(ours) == "Lambda.TooManyRequestsException"
    assert error(published) == "Lambda.Unknown"


def test_a_rate_rule_fires_on_the_fast_wall_clock(ours: Bench, published: Bench) -> None:
    queue, rule = ours.queue(), ours.name()
    ours.events.put_rule(Name=rule, ScheduleExpression="rate(1 minute)")
    ours.events.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": ours.arn(queue)}])
    event = json.loads(ours.messages(queue, 2, seconds=10)[0]["Body"])
    assert (event["source"], event["detail-type"]) == ("aws.events", "Scheduled Event")
    ours.events.disable_rule(Name=rule)


def test_a_cron_rule_fires_on_the_fast_wall_clock(ours: Bench) -> None:
    queue, rule = ours.queue(), ours.name()
    ours.events.put_rule(Name=rule, ScheduleExpression="cron(* * * * ? *)")
    ours.events.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": ours.arn(queue)}])
    ours.messages(queue, 2, seconds=10)
    ours.events.disable_rule(Name=rule)


def test_a_schedule_of_the_scheduler_fires_on_the_fast_wall_clock(ours: Bench) -> None:
    queue = ours.queue()
    ours.scheduler.create_schedule(
        Name=ours.name(),
        ScheduleExpression="rate(1 minute)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": ours.arn(queue), "RoleArn": "arn:aws:iam::000000000000:role/any", "Input": '{"a": 1}'},
    )
    assert json.loads(ours.messages(queue, 1, seconds=10)[0]["Body"]) == {"a": 1}
