"""A run's files: the holdout by entity hash (F26), the newest batch judged, the training file (DV-04)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.errors import BadInputError
from linnet.monitoring.evaluate import read_scores, read_which
from linnet.monitoring.profile import profile
from linnet.monitoring.split import Prepared, position, prepare, side
from linnet.monitoring.tables import DataError, Source, numbers, read_table

DATA: dict[str, Any] = {
    "label": "y",
    "entity": "id",
    "features": {"x": "number", "z": "number"},
    "holdout": 0.2,
    "validation": 0.1,
}


def batch(low: int, high: int, name: str = "batch", extra: str = "", tail: str = "") -> Source:
    lines = [f"id,z,y,x{',' + extra if extra else ''}"]
    lines += [f"c{i},{i / 4},{i % 2},{'' if i % 10 == 0 else i}{',9' if extra else ''}" for i in range(low, high)]
    return Source(name, ("\n".join(lines) + "\n" + tail).encode())


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def answered(made: Prepared, which: str = "newest") -> list[list[str]]:
    """Return the rows, features and label, that candidate and champion answer as one of the three parts."""
    together = zip(read(made.test_features), read(made.test_labels), strict=True)
    return [[*features, label] for features, (label, part) in together if part == which]


@settings(max_examples=300)
@given(st.text(), st.floats(0.01, 0.5), st.floats(0, 0.4))
def test_f26_a_side_depends_on_nothing_but_the_entity(entity: str, holdout: float, validation: float) -> None:
    assert 0 <= position(entity) < 1
    chosen = side(entity, holdout=holdout, validation=validation)
    assert chosen == side(entity, holdout=holdout, validation=validation)
    if chosen == "test":  # a larger holdout only takes more
        assert side(entity, holdout=holdout + 0.1, validation=validation) == "test"


def test_f26_positions_are_fixed_for_ever() -> None:
    """A change of the hash would move entities between training and holdout of models that live."""
    assert [round(position(entity), 12) for entity in ("", "c1", "42")] == [
        0.89316751609,
        0.265380897428,
        0.342593964224,
    ]


@settings(max_examples=25, deadline=None)
@given(older=st.integers(0, 300), newer=st.integers(400, 700), grown=st.integers(0, 300))
def test_f26_no_entity_ever_changes_sides_as_data_grows(
    tmp_path_factory: pytest.TempPathFactory, older: int, newer: int, grown: int
) -> None:
    def sides(low: int, high: int, next_high: int) -> dict[str, set[str]]:
        made = prepare([batch(0, low)], [batch(low, high)], DATA, tmp_path_factory.mktemp("a"), algorithm="xgboost")
        later = prepare(
            [batch(0, low), batch(low, high)],
            [batch(high, next_high)],
            DATA,
            tmp_path_factory.mktemp("b"),
            algorithm="xgboost",
        )
        found: dict[str, set[str]] = {}
        for name, path in (
            ("train", made.train), ("validation", made.validation), ("later train", later.train),
            ("later validation", later.validation),
        ):  # fmt: skip
            found[name] = {row[2] for row in read(path)} if path else set()  # z is i / 4: it names the entity
        found["test"] = {row[1] for row in answered(made)}
        found["later test"] = {row[1] for row in answered(later) + answered(later, "older")}
        assert {row[1] for row in answered(made, "train")} <= found["train"]
        return found

    found = sides(older, newer, newer + 200 + grown)
    assert not (found["train"] | found["later train"]) & (found["test"] | found["later test"])
    assert not (found["validation"] | found["later validation"]) & (found["test"] | found["later test"])
    assert found["train"] <= found["later train"]


def test_the_holdout_comes_only_from_the_newest_batch_and_every_row_is_accounted_for(tmp_path: Path) -> None:
    made = prepare([batch(0, 1000)], [batch(1000, 1500)], DATA, tmp_path, algorithm="xgboost")
    assert all(float(row[1]) >= 250 for row in answered(made))
    assert all(float(row[1]) < 250 for row in answered(made, "older"))
    assert sum(made.rows.values()) == 1500
    for name, path in (("train", made.train), ("validation", made.validation)):
        assert path is not None
        assert len(read(path)) == made.rows[name]
    assert (len(answered(made)), len(answered(made, "older"))) == (made.rows["test"], made.rows["held_out_older"])
    assert len(answered(made, "train")) == made.rows["train"]


def test_what_is_answered_for_the_report_alone_is_bounded_and_evenly_spread(tmp_path: Path) -> None:
    made = prepare([batch(0, 20_000)], [batch(20_000, 20_500)], DATA, tmp_path, algorithm="xgboost")
    for which in ("older", "train"):
        rows = [float(row[1]) for row in answered(made, which)]
        assert len(rows) == 2_000
        assert min(rows) < 100
        assert max(rows) > 4_900 - 100 * (which == "older")


def test_dv04_a_split_of_80_20_is_one(tmp_path: Path) -> None:
    data = {**DATA, "validation": 0.0}
    made = prepare([], [batch(0, 10_000)], data, tmp_path, algorithm="xgboost")
    assert made.validation is None
    assert made.rows["train"] / 10_000 == pytest.approx(0.8, abs=0.012)  # 3 standard deviations of a fair draw
    assert made.rows["train"] + made.rows["test"] == 10_000


def test_dv04_xgboost_gets_its_label_first_no_header_no_index_and_empty_for_missing(tmp_path: Path) -> None:
    made = prepare([], [batch(0, 200)], DATA, tmp_path, algorithm="xgboost")
    assert made.columns == ("y", "x", "z")
    for label, x, z in read(made.train):
        i = int(float(z) * 4)
        assert label == str(i % 2)
        assert x == ("" if i % 10 == 0 else str(i))
    assert '"' not in made.train.read_text()
    for _, z, label in answered(made):
        assert label == str(int(float(z) * 4) % 2)


def test_script_mode_gets_a_header_for_training_and_none_for_what_an_endpoint_receives(tmp_path: Path) -> None:
    data = {**DATA, "features": {"x": "number", "town": "category"}}
    text = "id,x,town,y\n" + "".join(f'{i},{i},"Town, {i % 3}",{i % 2}\n' for i in range(300))
    made = prepare([], [Source("b", text.encode())], data, tmp_path, algorithm="script")
    assert made.train.read_text().startswith("y,x,town\n")
    assert made.validation is not None
    assert made.validation.read_text().startswith("y,x,town\n")
    assert all(row[1].startswith("Town, ") for row in read(made.test_features))
    assert len(read(made.train)) == made.rows["train"] + 1


def test_xgboost_refuses_a_category_by_name(tmp_path: Path) -> None:
    data = {**DATA, "features": {"x": "number", "z": "category"}}
    with pytest.raises(BadInputError, match=r"features\.z"):
        prepare([], [batch(0, 100)], data, tmp_path, algorithm="xgboost")


def test_a_text_in_a_number_column_is_refused_by_column_and_value(tmp_path: Path) -> None:
    bad = Source("bad", b"id,x,z,y\n1,2,cold,0\n")
    with pytest.raises(BadInputError, match=r"column z.*'cold'"):
        prepare([], [bad], DATA, tmp_path, algorithm="xgboost")


def test_a_missing_column_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the column z among them"):
        prepare([], [Source("bad", b"id,x,y\n1,2,0\n")], DATA, tmp_path, algorithm="xgboost")


def test_rows_without_label_or_entity_are_dropped_and_counted(tmp_path: Path) -> None:
    holes = "c0,1,,1\n,1,1,1\n"
    made = prepare([], [batch(0, 200, tail=holes)], DATA, tmp_path, algorithm="xgboost")
    assert made.rows["dropped"] == 2
    assert sum(made.rows.values()) == 202


@pytest.mark.parametrize("rows", [0, 1])
def test_f25_too_little_data_for_training_and_a_holdout_is_refused(tmp_path: Path, rows: int) -> None:
    with pytest.raises(BadInputError, match="rows for"):
        prepare([], [batch(0, rows)], DATA, tmp_path, algorithm="xgboost")


def test_batches_may_differ_in_columns_that_nobody_asks_for(tmp_path: Path) -> None:
    made = prepare([batch(0, 100, extra="note")], [batch(100, 300)], DATA, tmp_path, algorithm="xgboost")
    assert sum(made.rows.values()) == 300


def test_parquet_and_csv_of_the_same_rows_give_the_same_files(tmp_path: Path) -> None:
    (table,) = read_table([batch(0, 300)])
    typed = pa.table(
        {
            "id": table["id"],
            "z": pa.array(numbers(table["z"]).values),
            "y": pa.array([i % 2 for i in range(300)]),
            "x": pa.array([None if i % 10 == 0 else i for i in range(300)]),
        }
    )
    pq.write_table(typed, tmp_path / "b.parquet")
    one = prepare([], [batch(0, 300)], DATA, tmp_path / "one", algorithm="xgboost")
    other = prepare([], [Source("p", tmp_path / "b.parquet", "parquet")], DATA, tmp_path / "two", algorithm="xgboost")
    assert one.rows == other.rows
    for name in ("train", "validation", "test_features", "test_labels"):
        assert getattr(one, name).read_text() == getattr(other, name).read_text()


def test_a_whole_number_id_lies_on_the_same_side_however_it_is_stored(tmp_path: Path) -> None:
    ids = list(range(500))
    found = []
    for n, array in enumerate((pa.array(ids), pa.array(ids, pa.float64()), pa.array([f" {i} " for i in ids]))):
        path = tmp_path / f"{n}.parquet"
        pq.write_table(pa.table({"id": array, "x": ids, "z": ids, "y": [i % 2 for i in ids]}), path)
        made = prepare([], [Source("p", path, "parquet")], DATA, tmp_path / str(n), algorithm="xgboost")
        found.append(made.train.read_text())
    assert found[0] == found[1] == found[2]


def test_the_training_file_reads_back_as_the_baseline(tmp_path: Path) -> None:
    made = prepare([], [batch(0, 500)], DATA, tmp_path, algorithm="xgboost")
    kinds: Any = DATA["features"]
    back = profile(read_table([Source("t", made.train)], columns=made.columns), kinds=kinds, only=list(kinds))
    assert list(back.columns) == ["x", "z"]
    assert back.rows == made.rows["train"]
    assert np.isclose(back.columns["z"].mean_and_deviation[0], np.mean([float(row[2]) for row in read(made.train)]))


def test_a_malformed_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.csv"):
        prepare([], [Source("b.csv", b"id,x,z,y\n1\n")], DATA, tmp_path, algorithm="xgboost")


def test_labelled_requests_are_trained_on_never_judged_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    names = [f"live{i}" for i in range(200)]
    x = ["1.5"] * 199 + ["not a number"]
    live = pa.RecordBatch.from_pydict({"id": names, "x": x, "z": ["2"] * 200, "y": ["1"] * 200})
    without = prepare([], [batch(0, 400)], DATA, tmp_path / "a", algorithm="xgboost")
    found = prepare([], [batch(0, 400)], DATA, tmp_path / "b", algorithm="xgboost", labelled=live)

    assert found.rows["labelled"] == 199
    assert answered(found) == answered(without)
    held_out = sum(side(name, holdout=0.2, validation=0.1) == "test" for name in names[:199])
    more = {name: found.rows[name] - without.rows[name] for name in ("train", "validation", "held_out_older", "test")}
    assert more["held_out_older"] == held_out  # an entity on the other side of the holdout is not trained on
    assert more["train"] + more["validation"] == 199 - held_out
    assert more["test"] == 0


def test_labelled_requests_with_other_columns_are_none(tmp_path: Path) -> None:
    live = pa.RecordBatch.from_pydict({"id": ["a"], "x": ["1"], "y": ["1"]})

    assert prepare([], [batch(0, 400)], DATA, tmp_path, algorithm="xgboost", labelled=live).rows["labelled"] == 0


def test_a_facet_lies_beside_the_labels_and_reaches_no_model(tmp_path: Path) -> None:
    quoted = '"M, x"'
    text = "id,z,y,x,sex\n" + "".join(f"c{i},{i / 4},{i % 2},{i},{'F' if i % 3 else quoted}\n" for i in range(400))
    source = Source("b", text.encode())
    plain = prepare([], [source], DATA, tmp_path / "a", algorithm="xgboost")
    made = prepare([], [source], DATA, tmp_path / "b", algorithm="xgboost", facet="sex")

    for name in ("train", "validation", "test_features"):
        assert getattr(made, name).read_bytes() == getattr(plain, name).read_bytes()
    for (_, z), (label, _, facet) in zip(read(made.test_features), read(made.test_labels), strict=True):
        i = int(float(z) * 4)
        assert (label, facet) == (str(i % 2), "F" if i % 3 else "M, x")


def test_a_batch_without_the_facet_is_unknown_not_one_of_the_groups(tmp_path: Path) -> None:
    made = prepare([], [batch(0, 400)], DATA, tmp_path, algorithm="xgboost", facet="sex")

    assert {row[2] for row in read(made.test_labels)} == {""}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=6), st.integers(0, 2**32))
def test_a_sample_weighs_every_row_alike_whatever_the_size_of_its_batch(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], first: int
) -> None:
    """A sample of so many rows of each batch would show a small odd batch as if it were most of the data."""
    older = [
        Source(str(place), ("id,y,x,z\n" + "".join(f"c{first + i},1,{place},0\n" for i in range(size))).encode())
        for place, size in enumerate(sizes)
    ]
    newest = Source("new", ("id,y,x,z\n" + "".join(f"n{i},0,-1,0\n" for i in range(200))).encode())
    found = prepare(older, [newest], DATA | {"validation": 0.0}, tmp_path_factory.mktemp("s"), algorithm="xgboost")
    asked = np.array([float(row[0]) for row in read(found.test_features)])
    trained = np.array([float(row[1]) for row in read(found.train)])
    sampled = asked[read_which(found.test_labels.read_bytes())["train"]]

    assert len(sampled) == min(2_000, found.rows["train"])
    for place in range(-1, len(sizes)):
        assert abs((sampled == place).mean() - (trained == place).mean()) < 0.002


@pytest.mark.parametrize("kind", ["two\nlines", "a\n1", "\u2028x", "\x85", 'a,"b'])
def test_a_facet_of_any_text_leaves_a_label_a_line(tmp_path: Path, kind: str) -> None:
    rows = "".join(f'c{i},{i},{i % 2},{i},"{kind.replace(chr(34), chr(34) * 2)}"\n' for i in range(300))
    source = Source("in", ("id,z,y,x,who\n" + rows).encode())
    found = prepare([], [source], DATA, tmp_path, algorithm="xgboost", facet="who")
    kept = found.test_labels.read_bytes()

    assert len(read_scores(kept)) == len(read(found.test_features))
    assert read_which(kept)["newest"].sum() == found.rows["test"]
