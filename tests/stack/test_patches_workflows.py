"""Each patch of Step Functions: what AWS does (ours) and what the published emulator does instead."""

from __future__ import annotations

import inspect
import json
import time
from typing import Any

import botocore.exceptions
import pytest
from jsonata import timebox
from ministack.services import stepfunctions as untouched

from tests.stack.conftest import Bench

LAMBDA = "arn:aws:states:::lambda:invoke"
PASS = {"Type": "Pass", "End": True}


def fail(error: str) -> dict[str, Any]:
    return {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": error, "Cause": "meant"}}}


def wait(seconds: float, **top: Any) -> dict[str, Any]:
    return {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": seconds, "End": True}}, **top}


def word_for(bench: Bench, token: str, operation: str = "send_task_success", **fields: Any) -> str:
    """Return the error code with which a word for a task is refused, or "accepted"."""
    try:
        getattr(bench.stepfunctions, operation)(taskToken=token, **fields)
    except botocore.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return "accepted"


def with_token(bench: Bench, queue: str, **fields: Any) -> dict[str, Any]:
    arguments = {"QueueUrl": queue, "MessageBody": "{% $states.context.Task.Token %}"}
    return bench.task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", arguments, **fields)


def test_a_wait_lasts_its_seconds_by_the_wall_clock(ours: Bench) -> None:
    ended = ours.run(wait(300))
    assert 300 <= (ended["stopDate"] - ended["startDate"]).total_seconds() < 400


def test_an_execution_starts_at_once() -> None:
    assert "time.sleep(0.15)" in inspect.getsource(untouched._run_execution)


def test_starting_again_with_name_and_input_while_it_runs_is_the_same_execution(ours: Bench, published: Bench) -> None:
    def again(bench: Bench, document: str) -> Any:
        arn, name = bench.machine(wait(3600 if bench is ours else 10)), bench.name()
        first = bench.stepfunctions.start_execution(stateMachineArn=arn, name=name, input="{}")
        try:
            second = bench.stepfunctions.start_execution(stateMachineArn=arn, name=name, input=document)
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        finally:
            bench.stepfunctions.stop_execution(executionArn=first["executionArn"])
        return (second["executionArn"], second["startDate"]) == (first["executionArn"], first["startDate"])

    assert again(ours, "{}") is True
    assert again(ours, '{"other": 1}') == "ExecutionAlreadyExists"
    assert again(published, "{}") == "ExecutionAlreadyExists"


def test_retry_intervals_end_at_max_delay_and_jitter_draws_below_it(ours: Bench, published: Bench) -> None:
    def gaps(bench: Bench, **retry: Any) -> list[float]:
        retrier = {"ErrorEquals": ["States.ALL"], "MaxAttempts": 3, **retry}
        execution = bench.start(bench.hello({"fail": "x"}, Retry=[retrier]))
        bench.ended(execution)
        events = bench.stepfunctions.get_execution_history(executionArn=execution)["events"]
        failed = [event["timestamp"].timestamp() for event in events if event["type"] == "TaskFailed"]
        scheduled = [event["timestamp"].timestamp() for event in events if event["type"] == "TaskScheduled"]
        return [again - then for then, again in zip(failed, scheduled[1:], strict=False)]

    first, second, third = gaps(ours, IntervalSeconds=40, BackoffRate=2, MaxDelaySeconds=60)
    assert first >= 40
    assert 60 <= second < 80
    assert 60 <= third < 80
    assert min(gaps(ours, IntervalSeconds=120, BackoffRate=1, JitterStrategy="FULL")) < 120
    assert gaps(published, MaxAttempts=2, IntervalSeconds=1, BackoffRate=3, MaxDelaySeconds=1)[1] >= 3
    assert "min(sleep_sec, 60)" in inspect.getsource(untouched._execute_task)


def test_a_token_task_ends_after_its_timeout_in_scaled_seconds(ours: Bench) -> None:
    ended = ours.run(with_token(ours, ours.queue(), TimeoutSeconds=120), seconds=10)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    assert 120 <= (ended["stopDate"] - ended["startDate"]).total_seconds() < 240


def test_a_timeout_may_be_an_expression(ours: Bench, published: Bench) -> None:
    seconds = "{% $states.input.seconds %}"
    assert (
        ours.run(with_token(ours, ours.queue(), TimeoutSeconds=seconds), {"seconds": 60})["error"] == "States.Timeout"
    )
    assert (
        published.run(with_token(published, published.queue(), TimeoutSeconds=seconds), {"seconds": 1})["error"]
        == "States.Runtime"
    )


def test_a_token_task_without_heartbeat_ends(ours: Bench, published: Bench) -> None:
    ended = ours.run(with_token(ours, ours.queue(), HeartbeatSeconds=60, TimeoutSeconds=36000), seconds=10)
    assert ended["error"] == "States.HeartbeatTimeout"
    execution = published.start(with_token(published, published.queue(), HeartbeatSeconds=1))
    time.sleep(2.5)
    assert published.stepfunctions.describe_execution(executionArn=execution)["status"] == "RUNNING"


def test_heartbeats_keep_a_token_task_alive(ours: Bench) -> None:
    queue = ours.queue()
    execution = ours.start(with_token(ours, queue, HeartbeatSeconds=60, TimeoutSeconds=36000))
    token = ours.messages(queue)[0]["Body"]
    for _ in range(6):
        time.sleep(0.5)
        assert word_for(ours, token, "send_task_heartbeat") == "accepted"
    assert word_for(ours, token, output='{"went": "well"}') == "accepted"
    assert json.loads(ours.ended(execution)["output"]) == {"went": "well"}


def test_a_task_fails_when_the_function_that_was_handed_the_token_fails(ours: Bench, published: Bench) -> None:
    payload = {"fail": "before anybody saw the token", "token": "{% $states.context.Task.Token %}"}
    assert ours.run(ours.hello(payload, ".waitForTaskToken", TimeoutSeconds=36000))["error"] == "TeapotError"
    assert published.run(published.hello(payload, ".waitForTaskToken", TimeoutSeconds=1))["error"] == "States.Timeout"


def test_each_attempt_of_a_task_has_its_own_token(ours: Bench, published: Bench) -> None:
    def tokens(bench: Bench) -> set[str]:
        queue = bench.queue()
        retry = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1, "IntervalSeconds": 1}]
        execution = bench.start(with_token(bench, queue, Retry=retry))
        first = bench.messages(queue)[0]["Body"]
        word_for(bench, first, "send_task_failure", error="Again", cause="")
        second = bench.messages(queue)[0]["Body"]
        word_for(bench, second, output="1")
        bench.ended(execution)
        return {first, second}

    assert len(tokens(ours)) == 2
    assert len(tokens(published)) == 1


def test_a_word_for_an_ended_task_is_refused_as_timed_out_and_an_unknown_token_as_invalid(
    ours: Bench, published: Bench
) -> None:
    def refusals(bench: Bench) -> list[str]:
        queue = bench.queue()
        execution = bench.start(with_token(bench, queue))
        token = bench.messages(queue)[0]["Body"]
        first, second = word_for(bench, token, output="1"), word_for(bench, token, output="2")
        assert json.loads(bench.ended(execution)["output"]) == (
            1 if bench is ours else json.loads(bench.ended(execution)["output"])
        )
        return [first, second, word_for(bench, token, output="3"), word_for(bench, "never-was", output="1")]

    assert refusals(ours) == ["accepted", "TaskTimedOut", "TaskTimedOut", "InvalidToken"]
    assert refusals(published)[2:] == ["TaskDoesNotExist", "TaskDoesNotExist"]


def test_an_answer_that_is_no_json_is_refused(ours: Bench, published: Bench) -> None:
    def refusal(bench: Bench) -> str:
        queue = bench.queue()
        execution = bench.start(with_token(bench, queue))
        token = bench.messages(queue)[0]["Body"]
        code = word_for(bench, token, output="{not json")
        if bench is ours:
            bench.stepfunctions.stop_execution(executionArn=execution)
        return code

    assert refusal(ours) == "InvalidOutput"
    assert refusal(published) == "accepted"


def test_a_machines_own_timeout_ends_its_execution_as_timed_out_with_an_event(ours: Bench, published: Bench) -> None:
    machine = ours.machine(wait(36000, TimeoutSeconds=60))
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ["TIMED_OUT"]}}
    queue = ours.listen(pattern)
    execution = ours.stepfunctions.start_execution(stateMachineArn=machine)["executionArn"]
    ended = ours.ended(execution)
    assert (ended["status"], ended["error"]) == ("TIMED_OUT", "States.Timeout")
    detail = json.loads(ours.messages(queue)[0]["Body"])["detail"]
    assert (detail["executionArn"], detail["status"], detail["error"]) == (execution, "TIMED_OUT", "States.Timeout")
    assert published.run(wait(2, TimeoutSeconds=1))["status"] == "SUCCEEDED"


def test_a_stopped_execution_stays_stopped_and_does_nothing_more(ours: Bench, published: Bench) -> None:
    def after_stop(bench: Bench) -> tuple[str, int]:
        queue, pause = bench.queue(), 60 if bench is ours else 1
        arguments = {"QueueUrl": queue, "MessageBody": "late"}
        late = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Arguments": arguments, "Next": "Fail"}
        inner = {
            "Wait": {"Type": "Wait", "Seconds": pause, "Next": "Late"},
            "Late": late,
            "Fail": {"Type": "Fail", "Error": "Late"},
        }
        branch = {"StartAt": "Wait", "States": inner}
        execution = bench.start(
            {"StartAt": "P", "States": {"P": {"Type": "Parallel", "Branches": [branch], "End": True}}}
        )
        time.sleep(0.3)
        bench.stepfunctions.stop_execution(executionArn=execution)
        time.sleep(2)
        said = bench.sqs.receive_message(QueueUrl=queue).get("Messages", [])
        return str(bench.stepfunctions.describe_execution(executionArn=execution)["status"]), len(said)

    assert after_stop(ours) == ("ABORTED", 0)
    assert after_stop(published) == ("FAILED", 1)


def test_a_nested_executions_failure_is_task_failed_with_the_child_as_cause(ours: Bench, published: Bench) -> None:
    def failure(bench: Bench) -> dict[str, Any]:
        child = bench.machine(fail("ChildBroke"))
        return bench.run(
            bench.task("arn:aws:states:::states:startExecution.sync:2", {"StateMachineArn": child, "Input": {}})
        )

    ended = failure(ours)
    cause = json.loads(ended["cause"])
    assert ended["error"] == "States.TaskFailed"
    assert (cause["Status"], cause["Error"], cause["Cause"]) == ("FAILED", "ChildBroke", "meant")
    assert failure(published)["error"] == "ChildBroke"


def test_a_nested_execution_is_an_ordinary_one(ours: Bench, published: Bench) -> None:
    def twice(bench: Bench) -> tuple[Any, Any, int]:
        child, name = (
            bench.machine({"StartAt": "P", "States": {"P": {**PASS, "Output": {"went": "well"}}}}),
            bench.name(),
        )
        queue = bench.listen({"source": ["aws.states"], "detail": {"stateMachineArn": [child]}})
        arguments = {"StateMachineArn": child, "Name": name, "Input": {}}
        first = bench.run(bench.task("arn:aws:states:::states:startExecution.sync:2", arguments))
        second = bench.run(bench.task("arn:aws:states:::states:startExecution.sync:2", arguments))
        time.sleep(0.3)
        events = bench.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return json.loads(first["output"])["Output"], second.get("error"), len(events)

    assert twice(ours) == ({"went": "well"}, "StepFunctions.ExecutionAlreadyExistsException", 2)
    assert twice(published) == ({"went": "well"}, None, 0)


def test_states_all_does_not_catch_a_runtime_error(ours: Bench, published: Bench) -> None:
    def status(bench: Bench) -> Any:
        catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::batch:nothing",
            "Arguments": {},
            "Catch": catch,
            "End": True,
        }
        return bench.run({"StartAt": "Do", "States": {"Do": task, "Caught": {"Type": "Succeed"}}})["status"]

    assert status(ours) == "FAILED"
    assert status(published) == "SUCCEEDED"


def test_a_parallel_state_takes_arguments_and_gives_output_and_assign(ours: Bench, published: Bench) -> None:
    def result(bench: Bench) -> Any:
        parallel = {
            "Type": "Parallel",
            "Arguments": {"x": "{% $states.input.n + 1 %}"},
            "Branches": [{"StartAt": "A", "States": {"A": PASS}}],
            "Assign": {"kept": "{% $states.result[0].x %}"},
            "Output": {"got": "{% $states.result[0].x %}"},
            "Next": "After",
        }
        after = {"Type": "Pass", "Output": {"in": "{% $states.input %}", "kept": "{% $kept %}"}, "End": True}
        ended = bench.run({"StartAt": "P", "States": {"P": parallel, "After": after}}, {"n": 1})
        return json.loads(ended["output"]) if ended["status"] == "SUCCEEDED" else ended["error"]

    assert result(ours) == {"in": {"got": 2}, "kept": 2}
    assert result(published) == "States.QueryEvaluationError"


def test_an_assignment_sees_the_variables_as_they_were(ours: Bench, published: Bench) -> None:
    def result(bench: Bench) -> Any:
        made = {
            "One": {"Type": "Pass", "Assign": {"n": 1}, "Next": "Two"},
            "Two": {"Type": "Pass", "Assign": {"n": "{% $n + 1 %}", "before": "{% $n %}"}, "Next": "Say"},
            "Say": {**PASS, "Output": "{% [$n, $before] %}"},
        }
        return json.loads(bench.run({"StartAt": "One", "States": made})["output"])

    assert result(ours) == [2, 1]
    assert result(published) == [2, 2]


def test_branches_do_not_share_variables_and_context(ours: Bench, published: Bench) -> None:
    def result(bench: Bench) -> Any:
        def branch(name: str, seconds: int) -> dict[str, Any]:
            return {"StartAt": f"Set{name}", "States": {
                f"Set{name}": {"Type": "Pass", "Assign": {"who": name}, "Next": f"Wait{name}"},
                f"Wait{name}": {"Type": "Wait", "Seconds": seconds, "Next": f"Say{name}"},
                f"Say{name}": {"Type": "Pass", "Output": "{% $who %}", "End": True},
            }}  # fmt: skip

        pause = 30 if bench is ours else 1
        parallel = {"Type": "Parallel", "Branches": [branch("A", pause), branch("B", pause)], "End": True}
        return json.loads(bench.run({"StartAt": "P", "States": {"P": parallel}})["output"])

    assert result(ours) == ["A", "B"]
    assert len(set(result(published))) == 1


def test_a_distributed_map_takes_expressions(ours: Bench, published: Bench) -> None:
    def result(bench: Bench) -> Any:
        distributed = {
            "Type": "Map",
            "Items": "{% $states.input.shards %}",
            "MaxConcurrency": "{% 2 %}",
            "ItemSelector": {
                "shard": "{% $states.context.Map.Item.Value %}",
                "of": "{% $count($states.input.shards) %}",
            },
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "A",
                "States": {"A": PASS},
            },
            "Assign": {"done": "{% $count($states.result) %}"},
            "Output": {"results": "{% $states.result %}"},
            "Next": "After",
        }
        after = {
            "Type": "Pass",
            "Output": {"results": "{% $states.input.results %}", "done": "{% $done %}"},
            "End": True,
        }
        ended = bench.run({"StartAt": "M", "States": {"M": distributed, "After": after}}, {"shards": ["a", "b"]})
        return json.loads(ended["output"]) if ended["status"] == "SUCCEEDED" else ended["error"]

    assert result(ours) == {"results": [{"shard": "a", "of": 2}, {"shard": "b", "of": 2}], "done": 2}
    assert result(published) in {"States.Runtime", "States.QueryEvaluationError"}


def test_a_result_over_256_kib_fails_the_execution(ours: Bench, published: Bench) -> None:
    def ended(bench: Bench) -> tuple[str, str | None]:
        catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
        task = bench.hello({"large": 300_000}, Catch=catch)["States"]["Do"]
        found = bench.run({"StartAt": "Do", "States": {"Do": task, "Caught": {"Type": "Succeed"}}})
        return found["status"], found.get("error")

    assert ended(ours) == ("FAILED", "States.DataLimitExceeded")
    assert ended(published) == ("SUCCEEDED", None)


def test_an_expression_may_take_its_second_by_the_real_clock(ours: Bench) -> None:
    """By the wall clock, every expression of more than 17 ms would fail at 60 times real time."""
    long = "{% $sum($map([1..3000], function($n) { $n * $n })) %}"
    ended = ours.run({"StartAt": "P", "States": {"P": {**PASS, "Output": long}}})
    assert json.loads(ended["output"]) == 3000 * 3001 * 6001 // 6
    assert "time.time()" in inspect.getsource(timebox.Timebox.current_milli_time)


@pytest.mark.parametrize("status", ["ABORTED", "FAILED"])
def test_a_status_event_says_why_an_execution_ended(ours: Bench, status: str) -> None:
    machine = ours.machine(fail("Broke") if status == "FAILED" else wait(36000))
    queue = ours.listen({"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": [status]}})
    execution = ours.stepfunctions.start_execution(stateMachineArn=machine)["executionArn"]
    if status == "ABORTED":
        ours.stepfunctions.stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    detail = json.loads(ours.messages(queue)[0]["Body"])["detail"]
    assert (detail["error"], detail["cause"]) == (("Broke", "meant") if status == "FAILED" else ("Stopped", "by hand"))
    assert detail["name"] == execution.rsplit(":", 1)[1]


def test_a_function_runs_into_its_timeout_in_real_seconds(ours: Bench) -> None:
    started = time.monotonic()
    kind, body = ours.invoke({"sleep": 30})
    assert (kind, body["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert "timed out after 5" in body["errorMessage"]
    assert time.monotonic() - started >= 5  # its Timeout; the fast clock would have ended it after 83 ms


def test_a_handler_sees_the_fast_wall_clock_and_real_remaining_time(ours: Bench) -> None:
    before = ours.stack.clock.now().timestamp()
    _, body = ours.invoke({"sleep": 0.5})
    assert before <= body["now"] <= ours.stack.clock.now().timestamp()
    assert 4000 < body["left"] <= 4500


def test_a_succeed_state_computes_the_executions_output(ours: Bench, published: Bench) -> None:
    definition = {"StartAt": "S", "States": {"S": {"Type": "Succeed", "Output": {"twice": "{% 2 * $states.input %}"}}}}

    assert json.loads(ours.run(definition, 21)["output"]) == {"twice": 42}
    assert json.loads(published.run(definition, 21)["output"]) == 21
