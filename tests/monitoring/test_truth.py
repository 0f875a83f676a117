"""Ground truth (MO-05): late, twice, in any order, several rows a request; joined, and the rest counted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.monitoring import truth as module
from linnet.monitoring.capture import Counts, read_batches, read_capture
from linnet.monitoring.records import labels_of
from linnet.monitoring.truth import join, labelled, labels_for, read_truth

NAMES = ("a", "b", "c")


def asked(data: str, answer: str = "0.5", *, event: str, **meta: Any) -> bytes:
    record = {
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": data, "encoding": "CSV"},
            "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": answer, "encoding": "CSV"},
        },
        "eventMetadata": {"eventId": event, "inferenceTime": "2025-01-15T10:30:00Z", **meta},
        "eventVersion": "0",
    }
    return json.dumps(record).encode() + b"\n"


def said(event: str, data: str, encoding: str = "CSV") -> bytes:
    record = {
        "groundTruthData": {"data": data, "encoding": encoding},
        "eventMetadata": {"eventId": event},
        "eventVersion": "0",
    }
    return json.dumps(record).encode() + b"\n"


def files(*contents: bytes) -> list[tuple[str, bytes]]:
    return [(f"ground-truth/ep/2025/01/15/{hour:02}/labels.jsonl", content) for hour, content in enumerate(contents)]


def test_mo_05_predictions_are_joined_by_inference_id_else_event_id_and_the_rest_is_counted() -> None:
    captured = read_capture(
        [
            asked("1,2,3", "0.9", event="e1", inferenceId="i1"),
            asked("1,2,3", "0.2", event="e2"),
            asked("1,2,3\n4,5,6", "0.3\n0.4", event="e3"),
            asked("1,2,3", "0.5", event="e4"),
            asked("1,2,3", "oops", event="e5"),
            asked("1,2,3\n4,5,6", "0.6\n0.7", event="e6"),
        ],
        NAMES,
    )
    truth = read_truth(
        files(
            said("i1", "0") + said("e1", "0"),
            b"{broken\n" + said("e3", "0\n1") + said("stranger", "1"),
            said("e2", "0") + said("i1", "1") + said("e5", "1") + said("e6", "1"),
        )
    )
    found = join(captured, truth)
    by_score = dict(zip(found.scores.tolist(), found.labels.tolist(), strict=True))
    assert by_score == {0.9: 1, 0.2: 0, 0.3: 0, 0.4: 1}
    assert (found.unlabelled, found.unpredicted, truth.bad, truth.duplicates) == (3, 1, 1, 1)
    assert found.join_rate == 5 / 8
    assert captured.predictions[found.kept].tolist() == found.scores.tolist()


def test_mo_05_an_empty_join_is_seen_as_one() -> None:
    captured = read_capture([asked("1,2,3", event="e")], NAMES)
    assert join(captured, read_truth([])).join_rate == 0
    assert join(captured, read_truth(files(said("other", "1")))).join_rate == 0
    assert join(read_capture([], NAMES), read_truth(files(said("e", "1")))).join_rate is None


def test_mo_05_labels_in_json_are_read() -> None:
    captured = read_capture([asked("1,2,3", event="e1")], NAMES)
    assert join(captured, read_truth(files(said("e1", "[1]", "JSON")))).labels.tolist() == [1]


def test_mo_05_the_label_of_the_last_hour_counts_in_whatever_order_files_and_captures_come() -> None:
    captured = read_capture([asked("1,2,3", event="e")], NAMES)
    early, late = files(said("e", "0") + said("x", "1"), said("e", "1"))
    for order in ([early, late], [late, early]):
        truth = read_truth(order)
        assert join(captured, truth).labels.tolist() == [1]
        assert truth.duplicates == 1
    again = read_truth([early, late, late])
    assert (join(captured, again).labels.tolist(), again.duplicates) == ([1], 2)


def test_mo_05_in_a_file_the_last_line_of_a_request_counts_whatever_its_shape() -> None:
    captured = read_capture([asked("1,2,3", event="e")], NAMES)
    odd = json.dumps(json.loads(said("e", "0")), separators=(",", ":")).encode() + b"\n"
    lines = [said("e", "1"), odd, said("e", "[2]", "JSON"), said("e", '"3"')]
    for n in range(len(lines)):
        order = [said("x", "7"), *lines[n + 1 :], *lines[: n + 1], said("y", "7")]
        truth = read_truth(files(b"".join(order)))
        assert join(captured, truth).labels.tolist() == [[1, 0, 2, 3][n]]
        assert (truth.duplicates, truth.bad) == (3, 0)


def test_mo_05_a_request_of_several_rows_needs_as_many_labels_also_where_its_rows_come_apart() -> None:
    file = asked("1,2,3\n4,5\n6,7,8", "0.1\n0.2\n0.3", event="e") + asked("1,2,3\n4,5,6", event="short")
    truth = read_truth(files(said("e", "7\n8\n9") + said("short", "1")))
    found = {
        (rows.width, place): label
        for rows in read_batches([file], NAMES, {}, counts=Counts())
        for place, label in zip(rows.places.tolist(), labels_for(rows, truth).to_pylist(), strict=True)
        if rows.sizes[0] == 3 and label
    }
    assert found == {(3, 0): "7", (2, 1): "8", (3, 2): "9"}


def test_mo_05_labels_may_be_words() -> None:
    captured = read_capture([asked("1,2,3", event=event) for event in "xyz"], NAMES)
    truth = read_truth(files(said("x", "late\n") + said("y", "NA")))
    assert labels_for(captured, truth).to_pylist() == ["late", None, None]


def test_captured_rows_with_their_truth_are_a_table_to_train_on() -> None:
    content = b"".join(asked(data, event=name) for name, data in (("x", "1,2,3"), ("y", "4,5,6"), ("z", "7,8,9")))
    captured = read_capture([content], NAMES)
    said_so = [said("x", "0"), said("z", "1"), said("z", "0"), said("nobody", "1")]
    found = labelled(captured, read_truth(files(b"".join(said_so))), label="y", entity="id")
    assert found.to_pydict() == {"a": ["1", "7"], "b": ["2", "8"], "c": ["3", "9"], "y": ["0", "0"], "id": ["x", "z"]}
    assert labelled(captured, read_truth([]), label="y", entity="a").num_rows == 0
    (rows,) = read_batches([content], NAMES, {}, counts=Counts())
    assert labelled(rows, read_truth(files(said("y", "1"))), label="y", entity="a").to_pylist() == [
        {"a": "4", "b": "5", "c": "6", "y": "1"}
    ]


LABEL = st.sampled_from(["0", "1", "1\n", "0\n1", "NA", "", "\n", '"x"', " 1", "a,b", "\ud800", "\u00e9", "\\"])
LINE = st.one_of(
    st.builds(said, st.sampled_from(["", "a", "b", "c", "\n"]), LABEL),
    st.builds(lambda event: said(event, "[1, 2]", "JSON"), st.sampled_from("abc")),
    st.builds(lambda event: said(event, "1").replace(b": ", b":"), st.sampled_from("abc")),
    st.sampled_from([b"\n", b"{\n", b"\xff\n", said("a", "1").replace(b"1", b"\xe9"), b'{"groundTruthData": 3}\n']),
)


@settings(max_examples=200)
@given(st.lists(st.lists(LINE, max_size=8), max_size=4), st.randoms())
def test_mo_05_by_template_and_by_line_labels_are_the_same_in_any_order_of_files(parts: Any, random: Any) -> None:
    given = files(*(b"".join(lines) for lines in parts))
    lines = [found for _, content in given for found in labels_of(content)]
    expected = dict(found for found in lines if found is not None)
    random.shuffle(given)
    truth = read_truth(given)
    starts = zip(truth.ids.to_pylist(), truth.starts.tolist(), truth.sizes.tolist(), strict=True)
    labels = truth.labels.to_pylist()
    assert {event: labels[start : start + size] for event, start, size in starts} == expected
    bad = lines.count(None)
    assert (truth.bad, truth.duplicates) == (bad, len(lines) - bad - len(expected))


def test_mo_05_usual_lines_of_truth_are_read_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "labels_of", lambda content: iter([None] * content.count(b"\n")))
    truth = read_truth(files(b"".join(said(f"e{n}", f"{n}") for n in range(1_000))))
    assert (len(truth.ids), truth.bad) == (1_000, 0)
    np.testing.assert_array_equal(truth.sizes, 1)
