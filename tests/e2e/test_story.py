"""The demo, played once, row by row of the requirements' heart (intent over letter)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import permissions

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """Play the demo as a user does and return its report; LINNET_DEMO is what a demo of a moment ago printed."""
    if told := os.environ.get("LINNET_DEMO"):
        printed, status = (ROOT / told).read_text(), None
    else:
        played = subprocess.run(
            [sys.executable, "-m", "local", "demo"], cwd=ROOT, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'layers' / 'linnet'}:{ROOT}", "COLUMNS": "200"},
        )  # fmt: skip
        printed, status = played.stdout, played.returncode
    found: dict[str, Any] = json.loads((ROOT / "build" / "demo" / "report.json").read_text())
    # The exit status of a demo that was played before is a line of `make verify` of its own.
    return found | {"exit": int(found["result"] != "as told") if status is None else status, "printed": printed}


def _phase(report: dict[str, Any], words: str) -> dict[str, Any]:
    return next(p for p in report["phases"] if words in p["phase"])


def _held(report: dict[str, Any], words: str, claim: str) -> bool:
    claims = [e for e in _phase(report, words)["expectations"] if claim in e["claim"]]
    return bool(claims) and all(e["held"] for e in claims)


def test_the_demo_exits_0_because_every_expectation_held(report: dict[str, Any]) -> None:
    assert (report["exit"], report["failure"]) == (0, "")
    assert all(e["held"] for p in report["phases"] for e in p["expectations"])


def test_the_report_tells_every_phase_with_its_times_ids_and_result(report: dict[str, Any]) -> None:
    assert len(report["phases"]) >= 12
    for phase in report["phases"]:
        assert phase["end"] >= phase["start"]
        assert phase["result"]
        assert phase["seconds"] >= 0


def test_da_02_new_data_starts_the_workflow(report: dict[str, Any]) -> None:
    assert _held(report, "Data arrives", "the run succeeds")


def test_tr_01_a_real_training_job_is_awaited_and_leaves_an_artifact(report: dict[str, Any]) -> None:
    assert _held(report, "Data arrives", "a real training job completed")


def test_rg_01_rg_03_a_passing_candidate_is_registered_and_its_tier_approves(report: dict[str, Any]) -> None:
    assert _held(report, "Data arrives", "it is registered and approved")


def test_dp_01_eb_06_the_approval_event_creates_the_endpoint(report: dict[str, Any]) -> None:
    assert _held(report, "First release", "the endpoint is in service")


def test_mo_02_an_undrifted_window_is_completed_and_a_drifted_one_raises_the_alarm(report: dict[str, Any]) -> None:
    assert _held(report, "Live traffic", "an undrifted window is Completed")
    assert "drifted by" in _phase(report, "Traffic drifts")["result"]


def test_eb_01_eb_03_the_alarm_starts_exactly_one_run_that_says_why(report: dict[str, Any]) -> None:
    assert _held(report, "The alarm starts a run", "the run says that drift was its reason")


def test_rg_04_the_run_waits_for_a_person_and_goes_on_by_the_task_token(report: dict[str, Any]) -> None:
    assert _held(report, "The alarm starts a run", "the run waits for a person")
    assert _held(report, "The alarm starts a run", "the answer is taken")


def test_ev_03_the_champion_is_beaten_on_the_newest_data(report: dict[str, Any]) -> None:
    assert _held(report, "The alarm starts a run", "the candidate beats the champion")


def test_ro_02_every_step_of_the_ladder_is_read_back_from_the_endpoint(report: dict[str, Any]) -> None:
    assert _held(report, "The ladder", "every step was read back")
    assert _held(report, "The ladder", "callers see no error")


def test_ro_01_rb_01_rb_03_a_broken_candidate_is_rolled_back_at_the_first_step(report: dict[str, Any]) -> None:
    assert _held(report, "A broken candidate", "the old config serves again")


def test_rb_06_callers_see_at_most_the_canarys_share_of_errors(report: dict[str, Any]) -> None:
    assert _held(report, "A broken candidate", "callers did see the canary")
    assert _held(report, "A broken candidate", "errors stay within the canary's share")


def test_dv_01_bad_data_is_refused_before_training_with_the_failing_rule_named(report: dict[str, Any]) -> None:
    assert _held(report, "Damaged data", "the failing rule is named")
    assert _held(report, "Damaged data", "no training job was created")


def test_ev_02_ev_03_a_weaker_candidate_is_not_promoted(report: dict[str, Any]) -> None:
    assert _held(report, "A weaker candidate", "no version was registered")
    assert _held(report, "A weaker candidate", "the champion still serves")


def test_one_screen_of_summary_ends_the_demo(report: dict[str, Any]) -> None:
    summary = report["printed"][report["printed"].index("What happened") :]

    assert len(summary.splitlines()) <= 40
    assert "every expectation held" in summary


def test_se_01_no_role_was_refused_a_call_nor_used_one_that_the_template_does_not_allow(report: dict[str, Any]) -> None:
    folder = ROOT / "build" / "demo"
    ids = json.loads((folder / "resources.json").read_text())
    seen = permissions.calls(folder, ids)
    refused, used = permissions.exercised(permissions.translated(), seen, ids)

    assert len({call.role for call in seen}) >= 20  # of functions and state machines
    assert [call for call in seen if not call.allowed] == []
    assert refused == []
    assert used
