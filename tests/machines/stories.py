"""All stories, run once a process: what they played and what the tasks answered."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import Any

from tests.machines import stories_account, stories_adoption, stories_release, stories_run
from tests.machines.outside import Outside
from tests.machines.player import PATHS, Play, definition, every

_FOLDERS: tuple[ModuleType, ...] = (stories_release, stories_run, stories_adoption, stories_account)
STORIES = {
    name: story
    for module in _FOLDERS
    for name, story in vars(module).items()
    if inspect.isgeneratorfunction(story) and story.__module__ == module.__name__ and not name.startswith("_")
    if "contextmanager" not in name
}


@functools.cache
def told(name: str) -> tuple[tuple[tuple[str, Play], ...], dict[tuple[str, str], list[Any]]]:
    """Run a story; return the plays by machine, and the tasks' answers by machine and state."""
    plays: list[tuple[str, Play]] = []
    tape: dict[tuple[str, str], list[Any]] = {}
    stage: Outside
    for stage in STORIES[name]():
        plays += stage.plays
        for place, answers in stage.tape.items():
            tape.setdefault(place, []).extend(answers)
    return tuple(plays), tape


def wanted(kind: str) -> dict[str, set[tuple[str, ...]]]:
    """Return what there is to cover of a machine: states, transitions, Choices rules, Retry and Catch clauses."""
    found: dict[str, set[tuple[str, ...]]] = {
        "states": set(), "transitions": set(), "choices": set(), "retries": set(), "catches": set(),
    }  # fmt: skip
    for name, state in every(definition(kind)).items():
        found["states"].add((name,))
        following = [state[key] for key in ("Next", "Default") if key in state]
        following += [one["Next"] for key in ("Choices", "Catch") for one in state.get(key, [])]
        found["transitions"] |= {(name, "to", one) for one in following}
        for group, key in (("choices", "Choices"), ("retries", "Retry"), ("catches", "Catch")):
            found[group] |= {(name, key, str(number)) for number, _ in enumerate(state.get(key, []))}
        found["choices"] |= {(name, "Choices", "Default")} if "Default" in state else set()
    return found


def covered(kind: str) -> set[tuple[str, ...]]:
    """Return what the stories covered of a machine, the errors' names left out."""
    return {one[:3] for name in STORIES for machine, play in told(name)[0] if machine == kind for one in play.covered}


def table() -> list[str]:
    """Return the coverage of all machines, a line each, and the total."""
    lines, totals = [], dict.fromkeys(("states", "transitions", "choices", "retries", "catches"), (0, 0))
    for kind in PATHS:
        seen, row = covered(kind), []
        for group, there in wanted(kind).items():
            hit, whole = len(there & seen), len(there)
            totals[group] = (totals[group][0] + hit, totals[group][1] + whole)
            row.append(f"{group} {hit}/{whole}")
        lines.append(f"{kind:10}{'   '.join(f'{cell:20}' for cell in row)}")
    cells = (f"{group} {hit}/{whole}" for group, (hit, whole) in totals.items())
    return [*lines, f"{'all':10}{'   '.join(f'{cell:20}' for cell in cells)}"]
