"""The sequential tests: e-values by exact enumeration, the edges of what is tolerated, power at its promised size."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from linnet.decisions.sequential import (
    BUDGET,
    RATIOS,
    Minute,
    dearer,
    exceeds,
    growth,
    line,
    requests_needed,
    shifted,
    wealth,
)
from linnet.errors import BadInputError

ALPHA = 0.01 * BUDGET["errors"]


@given(
    fleets=st.tuples(st.integers(1, 6), st.integers(1, 12)), hits=st.integers(0, 8),
    odds=st.floats(0.05, 3), slack=st.floats(0, 1),
)  # fmt: skip
def test_the_mean_of_a_comparison_is_at_most_1_under_every_tolerated_odds(
    fleets: tuple[int, int], hits: int, odds: float, slack: float
) -> None:
    """By the exact distribution of a minute; `tolerated` is at or above the true odds."""
    new, old = fleets
    hits = min(hits, new + old)
    true = stats.nchypergeom_fisher(new + old, new, hits, odds)
    mean = sum(
        float(true.pmf(count)) * math.exp(growth([Minute(new, count, old, hits - count)], odds * (1 + slack))[0])
        for count in range(max(0, hits - old), min(hits, new) + 1)
    )
    assert mean <= 1 + 1e-6
    assert slack or mean == pytest.approx(1)  # on the edge nothing is given away


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500)), min_size=1, max_size=10))
def test_minutes_without_a_hit_or_with_one_fleet_alone_say_nothing(sizes: list[tuple[int, int]]) -> None:
    assert growth([Minute(new, 0, old, 0) for new, old in sizes]) == pytest.approx([0.0] * len(sizes))
    assert growth([Minute(0, 0, old, old) for _, old in sizes]) == pytest.approx([0.0] * len(sizes))
    assert growth([Minute(new, new, 0, 0) for new, _ in sizes]) == pytest.approx([0.0] * len(sizes))


def test_a_bad_day_for_both_fleets_is_no_evidence_against_the_new_one() -> None:
    """Peer rule: one 5XX anywhere rolls back. A shared dependency fails for a tenth of all requests, then for none."""
    shared = [Minute(60, 6, 540, 54), Minute(60, 0, 540, 0), Minute(60, 12, 540, 108)] * 80
    assert max(growth(shared)) <= 0.01


def test_a_fleet_that_fails_every_request_is_seen_in_its_first_minute() -> None:
    assert growth([Minute(20, 20, 180, 1)])[0] > math.log(1 / ALPHA)


@pytest.mark.parametrize("minute", [
    Minute(6_000, 6_000, 54_000, 270), Minute(6_000, 6_000, 54_000, 54_000), Minute(30_000, 29_000, 30_000, 15_000),
    Minute(6_000, 31, 54_000, 270), Minute(1, 1, 59_999, 30_000), Minute(59_000, 600, 1_000, 3),
])  # fmt: skip
@pytest.mark.parametrize("tolerated", [0.1, 1.0, 1.3])
def test_a_minute_of_60000_requests_is_weighed_as_the_sum_over_all_its_ways_does(
    minute: Minute, tolerated: float
) -> None:
    hits = minute.new_hits + minute.old_hits
    new = np.arange(max(0, hits - minute.old), min(hits, minute.new) + 1)
    ways = -special.betaln(minute.new - new + 1, new + 1) - np.log(minute.new + 1)
    ways -= special.betaln(minute.old - hits + new + 1, hits - new + 1) + np.log(minute.old + 1)
    total = [special.logsumexp(ways + new * math.log(odds * tolerated)) for odds in (1, *RATIOS)]
    gains = [minute.new_hits * math.log(r) - one + total[0] for r, one in zip(RATIOS, total[1:], strict=True)]
    assert growth([minute], tolerated)[0] == pytest.approx(special.logsumexp(gains) - math.log(len(RATIOS)), abs=1e-6)


@pytest.mark.parametrize("rho", [0.0, 0.01])
def test_a_fleet_as_good_as_the_old_one_is_found_worse_no_oftener_than_alpha_over_all_looks(rho: float) -> None:
    """With bursts that both fleets share; 400 seeded releases of 60 looks at an alpha that lets some through."""
    draw, alpha, found = np.random.default_rng(7), 0.1, 0
    for _ in range(400):
        rate = draw.beta(0.05 * (1 / rho - 1), 0.95 * (1 / rho - 1), 60) if rho else np.full(60, 0.05)
        new, old = draw.binomial(60, rate), draw.binomial(540, rate)
        path = growth(Minute(60, int(a), 540, int(b)) for a, b in zip(new, old, strict=True))
        found += max(path) >= -math.log(alpha)
    assert found <= stats.binom.ppf(0.999, 400, alpha)


@pytest.mark.parametrize("ratio", [2, 5, 10])
def test_so_many_requests_as_are_said_to_be_needed_are_enough_in_99_of_100_releases(ratio: int) -> None:
    """0.5 % errors, a tenth of the traffic, 600 requests a minute (G5 of peers.md); 400 seeded releases."""
    needed = requests_needed(ratio, rate=0.005, share=0.1, alpha=ALPHA)
    draw = np.random.default_rng(ratio)
    seen = 0
    for _ in range(400):
        size = -(-needed // 60)
        new, old = draw.binomial(60, 0.005 * ratio, size), draw.binomial(540, 0.005, size)
        path = growth(Minute(60, int(a), 540, int(b)) for a, b in zip(new, old, strict=True))
        seen += max(path) >= math.log(1 / ALPHA)
    assert seen >= 0.99 * 400


@pytest.mark.parametrize(("field", "values"), [
    ("ratio", {"ratio": 1.0, "rate": 0.1, "share": 0.1}), ("rate", {"ratio": 2.0, "rate": 0.0, "share": 0.1}),
    ("share", {"ratio": 2.0, "rate": 0.1, "share": 1.0}),
])  # fmt: skip
def test_what_could_never_be_seen_is_refused_by_name(field: str, values: dict[str, float]) -> None:
    ratio = values.pop("ratio")
    with pytest.raises(BadInputError, match=field):
        requests_needed(ratio, alpha=ALPHA, **values)


@pytest.mark.parametrize("tolerated", [0.0, -1.0, math.inf, math.nan])
def test_odds_that_tolerate_nothing_or_everything_are_refused(tolerated: float) -> None:
    with pytest.raises(BadInputError, match="tolerated"):
        growth([], tolerated)


def test_more_hits_than_requests_are_refused() -> None:
    with pytest.raises(BadInputError, match="hits from 0 to the fleet's requests"):
        Minute(3, 4, 10, 0)


@given(
    size=st.integers(0, 40), tolerated=st.floats(0.001, 0.999), slack=st.floats(0, 1),
)  # fmt: skip
def test_the_mean_of_too_many_hits_is_at_most_1_under_every_tolerated_share(
    size: int, tolerated: float, slack: float
) -> None:
    true = stats.binom(size, tolerated * (1 - slack))
    mean = sum(float(true.pmf(hits)) * math.exp(exceeds(hits, size, tolerated)) for hits in range(size + 1))
    assert mean <= 1 + 1e-9
    assert slack or mean == pytest.approx(1)  # on the edge nothing is given away


def test_a_tolerated_disagreement_is_found_no_oftener_than_alpha_over_all_looks() -> None:
    draw, alpha, size = np.random.default_rng(3), 0.1, 500
    different = np.cumsum(draw.random((400, size)) < 0.1, axis=1)
    found = sum(
        any(exceeds(hits, of, 0.1) >= -math.log(alpha) for of, hits in enumerate(row, 1)) for row in different.tolist()
    )
    assert found <= stats.binom.ppf(0.999, 400, alpha)


def test_twice_the_tolerated_disagreement_is_found_within_600_requests_in_99_of_100_shadows() -> None:
    hits = np.random.default_rng(4).binomial(600, 0.2, 400)
    assert sum(exceeds(n, 600, 0.1) >= line("agreement", 0.01) for n in hits.tolist()) >= 0.99 * 400


@pytest.mark.parametrize(("field", "values"), [
    ("hits", (3, 2, 0.1)), ("hits", (-1, 2, 0.1)), ("tolerated", (1, 2, 0.0)), ("tolerated", (1, 2, 1.0)),
])  # fmt: skip
def test_a_share_that_cannot_be_is_refused_by_name(field: str, values: tuple[int, int, float]) -> None:
    with pytest.raises(BadInputError, match=field):
        exceeds(*values)


@given(
    new=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), old=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    slack=st.floats(0, 0.5), pairs=st.integers(1, 3),
)  # fmt: skip
def test_the_mean_of_a_higher_cost_is_at_most_1_under_every_tolerated_one(
    new: tuple[float, ...], old: tuple[float, ...], slack: float, pairs: int
) -> None:
    """Exactly: over all runs of pairs, each fleet drawing evenly from its own few values."""
    tolerated = max(0.0, sum(new) / 3 - sum(old) / 2) + slack
    if tolerated >= 1:
        return
    runs = itertools.product(itertools.product(new, old), repeat=pairs)
    wealth = [math.exp(dearer([a for a, _ in run], [b for _, b in run], tolerated)) for run in runs]
    assert sum(wealth) / len(wealth) <= 1 + 1e-9


def _costs(draw: np.random.Generator, share: float, size: int) -> list[float]:
    """Return the costs of calls of which a share is wrong: a missed one costs all, a false alarm a fifth."""
    return np.where(draw.random(size) < share, draw.choice([0.2, 1.0], size), 0.0).tolist()


def test_costs_that_are_alike_are_found_dearer_no_oftener_than_alpha_over_all_looks() -> None:
    draw, alpha, found = np.random.default_rng(5), 0.1, 0
    for _ in range(400):
        new, old = _costs(draw, 0.3, 300), _costs(draw, 0.3, 300)
        found += any(dearer(new[:seen], old[:seen]) >= -math.log(alpha) for seen in range(5, 301, 5))
    assert found <= stats.binom.ppf(0.999, 400, alpha)


def test_calls_wrong_three_times_as_often_are_found_dearer_within_1000_labels_in_99_of_100_releases() -> None:
    draw = np.random.default_rng(6)
    found = [dearer(_costs(draw, 0.3, 1000), _costs(draw, 0.1, 1000), 0.01) for _ in range(400)]
    assert sum(value >= line("cost", 0.01) for value in found) >= 0.99 * 400


def test_what_is_left_without_its_pair_waits() -> None:
    assert dearer([1.0, 1.0], [0.0]) == dearer([1.0], [0.0, 0.0]) == dearer([1.0], [0.0]) > 0
    assert dearer([], [1.0]) == pytest.approx(0)


def test_how_often_each_difference_came_says_as_much_as_the_pairs_do() -> None:
    assert wealth({1.0: 2, -0.2: 1, 0.0: 1}, 0.1) == pytest.approx(dearer([1, 0, 1, 0.5], [0, 0.2, 0, 0.5], 0.1))
    with pytest.raises(BadInputError, match="differences"):
        wealth({1.1: 1})


@pytest.mark.parametrize(("field", "values"), [
    ("new", ([1.1], [0.0], 0.0)), ("new", ([math.nan], [0.0], 0.0)), ("old", ([1.0], [-0.1], 0.0)),
    ("tolerated", ([1.0], [0.0], -0.1)), ("tolerated", ([1.0], [0.0], 1.0)),
])  # fmt: skip
def test_a_cost_that_is_no_share_is_refused_by_name(field: str, values: tuple[list[float], list[float], float]) -> None:
    with pytest.raises(BadInputError, match=field):
        dearer(*values)


def test_the_metrics_spend_alpha_once_together_and_errors_the_most_of_it() -> None:
    assert set(BUDGET) == {"errors", "latency", "predictions", "agreement", "quality", "cost"}
    assert math.fsum(math.exp(-line(metric, 0.01)) for metric in BUDGET) == pytest.approx(0.01)
    assert all(BUDGET["errors"] > share for metric, share in BUDGET.items() if metric != "errors")


@pytest.mark.parametrize(("metric", "alpha"), [("colour", 0.01), ("errors", 0.0), ("errors", 1.0)])
def test_a_line_for_what_has_no_share_or_no_error_to_spend_is_refused(metric: str, alpha: float) -> None:
    with pytest.raises(BadInputError, match="metric" if metric == "colour" else "alpha"):
        line(metric, alpha)


SHARES = st.lists(st.integers(1, 20), min_size=2, max_size=6).map(lambda parts: [part / sum(parts) for part in parts])


@given(expected=SHARES, seed=st.integers(0, 10**6), size=st.integers(0, 60), tolerated=st.floats(0.01, 0.5))
def test_the_largest_tolerated_likelihood_is_what_a_general_optimiser_finds(
    expected: list[float], seed: int, size: int, tolerated: float
) -> None:
    draw = np.random.default_rng(seed)
    counts = draw.multinomial(size, draw.dirichlet(np.ones(len(expected)))).tolist()
    prior = 0.5 * len(counts)
    mixture = math.lgamma(prior) - math.lgamma(prior + size)
    mixture += sum(math.lgamma(0.5 + count) - math.lgamma(0.5) for count in counts)
    least = np.array(expected) * (1 - tolerated)
    found = optimize.minimize(
        lambda p: -float(np.sum(np.array(counts) * np.log(np.maximum(p, 1e-12)))), np.array(expected),
        bounds=[(low, 1) for low in least], constraints={"type": "eq", "fun": lambda p: p.sum() - 1}, method="SLSQP",
    )  # fmt: skip
    mine = shifted(counts, expected, tolerated)
    assert mine <= mixture + found.fun + 1e-3 * (1 + size)
    assert mine >= mixture + found.fun - 1e-3 * (1 + size)


@given(counts=st.lists(st.integers(0, 3), min_size=3, max_size=3), tolerated=st.floats(0.01, 0.9))
def test_the_mean_of_a_shift_is_at_most_1_under_every_tolerated_distribution(
    counts: list[int], tolerated: float
) -> None:
    """Exactly: over all counts of as many requests, under the likeliest tolerated distribution for one of them."""
    size, expected = sum(counts), [0.5, 0.3, 0.2]
    extra = np.array(counts) / size if size else np.array([1.0, 0.0, 0.0])
    true = (1 - tolerated) * np.array(expected) + tolerated * extra
    ways = [(a, b, size - a - b) for a in range(size + 1) for b in range(size + 1 - a)]
    mean = sum(
        float(stats.multinomial.pmf(way, size, true)) * math.exp(shifted(way, expected, tolerated)) for way in ways
    )
    assert mean <= 1 + 1e-9


def test_a_model_that_is_silently_wrong_is_caught_in_200_of_200_seeds_within_5000_requests() -> None:
    """G6 of peers.md: no errors, its scores shifted by half a standard deviation, a PSI of 0.25."""
    edges = stats.norm.ppf(np.linspace(0, 1, 11))
    shares = np.diff(stats.norm.cdf(edges - 0.52))
    assert sum((p - 0.1) * math.log(p / 0.1) for p in shares) >= 0.25
    for seed in range(200):
        draw = np.random.default_rng(seed)
        counts, caught = np.zeros(10, dtype=int), False
        for _ in range(50):
            counts += draw.multinomial(100, shares)
            caught = caught or shifted(counts.tolist(), [0.1] * 10, 0.2) >= math.log(1 / ALPHA)
        assert caught, seed


def test_a_bin_that_nobody_expected_counts_as_elsewhere() -> None:
    assert shifted([100, 5], [1.0, 0.0], 0.1) < 0 < shifted([50, 50], [1.0, 0.0], 0.1)


@pytest.mark.parametrize(("expected", "tolerated"), [([0.5, 0.6], 0.1), ([1.0], 0.1), ([0.5, 0.5], 0), ([0.5, 0.5], 1)])
def test_expectations_that_are_no_distribution_are_refused(expected: list[float], tolerated: float) -> None:
    with pytest.raises(BadInputError):
        shifted([1, 2], expected, tolerated)
