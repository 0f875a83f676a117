"""How many events the history of an execution can have in the worst case, by the machine's own bounds.

A Standard execution ends at 25,000 events
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html, "Maximum execution history size"), whatever holds its
lease. The worst case is a linear program: how often each road is taken, as large as flow conservation and the counters of the
loops allow, every attempt of every Retry used at every visit. Redrives are left out: they add to the same history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import linprog

from scripts.asl.graph import END, Road, Scope, State, counts, distributed, most, nested, reach, roads

HISTORY = 25_000
_UNBOUNDED = 3
# Started, scheduled, and how it went; a job or a token is also submitted.
_ATTEMPT, _ATTEMPT_WAITED = 3, 4

Bounds = Mapping[tuple[str, str, str], int]


class UnboundedError(Exception):
    """Nothing bounds how often a loop is gone round, or how many items a Map has."""


def worst(scope: Scope, at: str, bounds: Bounds = {}) -> int:  # noqa: B006 - never written
    """Return the events that an execution of a scope can have at most, its own start and end included.

    `bounds` says of `(path of the scope, state, next state)` how often that road is taken at most where a number in the
    functions bounds it; of `(path, Choice, "")` the same for each road out of it; of `(path, Map, "")` how many items it has.

    Raises:
        UnboundedError: names the loop or the Map.
    """
    found = roads(scope)
    names = list(scope["States"])
    weight = {name: _visit(state, f"{at}/{name}", at, name, bounds) for name, state in scope["States"].items()}
    # linprog minimises; a road costs its source's visit, and a Catch one event more, for an expression that failed.
    cost = [-(weight[road.source] + (road.kind == "catch")) for road in found]
    kept = np.zeros((len(names), len(found)))
    for column, road in enumerate(found):
        kept[names.index(road.source), column] += 1
        if road.target != END:
            kept[names.index(road.target), column] -= 1
    begun = [1.0 if name == scope["StartAt"] else 0.0 for name in names]
    limits = [_turns(road, found, at, bounds) for road in found]
    solved = linprog(cost, A_eq=kept, b_eq=begun, bounds=[(0, limit) for limit in limits], method="highs")
    if solved.status == _UNBOUNDED:
        raise UnboundedError(f"{at}: nothing bounds the loop through {_loop(found, limits)}")
    return 2 - round(float(solved.fun))


def _visit(state: State, path: str, at: str, name: str, bounds: Bounds) -> int:
    """Return the events of one visit of a state."""
    attempts = 1 + sum(int(retrier.get("MaxAttempts", 3)) for retrier in state.get("Retry", []))
    if state["Type"] == "Task":
        waits = state["Resource"].endswith((".sync", ".sync:2", ".waitForTaskToken"))
        return 2 + attempts * (_ATTEMPT_WAITED if waits else _ATTEMPT)
    if not nested(state):
        return 2
    if distributed(state):
        return 2 + attempts * 3  # the Map Run is started and ends; its children have histories of their own
    inside = sum(worst(inner, path, bounds) for inner in nested(state))
    if state["Type"] == "Map":
        items = bounds.get((at, name, END))
        if items is None:
            raise UnboundedError(f"{path}: nothing bounds how many items it has")
        inside *= items
    return 2 + attempts * (2 + inside)


def _turns(road: Road, found: list[Road], at: str, bounds: Bounds) -> float | None:
    """Return how often a road is taken at most, by what is declared and by a counter that its condition holds; None: no limit.

    A counter bounds a road if nobody comes back to the road without passing a state that adds one, and if nothing between
    sets it to anything else.
    """
    declared = [road.target, END] if road.kind in ("choice", "default") else [road.target]
    limits: list[float] = [
        bounds[at, road.source, target] for target in declared if (at, road.source, target) in bounds
    ]
    around = {name for name in reach(found, road.target) if road.source in reach(found, name)}
    for name, largest in most(road.facts).items():
        others = [one for one in found if not counts(one.assigned.get(name, ""), name)]
        resets = [one for one in others if name in one.assigned and one.source in around and one.target in around]
        if not resets and road.source not in reach(others, road.target):
            limits.append(largest + 1)
    return min(limits) if limits else None


def _loop(found: list[Road], limits: list[float | None]) -> str:
    free = [road for road, limit in zip(found, limits, strict=True) if limit is None]
    return ", ".join(sorted({road.source for road in free if road.source in reach(free, road.target)}))


def events(definitions: Mapping[str, Any], bounds: Bounds) -> dict[str, int]:
    """Return the worst case of each machine, by its name."""
    return {name: worst(definition, name, bounds) for name, definition in definitions.items()}
