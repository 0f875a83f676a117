"""The stack's life: one at a time for a state file, loopback only, ended by its own and leaving nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.clock import WallClock
from local.packaging import zip_folder
from local.patches import tools
from local.patches.tools import PatchError, edit
from local.stack import DeployError, Stack
from tests.stack.conftest import APP, Bench, alive, children, until


def test_a_stack_is_found_by_its_state_file_and_gone_with_its_workers_after_stop(tmp_path: Path) -> None:
    state, function = tmp_path / "stack.json", tmp_path / "function"
    function.mkdir()
    (function / "app.py").write_text("def handler(event, context):\n    return event\n")
    assert Stack.running(state) is None
    stack = Stack.start(rate=60, state=state)
    try:
        found = Stack.running(state)
        assert found is not None
        assert (found.endpoint, found.pid, found.clock) == (stack.endpoint, stack.pid, stack.clock)
        client = stack.client("lambda")
        client.create_function(
            FunctionName="f", Runtime="python3.13", Handler="app.handler", Role="arn:aws:iam::000000000000:role/r",
            Code={"ZipFile": zip_folder(function)},
        )  # fmt: skip
        client.invoke(FunctionName="f", Payload=b"{}")
        workers = children(stack.pid)
        assert workers
    finally:
        stack.stop()
    assert not state.exists()
    assert not alive(stack.pid)
    until(lambda: not any(alive(worker) for worker in workers))


def test_a_second_stack_on_the_same_state_file_refuses_to_start(ours: Bench) -> None:
    with pytest.raises(RuntimeError, match="a stack is already running"):
        Stack.start(state=ours.stack.state)


def test_a_stale_state_file_is_nobodys_stack_and_its_pid_is_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "stack.json"
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        state.write_text(f'{{"endpoint": "http://127.0.0.1:1", "pid": {bystander.pid}, "rate": 1, "origin": 0}}')
        assert Stack.running(state) is None
        Stack("http://127.0.0.1:1", WallClock(), bystander.pid, state).stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_stack_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    state = tmp_path / "stack.json"
    script = (
        "import os, pathlib; from local.stack import Stack; "
        f"Stack.start(state=pathlib.Path({str(state)!r})); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
    until(lambda: not state.exists())


def test_it_listens_on_the_loopback_interface_only(ours: Bench) -> None:
    proc = Path(f"/proc/{ours.stack.pid}")
    mine = {str(link.readlink()) for link in (proc / "fd").iterdir() if link.is_symlink()}
    rows = [row.split() for table in ("tcp", "tcp6") for row in (proc / "net" / table).read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in mine]
    assert listening == [f"0100007F:{int(ours.stack.endpoint.rsplit(':', 1)[1]):04X}"]


def test_a_template_that_cannot_be_deployed_says_which_resource_and_why(ours: Bench, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {A: {Type: 'AWS::CloudWatch::Alarm', Properties: {AlarmName: x}}}")
    with pytest.raises(DeployError, match="broken"):
        ours.stack.deploy(template, "broken")


def test_deploying_again_changes_only_what_changed(ours: Bench) -> None:
    before = ours.__getattr__("lambda").get_function(FunctionName="t-hello")["Configuration"]["LastModified"]
    ours.stack.deploy(APP, "t")
    assert ours.stack.outputs("t") == ours.outputs
    assert ours.__getattr__("lambda").get_function(FunctionName="t-hello")["Configuration"]["LastModified"] == before


# ------------------------------------------------------------------------------------------------------------ clock
@given(st.floats(1, 1000), st.floats(0, 2e9), st.floats(0, 1e6), st.floats(0, 1e6))
def test_wall_clock_time_is_equal_at_the_origin_and_passes_at_the_rate(
    rate: float, origin: float, first: float, more: float
) -> None:
    clock = WallClock(rate, origin)
    assert clock.at(origin) == origin
    assert clock.at(origin + first + more) - clock.at(origin + first) == pytest.approx(more * rate, abs=1e-3, rel=1e-6)
    assert clock.real_seconds(more) == pytest.approx(more / rate)


@pytest.mark.parametrize("rate", [0.0, 0.5, -1.0, 1001.0, float("nan")])
def test_a_rate_that_would_lose_timestamps_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="allowed are 1"):
        WallClock(rate)


def test_real_time_costs_a_new_process_nothing() -> None:
    assert WallClock(1.0).prelude() == ""


def test_an_installed_clock_speeds_up_dates_but_not_sleep_and_monotonic_time() -> None:
    source = WallClock(60.0, time.time()).prelude() + (
        "import time, datetime, sys, unittest\n"
        "wall, real = datetime.datetime.now(datetime.UTC).timestamp(), time.monotonic()\n"
        "time.sleep(0.2)\n"
        "print((datetime.datetime.now(datetime.UTC).timestamp() - wall) / (time.monotonic() - real))\n"
        "assert unittest.TestCase.__module__ == 'unittest.case'\n"
    )
    answer = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    assert float(answer.stdout) == pytest.approx(60, rel=0.05)


def test_a_clock_reads_the_same_in_and_outside_the_stack(ours: Bench) -> None:
    before = ours.stack.clock.now()
    date = ours.sqs.list_queues()["ResponseMetadata"]["HTTPHeaders"]["date"]
    assert int(before.timestamp()) <= parsedate_to_datetime(date).timestamp() <= ours.stack.clock.now().timestamp()
    assert ours.stack.clock.now() > datetime.now(UTC)


def test_a_call_later_comes_once_and_its_failure_ends_nothing() -> None:
    def broken() -> None:
        raise RuntimeError("meant")

    came, clock = threading.Event(), WallClock(1000.0, 0.0)
    clock.call_later(1.0, broken)
    clock.call_later(20.0, came.set)
    assert came.wait(10)


# ------------------------------------------------------------------------------------------------------------ patches
def test_a_patch_whose_place_is_gone_refuses_to_start() -> None:
    with pytest.raises(PatchError, match="0 places instead of 1"):
        edit(tools, "background", ("no such line", ""))
