"""Mutants of the real definitions: one small change each, as a slip of the hand or a bad merge makes it (practice.md A5)."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.machines.player import Definition, every

_SWAPS = (
    (r"(?<![<>!:])=(?!=)", "!="), (r"!=", "="), (r"<(?!=)", "<="), (r">(?!=)", ">="), (r"<=", "<"), (r">=", ">"),
    (r"\band\b", "or"), (r"\bor\b", "and"), (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"\bnull\b", "1"),
    (r"(?<= )\+ ", "- "), (r"(?<= )- ", "+ "), (r"(?<= )\* ", "+ "),
)  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.$'])\d+(?![\w.'])")
_TEXT = re.compile(r"'[^']+'")
_VARIABLE = re.compile(r"\$(?!states\b)[A-Za-z_]\w*(?:\.\w+)*(?!\s*\()\b(?!\s*:=)")
_NUMBERS = {
    "TimeoutSeconds", "HeartbeatSeconds", "Seconds", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds",
    "MaxConcurrency", "ToleratedFailurePercentage",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A definition with one change."""

    what: str
    """The kind of change."""
    where: str
    """The state and the field, and what became of it."""
    states: frozenset[str]
    """The states whose behaviour may be another now."""
    definition: Definition
    equal: str = ""
    """Why nobody can tell it from its machine, where that is known."""


def mutants(machine: Definition) -> Iterator[Mutant]:
    """Yield all mutants of a machine, always in the same order."""
    around = _around(machine)
    names = sorted(every(machine))

    def made(what: str, name: str, where: str, change: Callable[[dict[str, Any]], None]) -> Mutant:
        mutant = copy.deepcopy(machine)
        changed = every(mutant)[name]
        change(changed)
        why = _equal(every(machine)[name], changed)
        return Mutant(what, f"{name}: {where}", frozenset({name, *around[name]}), mutant, why)

    yield from _of_head(machine)
    for name, state in every(machine).items():
        for what, where, change in (*_clauses(state), *_ways(state, names), *_values(state)):
            yield made(what, name, where, change)


def _of_head(machine: Definition) -> Iterator[Mutant]:
    changed = {
        "TimeoutSeconds": machine["TimeoutSeconds"] + 1, "StartAt": min(set(machine["States"]) - {machine["StartAt"]}),
        "QueryLanguage": "JSONPath",
    }  # fmt: skip
    for key, value in changed.items():
        yield Mutant("head changed", f"{key}: {value}", frozenset(), machine | {key: value})
    yield Mutant(
        "timeout dropped", "the machine's", frozenset(), {k: v for k, v in machine.items() if k != "TimeoutSeconds"}
    )


Change = tuple[str, str, Callable[[dict[str, Any]], None]]


def _clauses(state: dict[str, Any]) -> Iterator[Change]:
    """Drop or turn about Retry, Catch and Choices; change, drop or widen the names of errors."""
    for key in ("Retry", "Catch", "Choices"):
        clauses = state.get(key, [])
        for n, clause in enumerate(clauses):
            yield f"{key} dropped", str(n), lambda s, key=key, n=n: s[key].pop(n)
            if n + 1 < len(clauses) and not _apart(clause, clauses[n + 1]):
                yield f"{key} swapped", f"{n}", lambda s, key=key, n=n: s[key].insert(n, s[key].pop(n + 1))
            for m, error in enumerate(clause.get("ErrorEquals", [])):
                at = f"{key} {n} {error}"

                def renamed(s: dict[str, Any], to: str, key: str = key, n: int = n, m: int = m) -> None:
                    s[key][n]["ErrorEquals"][m] = to

                yield "error renamed", at, lambda s, r=renamed, error=error: r(s, error + "X")
                for wide, narrow in (("States.ALL", "States.TaskFailed"), ("States.TaskFailed", "States.ALL")):
                    if error == wide:
                        yield "error narrowed", f"{at} -> {narrow}", lambda s, r=renamed, to=narrow: r(s, to)
    if "Default" in state:
        yield "Default dropped", "", lambda s: s.pop("Default")


def _apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether no error is for both of two clauses of Retry or Catch: their order means nothing then."""
    names = [set(clause.get("ErrorEquals", ["States.ALL"])) for clause in (one, other)]
    return not names[0] & names[1] and not {"States.ALL", "States.TaskFailed"} & (names[0] | names[1])


def _ways(state: dict[str, Any], names: list[str]) -> Iterator[Change]:
    """Lead every Next and Default to another state."""

    def other(now: str) -> str:
        return names[(names.index(now) + 1) % len(names)]

    for key in ("Next", "Default"):
        if key in state:
            to = other(state[key])
            yield f"{key} swapped", to, lambda s, key=key, to=to: s.__setitem__(key, to)
    for key in ("Catch", "Choices"):
        for n, clause in enumerate(state.get(key, [])):
            to = other(clause["Next"])
            yield "Next swapped", f"{key} {n} {to}", lambda s, key=key, n=n, to=to: s[key][n].__setitem__("Next", to)


def _values(state: dict[str, Any]) -> Iterator[Change]:
    """Change or drop whatever else the state says: limits, requests, expressions, what it leaves behind."""
    for path, value in _leaves(state):
        where = "/".join(map(str, path))
        for text, other in _others(path, value):
            yield "value changed", f"{where}{text}", lambda s, p=path, v=other: _put(s, p, v)
        if path[-1] in _NUMBERS or path[-1] == "JitterStrategy" or (path[0] in ("Arguments", "Assign") and path[1:]):
            yield "value dropped", where, lambda s, p=path: _drop(s, p)
    for key in ("Assign", "Output", "Arguments", "Items", "ItemSelector", "ItemReader"):
        if key in state:
            yield "value dropped", key, lambda s, key=key: s.pop(key)
        for clauses in ("Catch", "Choices"):
            for n, clause in enumerate(state.get(clauses, [])):
                if key in clause:
                    yield "value dropped", f"{clauses}/{n}/{key}", lambda s, c=clauses, n=n, key=key: s[c][n].pop(key)


def _others(path: tuple[Any, ...], value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value may have become, after a word about it where there is more than one."""
    if isinstance(value, bool):
        yield "", not value
    elif isinstance(value, int | float):
        yield "", value + 1
    elif value is None:
        yield "", 1
    elif value.startswith("{%"):
        yield from ((f" -> {text}", text) for text in _expressions(value))
    elif path[-1] == "Resource":
        short = re.sub(r"\.(sync(:2)?|waitForTaskToken)$", "", value)
        yield "", short if short != value else f"{value}.waitForTaskToken"
    elif path[-1] != "JitterStrategy":
        yield "", f"{value}X"


def _expressions(value: str) -> Iterator[str]:
    """Yield what a JSONata expression may have become."""
    inner = value.removeprefix("{%").removesuffix("%}")
    texts = [m.span() for m in _TEXT.finditer(inner)] + [m.span() for m in re.finditer(r"/\^.*?\$/", inner)]

    def outside(match: re.Match[str]) -> bool:
        return not any(start <= match.start() < end for start, end in texts)

    found = [
        inner[: m.start()] + m.expand(to) + inner[m.end() :]
        for pattern, to in _SWAPS
        for m in re.finditer(pattern, inner)
        if outside(m)
    ]
    found += [inner[: m.start()] + str(int(m[0]) + 1) + inner[m.end() :] for m in _NUMBER.finditer(inner) if outside(m)]
    found += [inner[: m.end() - 1] + "X" + inner[m.end() - 1 :] for m in _TEXT.finditer(inner)]
    found += [inner[: m.start()] + "'X'" + inner[m.end() :] for m in _VARIABLE.finditer(inner) if outside(m)]
    ternary = re.fullmatch(r"(.*?) \? (.*) : (.*)", inner.strip())
    if ternary:
        found.append(f" {ternary[1]} ? {ternary[3]} : {ternary[2]} ")
    found.append(" null ")
    yield from (f"{{%{text}%}}" for text in dict.fromkeys(found) if text.strip() != inner.strip())


_ASIDE = {"Comment", "Type", "Next", "Default", "End", "States", "ErrorEquals", "StartAt", "ProcessorConfig"}


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield path and value of what a state says, but for what other operators change and the states inside a Map."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in _ASIDE or path[:1] in (("Arguments",), ("Assign",), ("Output",)):
                yield from _leaves(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _leaves(value, (*path, number))
    elif path:
        yield path, node


def _put(state: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        state = state[key]
    state[path[-1]] = value


def _drop(state: dict[str, Any], path: tuple[Any, ...]) -> None:
    for key in path[:-1]:
        state = state[key]
    del state[path[-1]]


def _around(machine: Definition, outer: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Return the Maps around each state."""
    found: dict[str, tuple[str, ...]] = {}
    for name, state in machine["States"].items():
        found[name] = outer
        if "ItemProcessor" in state:
            found |= _around(state["ItemProcessor"], (*outer, name))
    return found


def _equal(state: dict[str, Any], mutant: dict[str, Any]) -> str:
    """Return why a mutated state does what the state does, by the rules of the language; nothing where it may not."""
    retried = {key: value for key, value in state.items() if key != "Retry"}
    if "Retry" in state and retried == {key: value for key, value in mutant.items() if key != "Retry"}:
        return "" if _treated(state) != _treated(mutant) else "no error is tried again otherwise"
    if [c for c in state.get("Catch", []) if c["ErrorEquals"] == ["States.Timeout"]]:
        wide = copy.deepcopy(mutant)
        for clause in wide.get("Catch", []):
            clause["ErrorEquals"] = [e.replace("States.TaskFailed", "States.ALL") for e in clause["ErrorEquals"]]
        if wide == state:
            return "States.TaskFailed is all errors but the timeouts, and those are caught before"
    inside = every(state["ItemProcessor"]).values() if "ItemReader" not in state and "ItemProcessor" in state else ()
    all_caught = all("States.ALL" in str(s.get("Catch")) for s in inside if s["Type"] in ("Task", "Map"))
    if inside and all_caught and json.dumps(mutant).replace("States.TaskFailed", "States.ALL") == json.dumps(state):
        return "what is done for each item lets no timeout out"
    kept = sorted(map(str, state.get("Choices", [])))
    excluding = [
        re.fullmatch(r"{% (\$\w+(?:\.\w+)*) = '(\w| )+' %}", rule["Condition"]) for rule in state.get("Choices", [])
    ]
    asked = {match[1] if match else str(n) for n, match in enumerate(excluding)}
    if kept and state != mutant and sorted(map(str, mutant["Choices"])) == kept and len(asked) == 1:
        others = {key: value for key, value in state.items() if key != "Choices"}
        if others == {key: value for key, value in mutant.items() if key != "Choices"}:
            return "one variable is not equal to two texts"
    return ""


def _treated(state: dict[str, Any]) -> dict[str, Any]:
    """Return the pauses after which each error is tried again (Amazon States Language, "Errors": defaults and wildcards)."""
    names = {error for clause in state["Retry"] for error in clause["ErrorEquals"]} | {"States.Timeout", "another"}
    names |= {error.removesuffix("X") for error in names}
    found: dict[str, Any] = {}
    for error in names - {"States.ALL", "States.TaskFailed"}:
        for clause in state["Retry"]:
            named = clause["ErrorEquals"]
            if error in named or "States.ALL" in named or ("States.TaskFailed" in named and error != "States.Timeout"):
                times, first = clause.get("MaxAttempts", 3), clause.get("IntervalSeconds", 1)
                pauses = [first * clause.get("BackoffRate", 2.0) ** n for n in range(times)]
                most = clause.get("MaxDelaySeconds", max(pauses, default=0))
                found[error] = [min(pause, most) for pause in pauses] + [clause.get("JitterStrategy")] * bool(times)
                break
    return {error: pauses for error, pauses in found.items() if pauses}
