"""Each of the 26 rows that are the heart of the requirements is shown by a test whose name says so."""

from __future__ import annotations

import re
from pathlib import Path

HEART = [
    "EB-01",
    "EB-02",
    "EB-03",
    "EB-04",
    "DA-02",
    "TG-02",
    "TG-07",
    "EB-08",
    "DV-01",
    "TR-01",
    "TR-03",
    "EV-01",
    "EV-02",
    "EV-03",
    "RG-01",
    "RG-03",
    "RG-04",
    "EB-06",
    "DP-01",
    "RO-01",
    "RO-02",
    "RB-01",
    "RB-02",
    "RB-03",
    "MO-02",
    "MO-05",
]


def test_every_row_of_the_heart_is_named_by_a_test() -> None:
    here = Path(__file__)
    names = " ".join(
        name
        for path in here.parents[1].rglob("test_*.py")
        if path != here
        for name in re.findall(r"def (test_\w+)", path.read_text())
    )

    assert len(HEART) == 26
    assert [row for row in HEART if row.lower().replace("-", "_") not in names] == []
