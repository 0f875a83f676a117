"""Each patch of Lambda and EventBridge: what AWS does (ours) and what the published emulator does instead."""

from __future__ import annotations

import inspect
import json
import time
from typing import Any

from ministack.core import lambda_runtime as runtime

from tests.stack.conftest import Bench, sandboxes


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


def test_a_burst_runs_in_at_most_eight_sandboxes(ours: Bench) -> None:
    for number in range(10):
        detail = json.dumps({"sleep": 2, "send": f"burst {number}"})
        ours.events.put_events(Entries=[{"Source": "test", "DetailType": "Hello", "Detail": detail}])
    ours.messages(ours.outputs["Queue"], 10, seconds=60)
    assert sandboxes(ours, "t-hello") == 8
    assert runtime._LOCAL_MAX_WORKERS == 0  # as published: no limit


def test_an_event_whose_function_keeps_failing_ends_in_the_failure_destination(ours: Bench, published: Bench) -> None:
    def send(bench: Bench) -> None:
        entry = {"Source": "test", "DetailType": "Hello", "Detail": json.dumps({"fail": "by rule"})}
        bench.events.put_events(Entries=[entry])
        function = bench.__getattr__("lambda").get_function(FunctionName="t-hello")["Configuration"]["FunctionArn"]
        topic = bench.sns.create_topic(Name=bench.name())["TopicArn"]
        bench.sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)
        bench.sns.publish(TopicArn=topic, Message="by topic")

    send(ours)
    send(published)
    records = [json.loads(message["Body"]) for message in ours.messages(ours.outputs["DeadLetters"], 2)]
    for record in records:
        assert record["version"] == "1.0"
        assert record["requestContext"]["condition"] == "RetriesExhausted"
        assert record["requestContext"]["approximateInvokeCount"] == 3
        assert record["requestContext"]["functionArn"].endswith(":function:t-hello:$LATEST")
        assert record["responsePayload"]["errorType"] == "TeapotError"
    payloads = json.dumps([record["requestPayload"] for record in records])
    assert "by rule" in payloads
    assert "by topic" in payloads
    time.sleep(1)  # with the 3 s above, more than the published emulator's own retries would take
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
