"""The sequential tests: e-values by exact enumeration, the edges of what is tolerated, power at its promised size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from linnet.decisions.sequential import Minute, growth, requests_needed, shifted
from linnet.errors import BadInputError

ALPHA = 0.0025


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


def test_more_hits_than_requests_are_refused() -> None:
    with pytest.raises(BadInputError, match="hits from 0 to the fleet's requests"):
        Minute(3, 4, 10, 0)


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
