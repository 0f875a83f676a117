"""evaluation.json of a run: which rows judge, which rows tune, and what is told beside (EV-01..EV-07)."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from sklearn import metrics as sk

from linnet.decisions.evaluation import read_metrics
from linnet.decisions.sequential import shifted
from linnet.errors import BadInputError
from linnet.gateways import answers
from linnet.monitoring.evaluate import best_threshold
from linnet.monitoring.holdout import report, spread
from linnet.monitoring.records import Asked

WANTED = {
    "metric": "auc", "threshold": 0.8, "margin": 0.0, "false_positive_cost": 50.0, "false_negative_cost": 500.0,
    "overfit_gap": 0.1,
}  # fmt: skip
CHAMPION = {"version": 3}


class Rows:
    """A labels file and the answers for it, block by block."""

    def __init__(self, seed: int = 1) -> None:
        self.labels: list[int] = []
        self.which: list[str] = []
        self.facets: list[str] = []
        self.scores: dict[str, list[float]] = {"candidate": [], "champion": []}
        self._source = np.random.default_rng(seed)

    def add(self, which: str, rows: int, positives: float = 0.2, facet: str = "", **strength: float) -> Rows:
        labels = (self._source.random(rows) < positives).astype(int)
        self.labels += labels.tolist()
        self.which += [which] * rows
        self.facets += [facet] * rows
        for who, found in self.scores.items():
            raw = labels * strength.get(who, 2.0) + self._source.normal(size=rows) - 2.5
            found.extend((1 / (1 + np.exp(-raw))).tolist())
        return self

    def of(self, which: str, who: str = "candidate") -> tuple[Any, Any]:
        mine = np.array(self.which) == which
        return np.array(self.labels)[mine], np.array(self.scores[who])[mine]

    def report(self, *, champion: bool = True, **wanted: Any) -> dict[str, Any]:
        rows = zip(self.labels, self.which, self.facets, strict=True)
        truth = "".join(f'{label},"{which}","{facet}"\n' for label, which, facet in rows).encode()
        answers = {
            who: "".join(f"{score}\n" for score in scores).encode()
            for who, scores in self.scores.items()
            if champion or who != "champion"
        }
        found = report(truth, answers, WANTED | wanted, CHAMPION if champion else None)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        return found


def usual() -> Rows:
    return Rows().add("newest", 800, champion=1.0).add("older", 600, champion=1.0).add("train", 500, candidate=4.0)


def test_ev_01_candidate_and_champion_are_compared_on_the_newest_rows_and_older_ones_told_apart() -> None:
    rows = usual()
    found = rows.report()

    assert (found["rows"], found["older"]["rows"]) == (800, 600)
    assert found["metrics"]["auc"] == pytest.approx(sk.roc_auc_score(*rows.of("newest")))
    assert found["champion"]["metrics"]["auc"] == pytest.approx(sk.roc_auc_score(*rows.of("newest", "champion")))
    gain = found["metrics"]["auc"] - found["champion"]["metrics"]["auc"]
    assert found["difference"]["value"] == pytest.approx(gain)
    assert found["difference"]["low"] < gain < found["difference"]["high"]
    assert found["older"]["champion"]["version"] == found["champion"]["version"] == 3
    assert found["older"]["difference"]["value"] != found["difference"]["value"]
    assert found["metrics"] == read_metrics(found)
    first = rows.report(champion=False)
    assert "champion" not in first
    assert "difference" not in first


def test_ev_05_the_threshold_is_tuned_on_older_rows_and_both_are_told_on_the_newest() -> None:
    rows = usual()
    found = rows.report()
    labels, scores = rows.of("newest")

    for who, decision in (("candidate", found["decision"]), ("champion", found["champion"]["decision"])):
        older, newest = rows.of("older", who), rows.of("newest", who)
        best = best_threshold(*older)
        assert (decision["threshold"], decision["tuned_on"]) == (best["threshold"], {"rows": 600, "f1": best["f1"]})
        assert best["threshold"] != best_threshold(*newest)["threshold"]  # or this test would see no difference
        at = decision["classification_metrics"]["f1"]["value"]
        assert at == pytest.approx(sk.f1_score(newest[0], newest[1] >= best["threshold"]))
    assert found["threshold"] == 0.5
    assert found["classification_metrics"]["f1"]["value"] == pytest.approx(sk.f1_score(labels, scores >= 0.5))


@pytest.mark.parametrize(
    ("rows", "share", "tuned"), [(59, 0.5, False), (400, 0.01, False), (0, 0.0, False), (300, 0.5, True)]
)
def test_ev_05_without_30_older_rows_of_each_class_the_threshold_stays_and_the_report_says_why(
    rows: int, share: float, tuned: bool
) -> None:
    given = Rows().add("newest", 500).add("older", rows, share)
    positives = int(given.of("older")[0].sum())
    decision = given.report()["decision"]

    assert (decision["tuned_on"] is not None) == tuned
    if not tuned:
        assert decision["threshold"] == 0.5
        assert decision["why"] == (
            f"not tuned: of the older held-out rows {positives} are positive and {rows - positives} negative;"
            " at least 30 of each are needed"
        )


def test_ev_06_the_cost_that_the_gate_judges_is_that_of_the_calls_on_the_newest_rows() -> None:
    rows = usual()
    found = rows.report(false_positive_cost=7.0, false_negative_cost=90.0)

    for who, part in (("candidate", found), ("champion", found["champion"])):
        labels, scores = rows.of("newest", who)
        called = scores >= part["decision"]["threshold"]
        wrong = ((called & (labels == 0)).sum() * 7 + (~called & (labels == 1)).sum() * 90) / 800
        assert part["metrics"]["cost_per_row"] == pytest.approx(wrong)
    labels, scores = rows.of("newest")
    at_half = ((scores >= 0.5) & (labels == 0)).sum() * 7 + ((scores < 0.5) & (labels == 1)).sum() * 90
    assert found["cost"]["total"] == at_half


def test_ev_07_the_fit_is_the_metric_of_training_rows_against_the_newest() -> None:
    rows = usual()
    fit = rows.report()["fit"]

    assert fit["train"] == pytest.approx(sk.roc_auc_score(*rows.of("train")))
    assert fit["holdout"] == pytest.approx(sk.roc_auc_score(*rows.of("newest")))
    assert "fit" not in Rows().add("newest", 100).report()


def test_the_bias_is_that_of_the_newest_rows_at_the_decision_threshold() -> None:
    rows = Rows().add("newest", 400, facet="f").add("newest", 400, 0.4, facet="m").add("older", 400, facet="f")
    wanted = {"facet": "sex", "disadvantaged": ["f"], "limits": {"DPPL": 0.1}}
    found = rows.report(bias=wanted)
    called = rows.of("newest")[1] >= found["decision"]["threshold"]

    assert found["bias"]["facet"] == "sex"
    assert found["bias"]["metrics"]["DPPL"] == pytest.approx(called[400:].mean() - called[:400].mean())
    assert found["bias"]["unknown"] == {}
    alone = Rows().add("newest", 400, facet="m").add("older", 400, facet="f").report(bias=wanted)["bias"]
    assert alone["metrics"] == {}
    assert (
        alone["unknown"]["DI"]
        == alone["unknown"]["DPPL"]
        == "the group has 0 rows, the others 400; at least 30 are needed"
    )


def test_f25_answers_that_are_not_one_a_row_are_refused_by_whose_they_are() -> None:
    truth = b"1,newest\n0,newest\n"
    with pytest.raises(BadInputError, match="answers of the champion"):
        report(truth, {"candidate": b"0.1\n0.2\n", "champion": b"0.1\n"}, WANTED, CHAMPION)


def test_one_class_in_the_newest_rows_has_no_difference_in_auc_and_none_is_invented() -> None:
    found = Rows().add("newest", 50, 0.0).report()

    assert found["difference"] is None
    assert "auc" not in found["metrics"]
    assert found["metrics"]["accuracy"] <= 1


SCORES = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=60)


def seen(scores: list[float], edges: list[float]) -> list[int]:
    """Return what a look counts of these answers, each captured as a text."""
    asked = [Asked(str(n), datetime(2026, 11, 21, tzinfo=UTC), [[]], [repr(score)]) for n, score in enumerate(scores)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_answered", lambda *_: [("key", each) for each in asked])
        counts: list[int] = answers.predictions(("green", "c"), "e", edges, {})["counts"]
    return counts


@drawn(SCORES)
def test_a_spread_has_rising_edges_no_empty_bin_and_shares_that_add_up_to_1(scores: list[float]) -> None:
    found = spread(np.array(scores))

    assert len(found["shares"]) == len(found["edges"]) + 1 <= 10
    assert found["edges"] == sorted(set(found["edges"]))
    assert min(found["shares"]) > 0
    assert math.fsum(found["shares"]) == pytest.approx(1.0)
    assert json.loads(json.dumps(found)) == found
    assert shifted([0] * len(found["shares"]), found["shares"], 0.2) == pytest.approx(0.0)  # takes them as they are


@drawn(SCORES)
def test_what_the_holdout_counts_and_what_a_release_counts_lie_on_the_same_side_of_every_edge(
    scores: list[float],
) -> None:
    found = spread(np.array(scores))

    assert seen(scores, found["edges"]) == pytest.approx([share * len(scores) for share in found["shares"]])


@pytest.mark.parametrize("scores", [[0.5], [0.5] * 100, [0.0] * 3])
def test_scores_that_are_all_alike_are_one_bin(scores: list[float]) -> None:
    assert spread(np.array(scores)) == {"edges": [], "shares": [1.0]}
    assert seen(scores, []) == [len(scores)]


def test_scores_without_ties_are_spread_over_tenths_and_a_trees_few_levels_over_as_many_bins() -> None:
    even = spread(np.linspace(0.001, 1, 1000))
    few = spread(np.array([0.1] * 70 + [0.2] * 20 + [0.9] * 10))

    assert even["shares"] == pytest.approx([0.1] * 10, abs=0.002)
    assert few == {"edges": [0.1, 0.2], "shares": [0.7, 0.2, 0.1]}


def test_the_reports_predictions_are_the_candidates_on_the_newest_rows_alone() -> None:
    rows = usual()

    assert rows.report()["predictions"] == spread(rows.of("newest")[1])
    assert rows.report()["predictions"] != spread(rows.of("newest", "champion")[1])
