"""Healthy, unhealthy or unknown: RB-02's boundaries, and unknown that is never healthy (F14, F15, I7)."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from linnet.decisions.sequential import BUDGET, Minute, growth, line
from linnet.decisions.verdict import (
    Comparison,
    Evidence,
    Past,
    Verdict,
    assess,
    better,
    compare,
    conclude,
    fold,
    probe,
    worst,
)
from linnet.errors import BadInputError
from linnet.events.spec_rollout import Margins, Rollout

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


def test_one_pause_among_the_probes_condemns_no_release() -> None:
    assert probe([], [4.0, 9000.0], HEALTH) == Verdict("healthy", "2 probes answered; 4ms median")
    assert probe([], [501.0, 502.0, 4.0], HEALTH) == Verdict(
        "unhealthy", "3 probes answered; High latency: 501ms median"
    )


MARGINS = Margins().model_dump()
ALPHA = Rollout().false_rollback
EXPECTED = (0.1,) * 10
GOOD = {
    "errors": [Minute(60, 0, 540, 2)] * 5, "latency": [Minute(60, 1, 540, 5)] * 5, "quality": [Minute(20, 2, 180, 18)] * 5,
    "predictions": ([6] * 10, EXPECTED), "agreement": (3, 300), "cost": ([0.0] * 90 + [1.0] * 10, [0.0] * 90 + [1.0] * 10),
}  # fmt: skip
BAD = {
    "errors": [Minute(60, 30, 540, 2)] * 5, "latency": [Minute(60, 40, 540, 5)] * 5,
    "quality": [Minute(20, 18, 180, 18)] * 5, "predictions": ([600] + [0] * 9, EXPECTED), "agreement": (200, 300),
    "cost": ([1.0] * 300, [0.0] * 300),
}  # fmt: skip
METRICS = st.sets(st.sampled_from(sorted(BUDGET)))


def test_the_metrics_of_a_comparison_share_one_error_and_each_has_a_margin() -> None:
    assert set(GOOD) == set(BAD) == set(BUDGET) == set(MARGINS) == set(vars(Comparison())) - {"past"}
    assert math.fsum(BUDGET.values()) == pytest.approx(1.0)
    assert math.fsum(math.exp(-test.line) for test in compare(Comparison(**GOOD), MARGINS, ALPHA)) == pytest.approx(
        ALPHA
    )


@given(METRICS, METRICS, st.floats(0.001, 0.2))
def test_what_was_seen_is_tested_against_its_own_line_and_only_what_is_worse_crosses_it(
    seen: set[str], worse: set[str], alpha: float
) -> None:
    found = compare(Comparison(**{m: (BAD if m in worse else GOOD)[m] for m in seen}), MARGINS, alpha)

    assert {test.metric for test in found} == seen
    assert {test.metric for test in found if test.crossed} == seen & worse
    assert all(test.line == line(test.metric, alpha) for test in found)
    assert all(test.seen > 0 and test.row()["why"] for test in found)


@pytest.mark.parametrize(
    "nothing",
    [{}, {"errors": []}, {"predictions": ([0, 0], (0.5, 0.5))}, {"agreement": (0, 0)}, {"cost": ([], [1.0])},
     {"cost": ([1.0], [])}],
)  # fmt: skip
def test_a_metric_of_no_request_is_not_tested(nothing: dict[str, Any]) -> None:
    assert compare(Comparison(**nothing), MARGINS, ALPHA) == []


def test_what_is_as_large_as_its_line_is_conclusive() -> None:
    found = compare(Comparison(agreement=GOOD["agreement"]), MARGINS, ALPHA)[0]

    assert replace(found, evidence=found.line).crossed
    assert not replace(found, evidence=math.nextafter(found.line, 0)).crossed


@pytest.mark.parametrize("metric", ["errors", "latency", "quality"])
def test_the_largest_evidence_of_all_minutes_counts_not_the_last(metric: str) -> None:
    burst, calm = [Minute(60, 40, 540, 4)], [Minute(60, 0, 540, 60)] * 30
    tests = compare(Comparison(**{metric: burst + calm}), MARGINS, ALPHA)

    assert tests[0].evidence == growth(burst, MARGINS[metric])[0] > growth(burst + calm, MARGINS[metric])[-1]
    assert tests[0].crossed
    assert tests[0].seen == 31 * 60
    assert "40 of 1860, the champion's 1804 of 16740" in tests[0].why


@pytest.mark.parametrize("metric", sorted(BUDGET))
def test_what_the_margin_tolerates_is_no_evidence(metric: str) -> None:
    wide = MARGINS | {"errors": 100.0, "latency": 100.0, "quality": 100.0, "predictions": 0.95, "agreement": 0.7}
    wide["cost"] = 0.9
    bad = {**BAD, "cost": ([0.8] * 300, [0.0] * 300), "predictions": ([600] + [44] * 9, EXPECTED)}
    one = Comparison(**{metric: bad[metric]})

    assert compare(one, MARGINS, ALPHA)[0].crossed
    assert not compare(one, wide, ALPHA)[0].crossed


@given(METRICS, METRICS, METRICS, st.sampled_from(STATES))
def test_i7_healthy_only_where_the_plain_check_is_all_is_seen_and_nothing_is_worse(
    seen: set[str], worse: set[str], missing: set[str], plain: Any
) -> None:
    tests = compare(Comparison(**{m: (BAD if m in worse else GOOD)[m] for m in seen}), MARGINS, ALPHA)
    found = conclude(Verdict(plain, "plain"), tests, sorted(missing))

    if seen & worse:  # also where the plain check is unknown: a conclusive test needs no minimum of requests
        assert found.state == "unhealthy"
    elif plain == "healthy" and missing:
        assert found.state == "unknown"
    else:
        assert found == Verdict(plain, "plain")


def test_the_verdict_names_what_was_worse_by_how_much_and_what_is_still_missing() -> None:
    tests = compare(Comparison(errors=BAD["errors"]), MARGINS, ALPHA)
    why = conclude(Verdict("unknown", ""), tests).why

    assert why.startswith("Too many failed requests: 150 of 300, the champion's 10 of 2700 (evidence ")
    assert f"limit {tests[0].line:.1f}" in why
    missing = conclude(Verdict("healthy", ""), [], ["agreement", "predictions"]).why
    assert missing == "Not seen yet: calls unlike the champion's, answers unlike the holdout's"


@pytest.mark.parametrize("metric", ["errors", "latency", "quality", "cost"])
def test_ro_05_better_is_shown_by_the_mirror_image_alone(metric: str) -> None:
    bad = Comparison(**{metric: BAD[metric]})
    swapped = (
        bad.cost[::-1] if bad.cost else [Minute(m.old, m.old_hits, m.new, m.new_hits) for m in getattr(bad, metric)]
    )

    assert better(Comparison(**{metric: swapped}), metric, ALPHA)
    assert not better(bad, metric, ALPHA)
    assert not better(Comparison(**{metric: GOOD[metric]}), metric, ALPHA)
    assert not better(Comparison(), metric, ALPHA)


def test_a_good_fleet_is_taken_back_no_oftener_than_the_spec_allows_over_all_looks_and_metrics() -> None:
    """All metrics at the edge of what is tolerated, three looks in 30 minutes; 150 seeded releases."""
    draw, alpha, margins, taken = np.random.default_rng(11), 0.1, MARGINS | {"latency": 1.0}, 0
    for _ in range(150):
        counted = {
            metric: [Minute(60, int(n), 540, int(o)) for n, o in draw.binomial((60, 540), rate, (30, 2))]
            for metric, rate in (("errors", 0.02), ("latency", 0.01), ("quality", 0.1))
        }
        bins = draw.multinomial(60, [0.28] + [0.08] * 9, 30).cumsum(axis=0)  # a fifth of the answers all in one bin
        unlike = draw.binomial(60, 0.1, 30).cumsum()
        costs = draw.choice([0.0, 0.2, 1.0], (2, 30 * 15), p=[0.9, 0.05, 0.05]).tolist()
        taken += any(
            conclude(Verdict("healthy", ""), compare(Comparison(
                predictions=(bins[n].tolist(), EXPECTED), agreement=(int(unlike[n]), 60 * (n + 1)),
                cost=(costs[0][: 15 * (n + 1)], costs[1][: 15 * (n + 1)]), **{m: c[: n + 1] for m, c in counted.items()},
            ), margins, alpha)).state == "unhealthy"
            for n in (4, 14, 29)
        )  # fmt: skip
    assert taken <= stats.binom.ppf(0.999, 150, alpha)


some_minutes = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 540), st.integers(0, 540)).map(
        lambda n: Minute(n[0], min(n[:2]), n[2], min(n[2:]))
    ),
    max_size=12,
)


@given(some_minutes, st.lists(st.integers(0, 12), max_size=3), st.sampled_from(["errors", "latency"]))
def test_minutes_that_were_folded_in_count_as_if_they_were_read_again(
    found: list[Minute], cuts: list[int], metric: str
) -> None:
    past, start = Past(), 0
    for cut in sorted(min(cut, len(found)) for cut in cuts):
        past = Past(**fold(past, found[start:cut], MARGINS[metric]).row())
        start = cut
    whole, parts = Comparison(**{metric: found}), Comparison(**{metric: found[start:]}, past={metric: past})

    one, other = compare(whole, MARGINS, ALPHA), compare(parts, MARGINS, ALPHA)

    assert [(t.seen, t.why) for t in one] == [(t.seen, t.why) for t in other]
    assert [t.evidence for t in one] == pytest.approx([t.evidence for t in other])
    assert better(whole, metric, 0.3) == better(parts, metric, 0.3)
