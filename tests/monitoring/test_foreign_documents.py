"""JSON that others wrote, of any shape: read, or refused with BadInputError; nothing else ever comes out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.decisions.evaluation import read_metrics
from linnet.errors import BadInputError
from linnet.monitoring.evaluate import evaluate
from linnet.monitoring.files import (
    Violation,
    read_constraints,
    read_statistics,
    read_violations,
    statistics_json,
    suggest_constraints,
    violations_json,
)
from linnet.monitoring.profile import profile

_KNOWN = profile([pa.RecordBatch.from_pydict({"n": [1.5, 2.0, None], "c": ["a", "b", "a"]})])
READERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "statistics": (read_statistics, statistics_json(_KNOWN)),
    "constraints": (read_constraints, suggest_constraints(_KNOWN)),
    "violations": (read_violations, violations_json([Violation("n", "data_type_check", "x")])),
    "metrics": (read_metrics, evaluate(np.array([0, 1]), np.array([0.2, 0.7]))),
}
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
ANYTHING = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_document_with_one_part_replaced_is_read_or_refused(name: str, data: st.DataObject) -> None:
    read, document = READERS[name]
    path = data.draw(st.sampled_from(places(document)))
    changed, value = copy.deepcopy(document), data.draw(ANYTHING)
    if not path:
        changed = value
    else:
        part = changed
        for key in path[:-1]:
            part = part[key]
        if data.draw(st.booleans()):
            part[path[-1]] = value
        else:
            del part[path[-1]]
    try:
        read(changed)
    except BadInputError as error:
        assert error.allowed  # noqa: PT017 - either outcome is right; any other exception fails the test


@pytest.mark.parametrize(
    "sketch", [[[1.0, float("nan")]], [[float("inf")]], [[], *[[1.0]] * 70], [["x"]], [3], {"a": 1}], ids=str
)
def test_a_sketch_that_cannot_be_one_is_refused(sketch: Any) -> None:
    document = copy.deepcopy(READERS["statistics"][1])
    document["features"][0]["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"] = sketch
    with pytest.raises(BadInputError, match=r"statistics\.json"):
        read_statistics(document)


@pytest.mark.parametrize("count", [float("inf"), float("nan"), "many", None, []])
def test_a_row_count_that_is_none_is_refused(count: Any) -> None:
    with pytest.raises(BadInputError, match=r"statistics\.json"):
        read_statistics({**READERS["statistics"][1], "dataset": {"item_count": count}})
