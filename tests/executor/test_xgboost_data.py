"""The built-in algorithm's formats and hyperparameters, without a process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from local.sagemaker.containers.hyperparameters import HyperparameterError, validated
from local.sagemaker.containers.xgboost_data import content_format, csv_rows, libsvm_rows, read_files
from tests.executor.doubles import csv, rows


@given(st.lists(st.lists(st.one_of(st.none(), st.floats(width=32)), min_size=2, max_size=2), min_size=1, max_size=20))
def test_csv_is_read_as_written_and_an_empty_field_is_missing(table: list[list[float | None]]) -> None:
    text = "\n".join(",".join("" if value is None else repr(value) for value in row) for row in table)
    expected = np.array([[np.nan if value is None else value for value in row] for row in table], dtype=np.float32)
    if table[0] == [None, None] or table[-1] == [None, None]:
        assert csv_rows(text.encode()).shape == expected.shape
    np.testing.assert_array_equal(csv_rows(text.encode()), expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"1,2\n1,x", "'x'.*row 1, column 2"), (b"1,2\n1,2,3", "number of columns changed from 2 to 3 at row 2")],
)
def test_csv_that_is_wrong_is_refused_with_its_place(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        csv_rows(text)


def test_DV_04_every_format_gives_the_same_label_and_features(tmp_path: Path) -> None:  # noqa: N802
    data = rows(50)
    written = csv(data)
    data = csv_rows(written)
    bodies = {
        "csv": written,
        "libsvm": "".join(
            f"{row[0]:g} {' '.join(f'{index}:{value!r}' for index, value in enumerate(row[1:].tolist()))}\n"
            for row in data
        ).encode(),
    }
    for kind, body in bodies.items():
        (tmp_path / kind / "deep").mkdir(parents=True)
        (tmp_path / kind / "deep" / "part-1").write_bytes(body)
        (tmp_path / kind / "_SUCCESS").touch()
    (tmp_path / "parquet").mkdir()
    parquet.write_table(
        pa.table({f"c{index}": column for index, column in enumerate(data.T)}), tmp_path / "parquet" / "part"
    )
    for kind in ("csv", "libsvm", "parquet"):
        features, labels, weights = read_files(tmp_path / kind, kind)
        dense = features.toarray() if kind == "libsvm" else features
        np.testing.assert_allclose(dense, data[:, 1:], rtol=1e-6)
        np.testing.assert_array_equal(labels, data[:, 0])
        assert weights is None


def test_csv_weights_are_the_second_column(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"1,0.5,7,8\n0,2,9,10\n")
    features, labels, weights = read_files(tmp_path, "csv", weighted=True)
    assert (features.tolist(), labels.tolist()) == ([[7, 8], [9, 10]], [1, 0])
    assert weights is not None
    assert weights.tolist() == [0.5, 2]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "No data in channel path"),
        ({"a": b"\n"}, "No data in channel path"),
        ({"a": b"1,2\n", "b": b"1,2,3\n"}, "differ in their number of columns"),
        ({"a": b"1\n0\n"}, "the label and no feature"),
        ({"a": b"1,2\n,3\n"}, "a: row 1 has no label"),
    ],
)
def test_files_that_hold_no_table_are_refused(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    with pytest.raises(ValueError, match=reason):
        read_files(tmp_path, "csv")


def test_libsvm_that_is_wrong_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 1: '1 a:2'"):
        libsvm_rows(b"1 1:2\n1 a:2")


def test_an_unknown_content_type_is_refused_with_those_allowed() -> None:
    assert content_format("text/csv; label_size=1") == "csv"
    with pytest.raises(ValueError, match="'image/png' is not an accepted ContentType: allowed are csv, text/csv"):
        content_format("image/png")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("eta", "0", 0.0), ("eta", "1", 1.0), ("learning_rate", "0.1", 0.1), ("max_depth", "0", 0),
        ("subsample", "1", 1.0), ("seed", "-5", -5), ("early_stopping_rounds", "1", 1), ("csv_weights", "1", 1),
        ("objective", "binary:logistic", "binary:logistic"), ("eval_metric", "rmse,error@0.7", ["rmse", "error@0.7"]),
        ("monotone_constraints", "(1, 0)", "(1, 0)"), ("tree_method", "hist", "hist"), ("verbosity", "3", 3),
    ],
)  # fmt: skip
def test_a_hyperparameter_in_its_range_is_read(name: str, text: str, expected: object) -> None:
    canonical = {"learning_rate": "eta"}.get(name, name)
    assert validated({"num_round": "1", name: text}) == {"num_round": 1, canonical: expected}


@pytest.mark.parametrize(
    ("given_metrics", "measured"),
    [("auc", ["auc"]), ("auc,logloss", ["logloss", "auc"]), ("rmse", ["rmse", "auc"]), ("", ["auc"])],
)
def test_hp_01_the_objective_of_a_tuning_is_measured_last_so_that_early_stopping_goes_by_it(
    given_metrics: str, measured: list[str]
) -> None:
    given = {"num_round": "1", "objective": "binary:logistic", "_tuning_objective_metric": "validation:auc"}

    assert validated(given | ({"eval_metric": given_metrics} if given_metrics else {}))["eval_metric"] == measured


@pytest.mark.parametrize(
    ("given_parameters", "reason"),
    [
        ({}, "Missing required hyperparameter: num_round"),
        ({"num_round": "0"}, r"num_round: 0 is not in \[1, inf\)"),
        ({"num_round": "1.5"}, "num_round: could not parse value '1.5'"),
        ({"eta": "-0.1"}, r"eta: -0.1 is not in \[0, 1\]"),
        ({"eta": "nan"}, "eta: nan is not in"),
        ({"subsample": "0"}, r"subsample: 0 is not in \(0, 1\]"),
        ({"scale_pos_weight": "0"}, "scale_pos_weight: 0 is not in"),
        ({"num_class": "1", "objective": "multi:softmax"}, "num_class: 1 is not in"),
        ({"verbosity": "4"}, "verbosity: 4 is not in"),
        ({"objective": "binary:logit"}, "objective: binary:logit is not in binary:logistic, "),
        ({"tree_method": "gpu_hist"}, "tree_method: gpu_hist is not in auto, exact, approx, hist"),
        ({"objective": "multi:softprob"}, "Require input for parameter 'num_class'"),
        ({"num_class": "3"}, "Do not need to setup parameter 'num_class'"),
        ({"eval_metric": "auc"}, "Metric 'auc' can only be applied for classification"),
        ({"eval_metric": "gini"}, "value gini not in range aft-nloglik, auc, aucpr"),
        ({"eval_metric": "rmse@0.5"}, "only error, ndcg, map take a threshold"),
        ({"eval_metric": "f1"}, "f1 is computed by the container's own code"),
        ({"monotone_constraints": "5"}, "monotone_constraints: 5 is not in a value like"),
        ({"monotone_constraints": "__import__('os')"}, "could not parse"),
        ({"_kfold": "5"}, "_kfold: 5 is not emulated"),
        ({"n_estimators": "5"}, "Extraneous hyperparameter found: n_estimators; allowed are .*max_depth"),
    ],
)
def test_a_hyperparameter_out_of_its_range_is_refused_by_name(given_parameters: dict[str, str], reason: str) -> None:
    base = {"num_round": "1"} if given_parameters else {}
    with pytest.raises(HyperparameterError, match=reason):
        validated({**base, **given_parameters})
