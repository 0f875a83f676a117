"""Feature attribution drift: NDCG against the developer guide's example and scikit-learn (MO-08)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from linnet.errors import BadInputError
from linnet.monitoring.attribution import ndcg, ranks, read_analysis, violations

BASELINE = {"income": 0.70, "age": 0.50, "zip": 0.05}
LIVE = {"income": 0.10, "age": 0.20, "zip": 0.70}


def test_mo_08_the_developer_guides_example_comes_out() -> None:
    assert ndcg(BASELINE, LIVE) == pytest.approx(0.7154648767857285 / 1.0404648767857285, abs=1e-15)
    assert ndcg(BASELINE, LIVE) == pytest.approx(0.6876396241226223, abs=1e-15)
    assert ndcg(BASELINE, BASELINE) == 1


def test_mo_08_the_features_whose_rank_changed_are_told_the_baselines_first() -> None:
    assert ranks(BASELINE, LIVE) == [
        {"feature": "income", "baseline": 0.7, "live": 0.1, "baseline_rank": 1, "live_rank": 3},
        {"feature": "zip", "baseline": 0.05, "live": 0.7, "baseline_rank": 3, "live_rank": 1},
    ]
    assert ranks(BASELINE, {name: 2 * value for name, value in BASELINE.items()}) == []
    assert [entry["feature"] for entry in ranks({"a": 1.0}, {"b": 1.0})] == ["a", "b"]
    assert ranks({"a": 1.0}, {"b": -1.0})[1] == {
        "feature": "b", "baseline": None, "live": 1.0, "baseline_rank": None, "live_rank": 1,
    }  # fmt: skip


def test_a_sign_is_no_rank() -> None:
    """Raw SHAP means may be negative; taken as they are, the score would leave 0..1."""
    signed = {name: -value if name == "income" else value for name, value in BASELINE.items()}
    turned = {name: -value for name, value in LIVE.items()}
    assert ndcg(signed, turned) == ndcg(BASELINE, LIVE)
    assert ndcg(signed, BASELINE) == 1


def test_a_feature_that_live_requests_lack_is_last_and_a_new_one_takes_a_place() -> None:
    assert ndcg(BASELINE, {"age": 0.5, "zip": 0.05}) == ndcg(BASELINE, {"income": 0.0, "age": 0.5, "zip": 0.05})
    crowded = ndcg(BASELINE, BASELINE | {"new": 9.0})
    gain = sum(value / math.log2(place + 2) for place, value in enumerate((0.70, 0.50, 0.05), 1))
    assert crowded == pytest.approx(gain / 1.0404648767857285)
    assert ndcg(BASELINE, {"zip": 1.0}) == ndcg(BASELINE, {"zip": 1.0, "income": 0.0, "age": 0.0}) < 0.9


def test_a_live_model_that_uses_no_feature_is_no_perfect_ranking() -> None:
    assert ndcg(BASELINE, dict.fromkeys(BASELINE, 0.0)) == ndcg(BASELINE, {}) < 0.9


SIZES = st.lists(
    st.tuples(st.floats(0, 10), st.sampled_from([0.0, 1.0, 2.5]) | st.floats(0, 10)), min_size=2, max_size=12
)


@settings(max_examples=200, deadline=None)
@given(SIZES, st.randoms())
def test_the_score_is_scikit_learns_in_any_order_ties_included(pairs: list[tuple[float, float]], order: Any) -> None:
    assume(any(before > 1e-6 for before, _ in pairs))
    names = [f"f{n}" for n in range(len(pairs))]
    before, now = ({name: pair[side] for name, pair in zip(names, pairs, strict=True)} for side in (0, 1))
    order.shuffle(names)
    shuffled = {name: now[name] for name in names}
    expected = ndcg_score(np.array([list(before.values())]), np.array([list(now.values())]))

    assert ndcg(before, now) == pytest.approx(expected, abs=1e-9)
    assert ndcg(before, shuffled) == ndcg(before, now)
    assert 0 < ndcg(before, now) <= 1 + 1e-12


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"a": 1.0}),
        ({"a": 0.0}, {"a": 1.0}),
        ({"a": math.nan}, {"a": 1.0}),
        ({"a": 1.0}, {"a": math.inf}),
        ({"a": 1.0}, {"a": "1"}),
        ({"a": True}, {"a": 1.0}),
        ({"a": 10**400}, {"a": 1.0}),
    ],
)
def test_attributions_that_rank_nothing_are_refused(before: Any, now: Any) -> None:
    with pytest.raises(BadInputError, match="attribution"):
        ndcg(before, now)


@pytest.mark.parametrize(("score", "violates"), [(0.76, True), (0.8999, True), (0.9, False), (1.0, False)])
def test_a_score_below_the_threshold_is_a_violation(score: float, violates: Any) -> None:
    found = violations(score)["violations"]
    text = f"Feature attribution drift {score} exceeds threshold 0.9"
    assert [one["description"] for one in found] == [text] * violates


@pytest.mark.parametrize(
    "document",
    [
        None,
        {"explanations": {"kernel_shap": {"label1": {"global_shap_values": {"a": 1.0}}}}},
        {"explanations": {"kernel_shap": {"label0": {"global_shap_values": {}}}}},
        {"explanations": {"kernel_shap": {"label0": {"global_shap_values": [1.0]}}}},
        {"explanations": {"kernel_shap": {"label0": {"global_shap_values": {"a": None}}}}},
    ],
)
def test_an_analysis_without_attributions_is_refused(document: Any) -> None:
    with pytest.raises(BadInputError, match=r"analysis\.json"):
        read_analysis(document)
