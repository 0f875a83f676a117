"""F23: data of the right shape with wrong labels, generated, against the whole of the judgement."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from linnet.decisions.gates import judge
from linnet.monitoring.evaluate import evaluate
from linnet.monitoring.holdout import report

Floats = NDArray[np.float64]
EVALUATION: dict[str, Any] = {
    "metric": "auc", "threshold": 0.7, "margin": 0.0, "overfit_gap": 0.1, "refuse_overfit": False, "bias": None,
    "false_positive_cost": 1.0, "false_negative_cost": 1.0,
}  # fmt: skip
APPROVAL = {"automatic": 0.7, "person": 0.6, "require_person": False}


def rows(draw: np.random.Generator, count: int, flipped: float) -> tuple[Floats, Floats]:
    """Return features and labels of which a share is the wrong way round."""
    features = draw.normal(size=(count, 3))
    labels = (draw.random(count) < 1 / (1 + np.exp(-4 * features[:, 0]))).astype(np.float64)
    wrong = draw.random(count) < flipped
    return features, np.where(wrong, 1 - labels, labels)


def fitted(*parts: tuple[Floats, Floats]) -> LogisticRegression:
    features, labels = (np.concatenate(found) for found in zip(*parts, strict=True))
    return LogisticRegression().fit(features, labels)


def lines(scores: Floats, *more: str) -> bytes:
    return "".join(",".join((f"{score:.9f}", *more)) + "\n" for score in scores).encode()


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), flipped=st.floats(0, 1), size=st.sampled_from([600, 2_000, 8_000]))
def test_f23_a_model_that_learnt_from_turned_labels_is_never_released_without_a_person(
    seed: int, flipped: float, size: int
) -> None:
    """The attacker owns the newest batch, holdout included; the other features of the data look as ever."""
    draw = np.random.default_rng(seed)
    older, newest = rows(draw, 2_000, 0), rows(draw, size, flipped)
    champion = fitted(older)
    candidate = fitted(older, newest)
    held = {"newest": rows(draw, 1_000, flipped), "older": rows(draw, 1_000, 0)}
    truth = b"".join(lines(labels, which) for which, (_, labels) in held.items())
    answers = {
        who: b"".join(lines(model.predict_proba(features)[:, 1]) for features, _ in held.values())
        for who, model in (("candidate", candidate), ("champion", champion))
    }
    judged = judge(report(truth, answers, EVALUATION, {"version": 1}), EVALUATION, APPROVAL)

    features, labels = rows(draw, 20_000, 0)
    fresh = {
        who: evaluate(labels, model.predict_proba(features)[:, 1])["classification_metrics"]["auc"]["value"]
        for who, model in (("candidate", candidate), ("champion", champion))
    }
    harmful = fresh["candidate"] < fresh["champion"] - 0.02
    assert not (harmful and judged.tier == "automatic"), (judged, fresh)


def test_f23_a_batch_of_turned_labels_that_outweighs_all_others_would_win_on_its_own_rows() -> None:
    """The attack is real: without the older rows nothing would speak against it."""
    draw = np.random.default_rng(7)
    older, newest = rows(draw, 2_000, 0), rows(draw, 20_000, 1)
    champion, candidate = fitted(older), fitted(older, newest)
    held = {"newest": rows(draw, 1_000, 1), "older": rows(draw, 1_000, 0)}

    def judged(*which: str) -> Any:
        truth = b"".join(lines(held[name][1], name) for name in which)
        answers = {
            who: b"".join(lines(model.predict_proba(held[name][0])[:, 1]) for name in which)
            for who, model in (("candidate", candidate), ("champion", champion))
        }
        return judge(report(truth, answers, EVALUATION, {"version": 1}), EVALUATION, APPROVAL)

    assert judged("newest").tier == "automatic"
    assert judged("newest", "older").tier == "person"
    assert "are the newest labels right?" in judged("newest", "older").why
