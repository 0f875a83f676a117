"""Healthy, unhealthy or unknown: RB-02's boundaries, and unknown that is never healthy (F14, F15, I7)."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions.verdict import Evidence, Verdict, assess, probe, worst
from linnet.errors import BadInputError

HEALTH = {"max_errors": 10, "max_latency_ms": 500.0, "min_requests": 20}
STATES = ("healthy", "unhealthy", "unknown")
number = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("evidence", "state", "why"),
    [
        (Evidence(100, 10, 500.0), "healthy", "500ms average"),
        (Evidence(100, 11, 500.0), "unhealthy", "High error rate: 11 errors in 5 minutes"),
        (Evidence(100, 10, 501.0), "unhealthy", "High latency: 501ms average"),
        (Evidence(20, 0, 1.0), "healthy", ""),
        (Evidence(19, 0, 1.0), "unknown", "Requests seen: 19"),
        (Evidence(0, 0, 0.0), "unknown", ""),
        (Evidence(), "unknown", "unreadable"),
        (Evidence(100, None, 1.0), "unknown", "errors could not be read"),
        (Evidence(100, 0, None), "unknown", "latency could not be read"),
        (Evidence(100, 0, math.nan), "unknown", ""),
        (Evidence(2, 11, None), "unhealthy", ""),
        (Evidence(7, 0, 1.0, failures=5, recent=7), "unhealthy", "5 of 7 requests failed"),
        (Evidence(7, 0, 1.0, failures=4, recent=7), "unknown", ""),
        (Evidence(100, 0, 1.0, failures=50, recent=100), "healthy", ""),
        (Evidence(100, 0, 1.0, failures=51, recent=100), "unhealthy", ""),
    ],
)
def test_rb_02_boundaries(evidence: Evidence, state: str, why: str) -> None:
    found = assess(evidence, HEALTH)

    assert found.state == state
    assert why in found.why


@pytest.mark.parametrize(("one", "two"), list(itertools.product(STATES, STATES)))
def test_f14_two_findings_are_as_bad_as_the_worse_one(one: str, two: str) -> None:
    expected = {"unhealthy"} & {one, two} or {"unknown"} & {one, two} or {"healthy"}

    assert {worst([Verdict(one, ""), Verdict(two, "")]).state} == expected  # type: ignore[arg-type]


def test_no_finding_at_all_is_unknown() -> None:
    assert worst([]).state == "unknown"


@given(number, number, number, number, number)
def test_i7_healthy_needs_every_number(
    requests: float | None, errors: float | None, latency: float | None, failures: float | None, recent: float | None
) -> None:
    found = assess(Evidence(requests, errors, latency, failures, recent), HEALTH)

    if found.state == "healthy":
        assert requests is not None
        assert requests >= 20
        assert errors is not None
        assert 0 <= errors <= 10
        assert latency is not None
        assert 0 <= latency <= 500


@given(st.floats(20, 1e6), st.floats(0, 100), st.floats(0, 5000), st.floats(0, 100), st.floats(0, 1000))
def test_more_errors_or_more_latency_never_make_a_fleet_healthier(
    requests: float, errors: float, latency: float, more_errors: float, more_latency: float
) -> None:
    before = assess(Evidence(requests, errors, latency), HEALTH).state
    after = assess(Evidence(requests, errors + more_errors, latency + more_latency), HEALTH).state

    assert before == "unhealthy" or after in ("healthy", "unhealthy")
    assert not (before == "unhealthy" and after == "healthy")


@pytest.mark.parametrize("limit", ["500", None, math.nan, True])
def test_peer_bug_mcd_b_a_limit_that_is_no_number_is_refused_by_name(limit: object) -> None:
    with pytest.raises(BadInputError, match=r"rollout\.health\.max_latency_ms"):
        assess(Evidence(100, 0, 1.0), HEALTH | {"max_latency_ms": limit})


def test_one_failed_probe_is_enough_and_none_at_all_is_unknown() -> None:
    assert probe(["ModelError: no"], [1.0] * 19, HEALTH).state == "unhealthy"
    assert probe([], [], HEALTH).state == "unknown"
    assert probe([], [500.0], HEALTH).state == "healthy"
    assert probe([], [501.0], HEALTH).state == "unhealthy"
