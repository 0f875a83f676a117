"""Model Monitor's and Clarify's files as AWS's developer guide shows them: read, and written in the same shape.

They lie in golden/<page of the guide>. Where a page shows a schema without values, the values are those of four rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from linnet.decisions.evaluation import read_metrics
from linnet.decisions.quality import numbers, statistics_json
from linnet.monitoring import attribution, bias, files
from linnet.monitoring.capture import read_capture
from linnet.monitoring.files import Settings
from linnet.monitoring.quality import Pairs, binary, multiclass, pairs, regression
from linnet.monitoring.truth import read_truth
from tests.monitoring.test_drift import profile_of

GOLDEN = Path(__file__).parent / "golden"
KNOWN = profile_of(n=[1.5, 2.5, None, 4.0], c=["a", "b", "a", None])


def golden(path: str) -> Any:
    return json.loads((GOLDEN / path).read_text())


def same(ours: Any, theirs: Any) -> bool:
    """Whether two documents are written alike, the order of their fields included."""
    return json.dumps(ours, allow_nan=False) == json.dumps(theirs)


# --- data quality --------------------------------------------------------------------------------------------------


def test_statistics_json_is_written_and_read() -> None:
    document = golden("model-monitor-byoc-statistics/statistics.json")
    assert same(files.statistics_json(KNOWN), document)
    assert same(files.statistics_json(files.read_statistics(document)), document)


def test_constraints_json_is_written_and_read() -> None:
    document = golden("model-monitor-byoc-constraints/constraints.json")
    assert same(files.suggest_constraints(KNOWN, Settings()), document)
    found = files.read_constraints(document)
    assert found.settings == Settings()
    assert [(one.kind, one.completeness, one.non_negative, one.domains) for one in found.features.values()] == [
        ("Fractional", 0.75, True, None),
        ("String", 0.75, False, frozenset("ab")),
    ]


def test_every_spelling_of_constraints_json_is_read() -> None:
    """The page of 2023 says `comparion_method`, its table `linf_simple`, the files of others monitoring_config_overrides."""
    found = files.read_constraints(golden("model-monitor-byoc-constraints/constraints_spelled_otherwise.json"))
    assert found.settings == Settings(
        emit=False,
        datatype_threshold=1.0,
        domain_threshold=1.0,
        comparison_threshold=0.2,
        comparison_method="Simple",
        categorical_threshold=0.2,
        categorical_method="ChiSquared",
    )
    assert found.features["b"].settings.domain_threshold == 0.5
    assert found.features["b"].settings.comparison_method == "Simple"
    assert found.features["c"].settings.comparison_threshold == 0.7


def test_mo04_constraint_violations_json_is_read_and_written() -> None:
    document = golden("model-monitor-interpreting-violations/constraint_violations.json")
    found = files.read_violations(document)
    assert [(one.feature, one.check) for one in found] == [
        ("age", "data_type_check"),
        ("income", "completeness_check"),
        ("score", "baseline_drift_check"),
        ("zip", "missing_column_check"),
        ("extra", "extra_column_check"),
        ("city", "categorical_values_check"),
    ]
    assert same(files.violations_json(found), document)


# --- capture and labels --------------------------------------------------------------------------------------------


def test_dc02_the_captured_lines_are_read() -> None:
    content = (GOLDEN / "model-monitor-data-capture-endpoint/capture.jsonl").read_bytes()
    found = read_capture([content], [f"f{n}" for n in range(69)])
    assert (found.counts.lines, found.counts.rows, found.counts.bad) == (2, 2, 0)
    assert found.predictions.tolist() == [0.0254181120544672, 0.07675473392009735]
    assert found.features.column("f2").to_pylist() == ["153.7", "197.1"]
    assert set(found.ids.to_pylist()) == {"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"}
    assert found.at.to_pylist()[0].isoformat() == "2022-02-14T17:25:49+00:00"


def test_mo_05_the_ground_truth_is_read() -> None:
    content = (GOLDEN / "model-monitor-model-quality-merge/labels.jsonl").read_bytes()
    found = read_truth([("ground-truth/endpoint/2022/02/14/17/labels.jsonl", content)])
    assert (found.ids.to_pylist(), found.labels.to_pylist(), found.bad) == (["aaaa-bbbb-cccc"], ["1"], 0)


# --- model quality -------------------------------------------------------------------------------------------------

LABELS, ANSWERS = [0] * 1690 + [1] * 406, [0] * 1180 + [1] * 510 + [0] * 268 + [1] * 138
# Its curves and its AUC belong to other data: with one label of 1 there is no true positive rate of 0.25.
OTHERS = {"auc", "receiver_operating_characteristic_curve", "precision_recall_curve"}


@pytest.mark.parametrize(
    ("name", "of", "rows"),
    [
        ("binary", binary, pairs("BinaryClassification", [1, 0, 0, 0], [0.75, 0.75, 0.75, 0.25])),
        ("multiclass", multiclass, pairs("MulticlassClassification", LABELS, ANSWERS)),
        ("regression", regression, pairs("Regression", LABELS, ANSWERS)),
    ],
)
def test_model_qualitys_statistics_json_is_written_to_the_last_digit_and_read(name: str, of: Any, rows: Pairs) -> None:
    document = golden(f"model-monitor-model-quality-metrics/{name}.json")
    ((section, theirs),) = document.items()
    dataset = {"item_count": rows.scored, "start_time": "a", "end_time": "b", "evaluation_time": "c"}
    written = json.loads(json.dumps(statistics_json(rows.problem, of(rows), dataset), allow_nan=False))
    ours = written[section]

    assert (list(written), written["dataset"]) == (["version", "dataset", section], dataset)
    assert {key: list(entry) for key, entry in ours.items()} == {key: list(entry) for key, entry in theirs.items()}
    assert ours.get("confusion_matrix") == theirs.get("confusion_matrix")
    values, expected = numbers(ours), numbers(theirs)
    for key in expected.keys() - OTHERS:
        assert values[key] == pytest.approx(expected[key], abs=1e-15, rel=0)
        assert (ours[key]["standard_deviation"] == "NaN") == (theirs[key]["standard_deviation"] == "NaN")
    read, back = read_metrics(document), read_metrics(written)
    assert {key: back[key] for key in read.keys() - OTHERS} == pytest.approx(
        {key: read[key] for key in read.keys() - OTHERS}, abs=1e-15, rel=0
    )


# --- bias and attribution ------------------------------------------------------------------------------------------


def test_the_biases_of_analysis_json_are_read_and_written() -> None:
    document = golden("clarify-processing-job-run/analysis.json")
    found = bias.read_analysis(document, facet="feature_2", facet_value="1")
    assert found == {"DI": 0.711340206185567, "DCR": -0.34782608695652184}
    written = bias.analysis(None, {"metrics": found, "unknown": {}}, label="target", facet="feature_2", facet_value="1")
    # The page on the metric itself has it in the singular, as Clarify's public library has.
    theirs = json.dumps(document["post_training_bias_metrics"]).replace(
        "Conditional Rejections", "Conditional Rejection"
    )
    assert json.dumps(written["post_training_bias_metrics"]) == theirs


def test_the_violations_of_bias_are_written() -> None:
    document = golden("clarify-model-monitor-bias-drift-violations/constraint_violations.json")
    values = {"CI": 0.0751544567666083, "DPPL": -0.0791244970125596, "AD": 0.0}
    worse = bias.excess(values, baseline={"CI": 0.07, "DPPL": 0.05, "AD": 0.0})
    assert same(bias.violations(values, worse, facet="Age", facet_value="40"), document)
    assert bias.violations(values, {}, facet="Age", facet_value="40") == document | {"violations": []}


def test_the_attributions_of_analysis_json_are_read_and_written() -> None:
    document = golden("clarify-processing-job-run/analysis.json")
    found = attribution.read_analysis(document)
    assert found == {
        "feature_0": 0.022486410860333206, "feature_1": 0.007381025261958729, "feature_2": 0.006843906804137847,
    }  # fmt: skip
    written = attribution.analysis(found, 0.508233428001)
    assert (written["version"], same(written["explanations"], document["explanations"])) == ("1.0", True)


def test_the_violations_of_attribution_are_written() -> None:
    document = golden("clarify-model-monitor-model-attribution-drift-violations/constraint_violations.json")
    scores = {"label0": 0.7639720923277322, "label1": 0.7323763972092327}
    written = [attribution.violations(score, label=label) for label, score in scores.items()]
    # The same double: the JVM prints another last digit than Python, the nearest.
    theirs = json.dumps(document["violations"]).replace("0.7323763972092327", str(scores["label1"]))
    assert json.dumps([one["violations"][0] for one in written]) == theirs
    assert {one["version"] for one in written} == {document["version"]}
