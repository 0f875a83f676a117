"""The data-quality gate (DV-01..DV-03): the seeds' rules against a clean file and one file for each way to be bad."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.errors import BadInputError
from linnet.monitoring import rules as gate
from linnet.monitoring.rules import Facet, Rule, outliers, rules_of, validate, validate_files
from linnet.monitoring.tables import Source

DATA = {
    "label": "churned",
    "entity": "customer_id",
    "features": {"age": "number", "income": "number", "email": "category"},
    "minimum_rows": 100,
    "rules": [
        {"kind": "completeness", "column": "customer_id", "above": 0.99},
        {"kind": "uniqueness", "column": "customer_id", "above": 0.99},
        {"kind": "range", "column": "age", "min": 0, "max": 120},
        {"kind": "mean", "column": "income", "min": 30000, "max": 80000},
        {"kind": "exists", "column": "email"},
    ],
}
HEADER = ("customer_id", "age", "income", "email", "churned")


def rows(**columns: Any) -> list[list[str]]:
    usual = {
        "customer_id": lambda i: f"c{i}",
        "age": lambda i: 20 + i % 60,
        "income": lambda i: 40000 + i % 1000,
        "email": lambda i: f"a{i}@example.org",
        "churned": lambda i: i % 2,
    }
    return [[str((columns.get(name) or usual[name])(i)) for name in HEADER] for i in range(1000)]


def check(content: list[list[str]], header: tuple[str, ...] = HEADER, data: Any = DATA) -> dict[str, Any]:
    text = "\n".join(",".join(row) for row in [list(header), *content]) + "\n"
    report = validate_files([Source("customers.csv", text.encode())], rules_of(data))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    return report


def test_dv01_a_clean_file_passes_and_the_report_says_what_was_looked_at() -> None:
    report = check(rows())
    assert report["verdict"] == "PASS"
    assert report["failures"] == []
    assert (report["rows"], report["files"], report["columns"]) == (1000, ["customers.csv"], list(HEADER))
    assert all(entry["passed"] for entry in report["rules"])


@pytest.mark.parametrize(
    ("bad", "rule", "observed", "failing"),
    [
        ({"customer_id": lambda i: f"c{i}" if i % 50 else ""}, 'Completeness "customer_id" > 0.99', 0.98, 20),
        ({"customer_id": lambda i: f"c{i - i % 50 // 49}"}, 'Uniqueness "customer_id" > 0.99', 0.96, 40),
        (
            {"age": lambda i: 130 if i == 7 else 30},
            'ColumnValues "age" between 0 and 120',
            {"min": 30.0, "max": 130.0, "text": 0},
            1,
        ),
        ({"income": lambda _: 90000}, 'Mean "income" between 30000 and 80000', 90000.0, None),
    ],
)
def test_dv01_each_bad_file_fails_with_exactly_the_failing_rule_named(
    bad: Any, rule: str, observed: Any, failing: int | None
) -> None:
    report = check(rows(**bad))
    assert report["verdict"] == "FAIL"
    (failed,) = [entry for entry in report["rules"] if not entry["passed"]]
    assert (failed["rule"], failed["observed"], failed["rows_failing"]) == (rule, observed, failing)
    assert len(report["failures"]) == 1
    assert report["failures"][0].startswith(rule)


def test_dv01_a_missing_column_fails_every_rule_on_it_and_crashes_none() -> None:
    report = check([row[:3] + row[4:] for row in rows()], ("customer_id", "age", "income", "churned"))
    assert report["failures"][0] == (
        "Schema the columns customer_id, churned, age, income, email: observed missing email"
    )
    assert report["failures"][1] == 'ColumnExists "email": observed the column is missing'


@pytest.mark.parametrize(("share", "passed"), [(990, False), (991, True)])
def test_completeness_above_is_strict(share: int, passed: bool) -> None:
    batch = pa.RecordBatch.from_pydict({"a": ["x"] * share + [None] * (1000 - share)})
    (entry,) = validate([batch], [Rule("completeness", "a", above=0.99)])["rules"]
    assert entry["passed"] is passed
    assert entry["observed"] == share / 1000


@pytest.mark.parametrize(
    ("rule", "values", "passed"),
    [
        (Rule("range", "a", 0, 1), ["0", "1", "0.5", None], True),
        (Rule("range", "a", 0, 1), ["0", "1.0000001"], False),
        (Rule("range", "a", minimum=0), ["1e9"], True),
        (Rule("range", "a", 0, 10_000), ["5", "many"], False),
        (Rule("mean", "a", 1, 5), ["1", "9"], True),
        (Rule("mean", "a", 1, 5), ["1", "9.1"], False),
        (Rule("mean", "a", 1, 5), ["3", "three"], False),
        (Rule("not_null", "a"), ["1", "x"], True),
        (Rule("not_null", "a"), ["1", None], False),
        (Rule("type", "a", type="integral"), ["1", "2.0", None], True),
        (Rule("type", "a", type="integral"), ["1", "2.5"], False),
        (Rule("type", "a", type="fractional"), ["1", "2.5", "-1e-3"], True),
        (Rule("type", "a", type="fractional"), ["1", "inf"], False),
        (Rule("type", "a", type="string"), ["1", "x"], True),
        (Rule("row_count", minimum=2, maximum=2), ["1", None], True),
        (Rule("row_count", minimum=3), ["1", None], False),
        (Rule("schema", columns=("a",), extra=False), ["1"], True),
        (Rule("schema", columns=("a", "b")), ["1"], False),
        (Rule("schema", columns=(), extra=False), ["1"], False),
        (Rule("uniqueness", "a", above=0.5), ["1", "1", "2", "3", "4", None], True),
        (Rule("uniqueness", "a", above=0.6), ["1", "1", "2", "3", "4", None], False),
        (Rule("mean", "a", 0, 5), [None, None], False),
        (Rule("range", "a", 0, 5), [None, None], False),
    ],
)
def test_dv03_every_kind_of_rule_at_its_bounds(rule: Rule, values: list[str | None], passed: bool) -> None:
    report = validate([pa.RecordBatch.from_arrays([pa.array(values, pa.string())], names=["a"])], [rule])
    assert (report["verdict"] == "PASS") is passed
    if not passed:
        assert rule.text in report["failures"][0]


@pytest.mark.parametrize("column", [pa.array([1.0, float("nan")]), pa.array([1.0, None]), pa.array([1, None])])
def test_a_missing_value_in_parquet_is_missing_however_it_is_written(column: pa.Array) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": column}), buffer)
    report = validate_files([Source("p", buffer.getvalue(), "parquet")], [Rule("completeness", "a", above=0.5)])
    assert (report["verdict"], report["rules"][0]["observed"]) == ("FAIL", 0.5)


def test_a_table_without_rows_never_passes() -> None:
    empty = pa.RecordBatch.from_pydict({"a": pa.array([], pa.string())})
    for rules in ([], [Rule("exists", "a")], [Rule("row_count", minimum=0)]):
        assert validate([empty], rules)["verdict"] == "FAIL"
    assert validate_files([], [])["verdict"] == "FAIL"


def test_dv02_an_unreadable_file_fails_by_name_and_still_has_a_report() -> None:
    report = validate_files([Source("broken.csv", b"a,b\n1\n")], rules_of(DATA))
    assert report["verdict"] == "FAIL"
    assert report["rules"][0]["rule"] == "Readable"
    assert report["outliers"] == {}
    assert "broken.csv, row 2" in report["failures"][0]


def test_the_spec_implies_its_columns_their_types_and_a_complete_label() -> None:
    data = {"label": "y", "entity": "id", "features": {"x": "number"}, "minimum_rows": 2}
    good = [["1", "1", "2"], ["2", "0", "3"]]
    assert check(good, ("id", "y", "x"), data)["verdict"] == "PASS"
    for bad, rule in (
        ([["1", "1", "2"], ["2", "", "3"]], 'IsComplete "y"'),
        ([["1", "1", "2"], ["", "0", "3"]], 'IsComplete "id"'),
        ([["1", "1", "2"], ["2", "0", "cold"]], 'ColumnDataType "x" fractional'),
        (good[:1], "RowCount at least 2"),
    ):
        assert [entry["rule"] for entry in check(bad, ("id", "y", "x"), data)["rules"] if not entry["passed"]] == [rule]
    tolerant = {**data, "rules": [{"kind": "completeness", "column": "y", "above": 0.4}]}
    assert check([["1", "1", "2"], ["2", "", "3"]], ("id", "y", "x"), tolerant)["verdict"] == "PASS"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "median", "column": "a"},
        {"kind": "mean"},
        {"kind": "type", "column": "a"},
        {"kind": "uniqueness", "column": "a"},
    ],
)
def test_a_rule_that_means_nothing_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(BadInputError, match="rule"):
        Rule(**wrong)


VALUES = st.lists(st.one_of(st.none(), st.integers(-50, 50).map(str), st.sampled_from(["x", "2.5"])), max_size=60)


@settings(max_examples=150, deadline=None)
@given(values=VALUES, data=st.data())
def test_batches_may_be_cut_and_rows_ordered_as_one_likes(values: list[str | None], data: st.DataObject) -> None:
    rules = [
        Rule("completeness", "a", above=0.5),
        Rule("uniqueness", "a", above=0.5),
        Rule("range", "a", -10, 10),
        Rule("type", "a", type="integral"),
        Rule("not_null", "a"),
        Rule("row_count", minimum=10),
    ]
    shuffled = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))

    def batch(part: list[str | None]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array(part, pa.string())], names=["a"])

    assert validate([batch(values)], rules) == validate([batch(shuffled[:cut]), batch(shuffled[cut:])], rules)


@pytest.mark.parametrize(("ids", "once"), [(["7", "07", "7.0"], 3), (["7", "8", "7"], 1), (["0", "00", "10"], 3)])
def test_ids_are_told_apart_by_their_text_even_where_they_are_numbers(ids: list[str], once: int) -> None:
    content = "id,x\n" + "".join(f"{one},1\n" for one in ids)
    rules = [Rule("uniqueness", "id", above=0.5), Rule("type", "id", type="fractional")]
    entry = validate_files([Source("a.csv", content.encode())], rules)["rules"][0]
    assert entry["observed"] == once / 3


def test_the_facet_of_the_bias_gate_must_be_a_column_before_anything_is_trained() -> None:
    content = ",".join(HEADER) + "\n" + "\n".join(",".join(row) for row in rows()) + "\n"
    sources = [Source("customers.csv", content.encode())]

    assert validate_files(sources, rules_of(DATA, "email"))["verdict"] == "PASS"
    report = validate_files(sources, rules_of(DATA, "gender"))
    assert report["verdict"] == "FAIL"
    assert report["failures"] == [
        "Schema the columns customer_id, churned, age, income, email, gender: observed missing gender"
    ]


# --- bias of the labels (XB-01) ---------------------------------------------------------------------------------------


def labelled(**groups: tuple[int, int]) -> bytes:
    """Return a file of the groups' rows of label 1 and of label 0."""
    lines = [f"{name},{label}" for name, (ones, zeros) in groups.items() for label in "1" * ones + "0" * zeros]
    return ("gender,churned\n" + "\n".join(lines) + "\n").encode()


FACET = Facet("gender", ("f", "x"), "churned")


def test_xb01_the_difference_in_labels_is_in_the_validation_report_and_fails_nothing() -> None:
    content = labelled(m=(75, 25), f=(50, 40), x=(3, 7))
    report = validate_files([Source("a.csv", content)], [Rule("row_count", minimum=1)], facet=FACET)

    assert report["verdict"] == "PASS"
    assert (report["bias"]["facet"], report["bias"]["unknown"], report["bias"]["left_out"]) == ("gender", {}, 0)
    assert report["bias"]["metrics"]["DPL"] == pytest.approx(0.75 - 0.53)
    assert report["bias"]["metrics"]["CI"] == 0
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert "bias" not in validate_files([Source("a.csv", content)], [Rule("row_count", minimum=1)])


def test_xb01_rows_without_a_facet_or_a_label_of_0_or_1_are_left_out_and_counted() -> None:
    content = labelled(m=(75, 25), f=(53, 47)) + b',1\nm,\nf,2\nf,yes\n"",0\n'
    report = validate_files([Source("a.csv", content)], [Rule("row_count", minimum=1)], facet=FACET)["bias"]

    assert report["left_out"] == 5
    assert report["metrics"]["DPL"] == pytest.approx(0.22)


def test_xb01_a_facet_of_numbers_is_told_by_its_text_and_parquet_is_as_csv() -> None:
    table = pa.table({"gender": ["m"] * 100 + ["f"] * 100, "churned": [1] * 75 + [0] * 25 + [1] * 53 + [0] * 47})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    found = validate_files([Source("p", buffer.getvalue(), "parquet")], [Rule("row_count", minimum=1)], facet=FACET)
    assert found["bias"]["metrics"]["DPL"] == pytest.approx(0.22)
    ages = labelled(**{"07": (75, 25), "7": (53, 47)})
    rules = [Rule("range", "gender", 0, 100)]
    found = validate_files([Source("a.csv", ages)], rules, facet=Facet("gender", ("7",), "churned"))
    assert found["bias"]["metrics"]["DPL"] == pytest.approx(0.22)


def test_xb01_too_few_rows_or_no_such_column_are_unknown() -> None:
    few = validate_files([Source("a.csv", labelled(m=(75, 25), f=(15, 14)))], [], facet=FACET)["bias"]
    assert few["unknown"]["DPL"] == "the group has 29 rows, the others 100; at least 30 are needed"
    assert set(few["metrics"]) == {"CI"}
    absent = validate_files([Source("a.csv", b"a,churned\n1,1\n")], [], facet=FACET)["bias"]
    assert (absent["metrics"], absent["left_out"]) == ({}, 1)
    assert absent["unknown"]["CI"] == "the group has 0 rows, the others 0; at least 1 are needed"


# --- outliers (DV-06) ------------------------------------------------------------------------------------------------


def test_dv06_an_outlier_is_three_deviations_or_one_and_a_half_quartile_ranges_away() -> None:
    """1..9 and 100: mean 14.5, deviation 28.6051, so 100 has z 2.989; quartiles 3.25 and 7.75, so all above 14.5 is out."""
    found = outliers(np.array([100.0, *range(1, 10)]))

    assert found["values"] == 10
    assert found["z"] == pytest.approx({"share": 0.0, "low": 14.5 - 85.8152, "high": 14.5 + 85.8152}, abs=1e-4)
    assert found["iqr"] == {"share": 0.1, "low": 3.25 - 6.75, "high": 7.75 + 6.75}
    assert outliers(np.array([*range(1, 10), 14.5]))["iqr"]["share"] == 0  # the bound itself is in
    assert outliers(-np.array([*range(1, 10), 14.5]))["iqr"]["share"] == 0
    assert outliers(-np.array([*range(1, 10), 14.6]))["iqr"]["share"] == 0.1


def test_dv06_at_three_deviations_exactly_a_value_is_out() -> None:
    """Of 16 zeros, 1 and -1 the variance is 2 / 18 and the deviation 1/3: the z of 1 is 3; with 15 zeros it is 2.915."""
    assert outliers(np.array([0.0] * 16 + [1.0, -1.0]))["z"]["share"] == pytest.approx(2 / 18)
    assert outliers(np.array([0.0] * 15 + [1.0, -1.0]))["z"]["share"] == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e150, 1e150), min_size=3, max_size=60))
def test_dv06_quartiles_are_numpys_and_every_share_is_one(values: list[float]) -> None:
    found = outliers(np.array(values))
    if len(set(values)) <= 2:
        assert found == {}
        return
    first, third = np.quantile(values, (0.25, 0.75))
    assert found["iqr"]["high"] == pytest.approx(third + 1.5 * (third - first), rel=1e-9)
    assert all(0 <= found[name]["share"] <= 1 for name in ("z", "iqr"))
    json.dumps(found, allow_nan=False)


def test_dv06_outliers_are_in_the_report_of_number_columns_and_fail_nothing() -> None:
    report = check(rows(income=lambda i: 40000 + i % 1000 if i % 100 else 79000))

    assert report["verdict"] == "PASS"
    assert set(report["outliers"]) == {"age", "income"}  # neither the label, of two values, nor texts
    assert report["outliers"]["income"]["z"]["share"] == report["outliers"]["income"]["iqr"]["share"] == 0.01
    assert report["outliers"]["age"] == outliers(np.array([20.0 + i % 60 for i in range(1000)]))


def test_dv06_a_long_column_is_sampled_evenly_over_all_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_SAMPLE", 100)
    values = [float(i) for i in range(5_000)]  # a drifting column: a sample of its head would have other bounds
    cuts = [0, 3, 1_000, 1_001, 4_500, 5_000]
    batches = [pa.RecordBatch.from_pydict({"a": values[start:end]}) for start, end in itertools.pairwise(cuts)]
    found = validate(batches, [Rule("mean", "a", 0, 5_000)])["outliers"]["a"]

    assert 100 <= found["values"] <= 200
    assert found == outliers(np.array(values[::32]))  # wherever the batches are cut
    assert found["iqr"]["low"] == pytest.approx(1_250 - 1.5 * 2_500, abs=60)
    assert found["z"]["high"] == pytest.approx(2_500 + 3 * 5_000 / 12**0.5, abs=60)
