"""The flip test: what the model calls the nearest others of a group's rows (developer guide, "Counterfactual Fliptest")."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linnet.errors import BadInputError
from linnet.monitoring.bias import too_few
from linnet.monitoring.evaluate import MINIMUM_ROWS, Floats, Mask

_SEED = 20_251_121
_FLIPPED = 2_000
_NEIGHBOURS = 5
_FEW = 9
_PIECE = 100


def flip_test(
    features: Floats, called: ArrayLike, group: Mask, others: Mask, *, minimum_rows: int = MINIMUM_ROWS
) -> dict[str, dict[str, Any]]:
    """Return FT: how many more rows of the group the model calls positive than their nearest others would be, by its rows.

    `features` are numbers, a row each; rows with NaN are left out. The calls of the 5 nearest others (1 where there are
    fewer than 10) decide by majority; equally near ones count in row order. Of more than 2,000 rows a side as many are
    drawn, with a fixed seed. The sign is that of Clarify's code (positive: the model favours the group), which its
    description turns round.

    Raises:
        BadInputError: lengths differ.
    """
    said = np.asarray(called).astype(np.int64)
    for name, column in (("called", said), ("group", group), ("others", others)):
        if len(column) != len(features):
            raise BadInputError(f"rows of {name}", len(column), f"as many as features: {len(features)}")
    complete = np.isfinite(features).all(axis=1)
    source = np.random.default_rng(_SEED)
    of_d, of_a = (_drawn(np.flatnonzero(mask & complete), source) for mask in (group, others))
    if why := too_few(len(of_d), len(of_a), "rows with all features", minimum_rows):
        return {"metrics": {}, "unknown": {"FT": why}}
    nearest = _NEIGHBOURS if len(of_a) > _FEW else 1
    flipped = 0
    for start in range(0, len(of_d), _PIECE):
        mine = of_d[start : start + _PIECE]
        distance = np.zeros((len(mine), len(of_a)))
        for column in features.T:  # a sum in a fixed order: a matrix product's depends on the machine
            distance += (column[mine][:, None] - column[of_a][None, :]) ** 2
        near = of_a[np.argsort(distance, axis=1, kind="stable")[:, :nearest]]
        flipped += int((said[mine] - (2 * said[near].sum(axis=1) > nearest)).sum())
    return {"metrics": {"FT": flipped / len(of_d)}, "unknown": {}}


def _drawn(places: NDArray[np.int64], source: np.random.Generator) -> NDArray[np.int64]:
    return places if len(places) <= _FLIPPED else np.sort(source.choice(places, _FLIPPED, replace=False))
