"""Data sets at rest: every form in which transforms and feature groups write them gives the same profile (MO-12, MO-15)."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from linnet.monitoring import datasets
from linnet.monitoring.datasets import profile_files
from linnet.monitoring.profile import Profile, profile
from linnet.monitoring.store import profile_bytes
from linnet.monitoring.tables import DataError, Source, read_table

FEATURES = ["age", "city", "income"]
KINDS: Any = {"age": "number", "city": "category", "income": "number"}


def rows(count: int = 400) -> list[dict[str, Any]]:
    draw = random.Random(5)
    return [
        {"age": draw.randrange(90), "city": draw.choice("abcd"), "income": draw.gauss(3e4, 1e4)} for _ in range(count)
    ]


def csv(found: list[dict[str, Any]], *, header: bool = True, extra: str = "") -> bytes:
    lines = [",".join(FEATURES)] if header else []
    return "\n".join(lines + [",".join(str(row[name]) for name in FEATURES) + extra for row in found]).encode()


def parquet(found: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(found), sink)
    return sink.getvalue()


def known() -> Profile:
    return profile(read_table([Source("baseline", csv(rows()))]), kinds=KINDS)


def stored(row: dict[str, Any], *, deleted: Any = False) -> dict[str, Any]:
    """Return a row as a feature group's offline store has it."""
    times = {"write_time": "2026-11-21 09:00:00", "api_invocation_time": "2026-11-21 08:59:00", "event_time": 1.8e9}
    return {"customer": "c1"} | row | times | {"is_deleted": deleted}


IGNORED = {"customer", "write_time", "api_invocation_time", "event_time", "is_deleted"}
FORMS: dict[str, tuple[Source, set[str], bool]] = {
    "csv": (Source("x", csv(rows())), set(), False),
    "csv without header": (Source("x", csv(rows(), header=False)), set(), False),
    "a transform's, joined": (Source("x", csv(rows(), header=False, extra=",0.25,1")), {"other_1", "other_2"}, False),
    "built-in training": (
        Source("x", b"\n".join(b"1," + line for line in csv(rows(), header=False).split(b"\n"))), {"other_1"}, True,
    ),
    "parquet": (Source("x", parquet(rows()), "parquet"), set(), False),
    "an offline store": (Source("x", parquet([stored(row) for row in rows()]), "parquet"), IGNORED, False),
    "json lines": (
        Source("x", "\n".join(json.dumps(stored(row)) for row in rows()).encode(), "jsonl"), IGNORED, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_mo_12_mo_15_every_form_of_the_same_rows_is_the_profile_of_the_baseline(form: str) -> None:
    source, ignored, label_first = FORMS[form]

    found, seen = profile_files([source], known(), label_first=label_first)

    assert profile_bytes(found) == profile_bytes(known())
    assert (seen.files, seen.deleted, seen.ignored) == (1, 0, ignored)


def test_pieces_of_any_size_and_any_cut_into_files_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Source(f"{n}", csv(rows()[n * 100 : (n + 1) * 100], header=n % 2 == 0)) for n in range(3)]
    parts.append(Source("last", parquet(rows()[300:]), "parquet"))
    monkeypatch.setattr(datasets, "ROWS_AT_ONCE", 70)

    found, seen = profile_files(parts, known())

    assert profile_bytes(found) == profile_bytes(known())
    assert seen.files == 4


def test_no_file_is_asked_for_before_the_one_before_was_read_so_that_a_disk_of_one_file_is_enough(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data"

    def one_by_one() -> Any:
        for n in range(4):
            path.write_bytes(csv(rows()[n * 100 : (n + 1) * 100]))
            yield Source(f"{n}", path)
            path.unlink()

    found, _ = profile_files(one_by_one(), known())

    assert profile_bytes(found) == profile_bytes(known())


@pytest.mark.parametrize("said", [True, "true", "True", 1])
def test_rows_that_the_feature_store_marks_as_deleted_are_left_out_and_counted(said: Any) -> None:
    gone = [stored({"age": 1_000, "city": "gone", "income": 0.5}, deleted=said) for _ in range(50)]
    kept = [stored(row, deleted=type(said)(0) if not isinstance(said, str) else "false") for row in rows()]
    lines = "\n".join(json.dumps(row) for row in [*gone, *kept]).encode()

    found, seen = profile_files([Source("x", lines, "jsonl")], known())

    assert (found.rows, seen.deleted) == (400, 50)
    assert "gone" not in found.columns["city"].categories


def test_is_deleted_is_no_mark_where_it_is_a_feature() -> None:
    content = b"age,is_deleted\n1,1\n2,0\n"
    baseline = profile(read_table([Source("b", content)]))

    found, seen = profile_files([Source("x", content)], baseline)

    assert (found.rows, seen.deleted, seen.ignored) == (2, 0, set())


def test_a_column_that_one_file_lacks_is_missing_in_its_rows_and_one_that_all_lack_is_no_column() -> None:
    files = [Source("a", b"age,city\n1,a\n2,b\n"), Source("b", b"age\n3\n")]

    found, _ = profile_files(files, known())

    assert (found.rows, list(found.columns)) == (3, ["age", "city"])
    assert (found.columns["city"].present, found.columns["city"].missing) == (2, 1)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Source("s3://b/x.out", b"0.25\n0.5\n"), r"^s3://b/x.out, row 1: '1 fields' .*JoinSource Input"),
        (Source("s3://b/x.csv", b"1,a,2,3\n1,a\n"), r"^s3://b/x.csv, "),
        (Source("s3://b/x.csv", b"\xff\xfe,b,c\n"), r"^s3://b/x.csv, "),
        (Source("s3://b/x.parquet", b"PAR1", "parquet"), r"^s3://b/x.parquet: "),
        (Source("s3://b/x.parquet", parquet([{"size": 1}]), "parquet"), r"^s3://b/x.parquet, columns: .*at least one of"),
        (Source("s3://b/x.jsonl", b'{"SageMakerOutput": {"a": 1}}\n', "jsonl"), r"^s3://b/x.jsonl, "),
    ],
)  # fmt: skip
def test_what_is_no_table_of_the_features_is_refused_by_its_file_never_compared(source: Source, says: str) -> None:
    with pytest.raises(DataError, match=says):
        profile_files([source], known())


def test_nothing_at_all_is_a_profile_of_no_rows() -> None:
    assert profile_files([], known())[0].rows == 0
