"""A state machine as a graph: its scopes, its roads, and what a road assigns and says to be true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jsonata import Jsonata
from jsonata.parser import Parser

END = ""
"""The target of a road that ends its scope."""
_NESTED = ("ItemProcessor", "Branches")
FUNCTIONS = frozenset(Jsonata.static_frame.bindings) | {"partition", "range", "hash", "random", "uuid", "parse"}
"""JSONata's own functions and those of Step Functions: names that can be read without being assigned."""

State = Mapping[str, Any]
Scope = Mapping[str, Any]


@dataclass(frozen=True)
class Road:
    """A way from one state of a scope to the next: `kind` is next, catch, choice or default.

    `facts` are the conditions of a Choice that are true, or false, for whoever takes this road.
    """

    source: str
    target: str
    kind: str
    assigned: Mapping[str, Any] = field(default_factory=dict)
    facts: tuple[tuple[Any, bool], ...] = ()


def roads(scope: Scope) -> list[Road]:
    """Return every road of a scope, those of nested scopes not included."""
    found: list[Road] = []
    for name, state in scope["States"].items():
        found += [Road(name, c["Next"], "catch", c.get("Assign", {})) for c in state.get("Catch", [])]
        if state["Type"] != "Choice":
            found.append(Road(name, state.get("Next", END), "next", state.get("Assign", {})))
            continue
        refused: list[tuple[Any, bool]] = []
        for rule in state["Choices"]:
            (condition,) = expressions(rule["Condition"])
            found.append(Road(name, rule["Next"], "choice", rule.get("Assign", {}), (*refused, (condition, True))))
            refused.append((condition, False))
        if "Default" in state:
            found.append(Road(name, state["Default"], "default", state.get("Assign", {}), tuple(refused)))
    return found


def nested(state: State) -> list[Scope]:
    """Return the scopes inside a state: the branches of a Parallel, the processor of a Map."""
    return [*state.get("Branches", []), *filter(None, [state.get("ItemProcessor")])]


def distributed(state: State) -> bool:
    """Say whether a Map's children are executions of their own."""
    return bool(state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED")


def scopes(scope: Scope, at: str) -> Iterator[tuple[str, Scope]]:
    """Yield a scope and those nested in it, each with its path."""
    yield at, scope
    for name, state in scope["States"].items():
        for inner in nested(state):
            yield from scopes(inner, f"{at}/{name}")


def own(state: State) -> dict[str, Any]:
    """Return what a state says itself, without the scopes nested in it."""
    return {key: value for key, value in state.items() if key not in _NESTED}


def expressions(value: Any) -> list[Any]:
    """Return the syntax tree of every JSONata expression in a value."""
    if isinstance(value, str):
        inner = value.strip()
        return [_parsed(inner[2:-2])] if inner.startswith("{%") and inner.endswith("%}") else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tree for one in value for tree in expressions(one)] if isinstance(value, list) else []


@cache
def _parsed(text: str) -> Any:
    return Jsonata(text).ast


def used(value: Any) -> set[str]:
    """Return the variables of the state machine that the expressions in a value read."""
    return set().union(*(_free(tree, frozenset()) for tree in expressions(value)))


def _free(tree: Any, bound: frozenset[str]) -> set[str]:
    if tree.type == "variable":
        return {tree.value} - bound - {"", "$", "states"}
    if tree.type == "lambda":
        return _free(tree.body, bound | {one.value for one in tree.arguments})
    free: set[str] = set()
    for child in tree.arguments if _calls(tree) else _children(tree):
        free |= _free(child, bound)
        if child.type == "bind":
            bound |= {child.lhs.value}
    return free - ({tree.lhs.value} if tree.type == "bind" else set())


def _calls(tree: Any) -> bool:
    return tree.type in ("function", "partial") and tree.procedure.value in FUNCTIONS


def _children(tree: Any) -> list[Any]:
    def flat(value: Any) -> list[Any]:
        if isinstance(value, (list, tuple)):
            return [one for part in value for one in flat(part)]
        return [value] if isinstance(value, Parser.Symbol) else []

    return [child for value in vars(tree).values() for child in flat(value)]


def most(facts: tuple[tuple[Any, bool], ...]) -> dict[str, float]:
    """Return the largest value that each variable can have where these conditions hold: `$x < 9`, `not ($a or $x > 9)`."""
    found: dict[str, float] = {}
    for tree, truth in facts:
        for name, value in _limits(tree, truth=truth):
            found[name] = min(value, found.get(name, value))
    return found


def _limits(tree: Any, *, truth: bool) -> Iterator[tuple[str, float]]:
    if tree.type == "block":  # brackets
        for inner in tree.expressions:
            yield from _limits(inner, truth=truth)
    elif tree.type == "binary" and tree.value == ("and" if truth else "or"):
        yield from _limits(tree.lhs, truth=truth)
        yield from _limits(tree.rhs, truth=truth)
    elif tree.type == "binary" and tree.lhs.type == "variable" and tree.rhs.type == "number":
        below: dict[str, Callable[[float], float]] = (
            {"<": lambda n: n - 1, "<=": lambda n: n} if truth else {">": lambda n: n, ">=": lambda n: n - 1}
        )
        if tree.value in below:
            yield tree.lhs.value, below[tree.value](tree.rhs.value)


def counts(value: Any, name: str) -> bool:
    """Say whether an assigned value is the variable `name` and one more."""
    trees = expressions(value)
    return (
        len(trees) == 1
        and trees[0].type == "binary"
        and (trees[0].value, trees[0].lhs.value, trees[0].rhs.value) == ("+", name, 1)
    )


def reach(found: list[Road], start: str) -> set[str]:
    """Return the states, and END, to which roads lead from `start`, itself included."""
    seen, ahead = {start}, [start]
    while ahead:
        here = ahead.pop()
        for road in found:
            if road.source == here and road.target not in seen:
                seen.add(road.target)
                ahead.append(road.target)
    return seen
