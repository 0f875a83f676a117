"""Twenty columns of every kind, of which eleven shift: the data that drift rules and peers are measured on.

`baseline` and `current` give the same bytes for the same rows. Sizes of the shifts: a rule that asks for a
Kolmogorov-Smirnov distance (of categories: a share) beyond 0.1 after Deequ's correction finds `COARSE` alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

_SIZES = {"c_three": 3, "c_dozen": 12, "c_fifty": 50, "c_town": 500, "c_sku": 5_000}
SHIFTED = frozenset({"n_norm", "n_exp", "n_mix", "n_price", "b_flag", "i_count", *_SIZES})
COARSE = frozenset({"n_mix", "n_price", "b_flag"})
_NULLS = {"n_exp": 0.05, "n_gamma": 0.02, "c_dozen": 0.03, "i_small": 0.01}


def baseline(rows: int) -> pa.RecordBatch:
    """Return the rows that a model was trained on."""
    return _table(rows, shifted=False, seed=20_251_121)


def current(rows: int) -> pa.RecordBatch:
    """Return the rows of a window in which the columns of `SHIFTED` moved."""
    return _table(rows, shifted=True, seed=20_260_101)


def _table(rows: int, *, shifted: bool, seed: int) -> pa.RecordBatch:
    source = np.random.default_rng(seed)
    moved = float(shifted)
    first = np.arange(rows) < round((0.5 + 0.127 * moved) * rows)
    arrays: dict[str, Any] = {
        "n_norm": source.normal(0.253 * moved, 1, rows),
        "n_exp": source.exponential(1 + 0.25 * moved, rows),
        "n_mix": np.where(first, -3.0, 3.0) + source.normal(0, 1, rows),
        "n_price": np.round(np.exp(source.normal(3 + 0.46 * moved, 0.8, rows)), 2),
        "n_zero": np.where(source.random(rows) < 0.7, 0.0, source.lognormal(1, 1, rows)),
        "n_t": source.standard_t(2.5, rows),
        "n_amount": source.lognormal(3, 1.6, rows),
        "n_uniform": source.random(rows),
        "n_gamma": source.gamma(2, 3, rows),
        "n_beta": source.beta(0.5, 0.5, rows),
        "n_far": 1.7e9 + source.random(rows) * 3.15e7,
        "n_cents": np.round(source.gamma(3, 40, rows), 2),
        "b_flag": (np.arange(rows) < round((0.2 + 0.124 * moved) * rows)).astype(np.int64),
        "i_count": source.poisson(3.5 + 0.5 * moved, rows),
        "i_small": source.integers(0, 7, rows),
    }
    for name, size in _SIZES.items():
        arrays[name] = _categories(source, size, rows, shifted=shifted)
    columns = []
    for name, values in arrays.items():
        share = _NULLS.get(name, 0.0) + (0.1 if shifted and name == "n_exp" else 0.0)
        columns.append(pa.array(values, mask=source.random(rows) < share if share else None))
    return pa.RecordBatch.from_arrays(columns, names=list(arrays))


def _categories(source: np.random.Generator, size: int, rows: int, *, shifted: bool) -> pa.Array:
    """Draw by Zipf's law; shifted, five points go from the most to the second most frequent, and 2 % to each of two new."""
    shares = 1 / np.arange(1, size + 1) ** 0.8
    shares /= shares.sum()
    names = [f"v{n:04}" for n in range(size)]
    if shifted:
        step = min(0.05, shares[0] / 2)
        shares[:2] += (-step, step)
        shares = np.append(shares * 0.96, (0.02, 0.02))
        names += ["new_one", "new_two"]
    drawn = np.searchsorted(np.cumsum(shares)[:-1], source.random(rows), side="right")
    return pa.DictionaryArray.from_arrays(pa.array(drawn.astype(np.int32)), names).cast(pa.string())
