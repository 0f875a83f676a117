"""Each state by itself: what it was seen to do in the stories, and what it does with every error; `python -m` writes them anew.

A case is a state's input, variables and answers, cut short, and what the real definition makes of them: what it sends and
waits, where it leads, what it leaves in output and variables. cases/*.json hold them; a definition that does anything else
fails the tests, and so does a mutant of it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.machines.player import PATHS, Call, Definition, Failed, Player, Seen, definition, every

FOLDER = Path(__file__).parent / "cases"
ERRORS = (
    "Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException", "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException", "BadInputError", "DataError", "NotFoundError", "ConflictError", "BusyError",
    "SageMaker.AmazonSageMakerException", "SageMaker.ThrottlingException", "SageMaker.ResourceLimitExceededException",
    "SageMaker.ResourceLimitExceeded", "SageMaker.ResourceInUseException", "States.Timeout", "States.HeartbeatTimeout",
    "States.TaskFailed", "KeyError",
)  # fmt: skip
"""What a task may fail with: all names that the machines know, and one that none knows."""
_LONG, _MANY, _EACH = 160, 3, 2
AT = datetime(2026, 11, 21, 2, tzinfo=UTC)
Case = dict[str, Any]


def _extra() -> Iterator[tuple[str, Seen]]:
    """Yield what no story waits for: bounds of loops, optional inputs, causes and lists longer than what is told of them."""
    for machine, state, given, variables in _BY_HAND:
        yield machine, Seen(state, given, variables, None)
    yield from _causes()
    yield from _maps()
    progress = {"Payload": {"progress": {"step": 2}, "wait": 60, "why": "by a test", "next": "wait", "fence": 2}}
    for name in ("Start the rollout", "Make the next update"):
        yield (
            "release",
            Seen(name, {}, {one: one for one in _used(every(definition("release"))[name])}, None, [progress]),
        )


def _causes() -> Iterator[tuple[str, Seen]]:
    given = {"model": "flights", "shard": {"number": 3}, "things": {}, "why": "", "work": "w", "data": {"a": 1}}
    item = {"Item": {"Index": 0, "Value": 1}}
    for machine in PATHS:
        for name, state in every(definition(machine)).items():
            variables = {one: one for one in _used(state)} | _NESTED
            caught = {error for clause in state.get("Catch", []) for error in clause["ErrorEquals"]} - {
                "States.Timeout"
            }
            for cause in _CAUSES if state["Type"] == "Task" else ():
                for error in sorted(caught):
                    failure = {"Error": error.replace("States.ALL", "DataError"), "Cause": cause}
                    yield machine, Seen(name, given, variables, item, [failure])


def _maps() -> Iterator[tuple[str, Seen]]:
    window = {
        "count": 1,
        "bucket": "b",
        "key": "k",
        "work": "w",
        "model": "flights",
        "shards": 2,
        "correlation_id": "c",
    }
    lost = {"Error": "Lost", "Cause": '{"errorMessage": "lost", "errorType": "E"}'}
    for count in (1, 2, 3):
        for answer in ({"Payload": {}}, {"Payload": {"shards": 2}}, {"Error": "DataError", "Cause": "no"}, lost):
            yield "monitor", Seen("Look at each window", window | {"count": count}, {}, None, [answer])
    for count in (200, 201):
        large = [{"Payload": {"shards": 2}}] * count
        yield "monitor", Seen("Look at each window", window | {"count": count, "items": count}, {}, None, large)
    for word in ("gone", "late"):
        yield "monitor", Seen("Look at each window", window | {"bucket": word}, {}, None)
        yield "monitor", Seen("Profile its files in shards", window | {"work": word * 60}, {}, None)
    shards = {"large": [window], "failed": []}
    yield "monitor", Seen("Look at each large window", {}, shards, None, [{"Payload": {}}, lost])
    for name, items in (("Look at each large window", "large"), ("Explain each sample", "jobs")):
        yield "monitor", Seen(name, {}, {items: [window], "failed": []}, None, [lost])
    transforms = {"evaluation": {"transforms": [{"a": 1}]}}
    for answer in (lost, {"Error": "States.Timeout", "Cause": "late"}):
        yield "retrain", Seen("Let both answer the held-out rows", {}, transforms, None, [answer])


TOO_FAST = ("ThrottlingException", "Rate exceeded", "Status Code: 503", "Status Code: 400")
_CAUSES = (
    json.dumps({"errorMessage": "x" * 500, "errorType": "E"}), '{"errorMessage": "short", "errorType": "E"}',
    '{"ExitMessage": "short", "a": 1}', '{"FailureReason": "short", "a": 1}',
)  # fmt: skip
_BY_HAND: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    *(("intake", "Is the batch closed?", {}, {"closed": False, "looks": n}) for n in (1000, 1001)),
    ("intake", "Remember the batch", {"model": "m", "batch": "b", "correlation_id": "c"}, {}),
    ("intake", "Remember the batch", {"model": "m", "batch": "b", "correlation_id": "c", "quiet_seconds": 7}, {}),
    *(("watch", "Is there something to do?", {}, {"next": "wait", "looks": n}) for n in (699, 700)),
    *((m, "How long has it waited?", {}, {"waits": n}) for m in ("release", "rollback") for n in (479, 480)),
    ("release", "Remember what to release", {"model": "m"}, {}),
    ("release", "Remember what to release", {"model": "m", "version": 2, "back": False}, {}),
    ("release", "Remember what to release",
     {"model": "m", "version": 2, "back": True, "serving": 1, "reason": "r", "correlation_id": "c"}, {}),
    ("rollback", "Remember what to take back", {"model": "m"}, {}),
    ("rollback", "Remember what to take back",
     {"model": "m", "to_version": 2, "lease": {"fence": 1}, "serving": 1, "reason": "r", "correlation_id": "c"}, {}),
    ("monitor", "Remember the time", {}, {}),
    ("monitor", "Remember the time", {"again": False}, {}),
    ("monitor", "Remember the time", {"time": "t", "again": True, "correlation_id": "c"}, {}),
    *(("monitor", "Did every look succeed?", {}, {"failed": [f"reason {i}" for i in range(n)]}) for n in (20, 21, 23)),
    *(("retrain", "Was it only too fast?", {}, {"throttles": n, "failure": {"Cause": c}}) for n in (8, 9) for c in TOO_FAST),
    *(("retrain", "Was the job only asked for too fast?", {}, {"tries": n, "refusal": {"Cause": c}})
      for n in (8, 9) for c in TOO_FAST),
    *(("retrain", "Slow down", {}, {"throttles": n}) for n in (1, 2, 6, 7)),
    *(("retrain", "Ask again later", {}, {"tries": n}) for n in (1, 2, 6, 7)),
    *(("retrain", "Who decides?", {}, {"judged": {"tier": t, "why": "w"}}) for t in ("automatic", "person", "reject")),
    *(("retrain", "May it go on on demand?", {}, {"plan": p, "failure": {"Cause": c}})
      for p in ({"on_demand": {"a": 1}}, {"request": 1}) for c in ("MaxWaitTimeExceeded: none came", "AlgorithmError")),
    *(("retrain", "The run failed", {},
       {"failure": {"Error": "KeyError", "Cause": "x" * 1100}, "ended": {"error": e, "why": "w"}})
      for e in ("none", "Throttled")),
]  # fmt: skip
_NESTED: dict[str, Any] = {
    "run": {
        "run": "r1", "spec": {}, "inputs_uri": "u", "too_large": False, "champion": {"version": 1},
        "trigger": {}, "decision_seconds": 60,
    },
    "prepared": {"features_uri": "f", "labels_uri": "l"}, "evaluation": {"trained": {}, "predictions": {}, "transforms": []},
    "judged": {"metrics": {}, "champion_metrics": {}, "evaluation_uri": "e", "why": "w"},
    "candidate": {"version": 1, "package_arn": "a"},
    "decision": {"approval_status": "Approved", "decided_by": "ada", "comment": "seen"}, "plan": {"request": {"a": 1}},
    "validation": {"failures": ["f"]}, "window": {"model": "flights"}, "request": {"ProcessingJobName": "j"},
    "waits": 1, "watches": 1, "throttles": 1, "tries": 1, "looks": 1,
}  # fmt: skip


def _used(state: dict[str, Any]) -> list[str]:
    return sorted(set(re.findall(r"\$([A-Za-z_]\w*)\b(?!\s*\()", json.dumps(state))) - {"states"})


def _short(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {"model": "flights"} if name == "spec" else {key: _short(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value[:_MANY]]
    return value[:_LONG] if isinstance(value, str) else value


def _answering(seen: Seen) -> Player:
    """Return a player whose tasks get these answers, and one that asks once more the last again; files list `items` things."""
    answers, items = seen.answers, seen.given.get("items", 1) if isinstance(seen.given, dict) else 1
    left = list(answers)

    def answer(_: Call) -> Any:
        if not left:
            raise Failed("NoAnswer")
        found = left.pop(0) if len(left) > 1 or "Error" not in (left[0] or {}) else left[0]
        if isinstance(found, dict) and found.get("Error") == "Lost":
            raise RuntimeError(found["Cause"])  # no Catch of the task sees it: the service itself lost the item
        if isinstance(found, dict) and "Error" in found:
            raise Failed(found["Error"], found["Cause"])
        return found

    def read(bucket: str, key: str) -> str:
        for word, error in (("gone", "States.ItemReaderFailed"), ("late", "States.Timeout")):
            if word in (bucket, str(key)[:4]):
                from ministack.services.stepfunctions import _ExecutionError  # noqa: PLC0415 - reads its environment at import

                raise _ExecutionError(error, json.dumps({"errorMessage": key, "errorType": "E"}))
        return json.dumps([{"read": key, "from": bucket, "model": "flights"}] * items)

    return Player(answer, lambda: AT, lambda _: None, read)


def does(machine: Definition, seen: Seen) -> dict[str, Any]:
    """Return what a state of this definition does with what it was seen to get, and what it says that no play shows."""
    done = _answering(seen).enter(machine, seen)
    done["steps"] = _counted(done["steps"])
    return done | _says(every(machine)[seen.state])


def _says(state: dict[str, Any]) -> dict[str, Any]:
    """Return how a Map is carried out: the interpreter reads nothing of it."""
    if state["Type"] != "Map":
        return {}
    reader, how = state.get("ItemReader", {}), state["ItemProcessor"]
    said = {"reader": [reader.get("Resource"), reader.get("ReaderConfig")], "starts": how["StartAt"]}
    said |= {"mode": how.get("ProcessorConfig"), "tolerates": state.get("ToleratedFailurePercentage")}
    return {"says": said}


def _counted(steps: list[dict[str, Any]]) -> list[Any]:
    """Return the steps by attempts; attempts that are the same once, with how many there are."""
    attempts: list[list[Any]] = [[]]
    for step in steps:
        if "resource" in step:
            attempts.append([])
        attempts[-1].append(step)
    return [[len(list(same)), attempt] for attempt, same in itertools.groupby(attempts) if attempt]


def fails(machine: Definition, name: str, seen: Seen) -> dict[str, list[str]]:
    """Return what a task does with every error that does not go away: how often it asks, its pauses, where it leads."""
    found: dict[str, list[str]] = {}
    for error in ERRORS:
        once = Seen(name, seen.given, seen.variables, seen.item, [{"Error": error, "Cause": "{}"}])
        done = _answering(once).enter(machine, once)
        pauses = [
            json.dumps(step).strip("{}").replace('"', "")
            for step in done["steps"]
            if next(iter(step)).startswith("wait")
        ]
        ends = (
            f"then {done['then']}"
            if "then" in done
            else f"fails {'as ' + error if done['error'] != error else ''}".strip()
        )
        grouped = [f"{len(list(same))} x {pause}" for pause, same in itertools.groupby(pauses)]
        found.setdefault("; ".join([*grouped, ends]), []).append(error)
    return found


@functools.cache
def known(machine: str) -> dict[str, Any]:
    """Return the cases of a machine as they stand in cases/."""
    return dict(json.loads((FOLDER / f"{machine}.json").read_text()))


def seen(case: Case, name: str) -> Seen:
    """Return what a state got, from a case."""
    return Seen(name, case["given"], case["variables"], case.get("item"), case["answers"])


def head(machine: Definition) -> dict[str, Any]:
    """Return what a machine says before its first state, its Comment aside."""
    return {key: value for key, value in machine.items() if key not in ("States", "Comment")}


def differs(machine: str, mutant: Definition, names: set[str]) -> str:
    """Return the first of the known cases in which states of a mutant do something else; nothing when none does."""
    cases = known(machine)
    if head(mutant) != cases["head"]:
        return "head"
    for name in sorted(names):
        entry = cases["states"].get(name)
        if entry is None:
            return f"{name}: unknown"
        for number, case in enumerate(entry["cases"]):
            if does(mutant, seen(case, name)) != case["does"]:
                return f"{name}, case {number}"
        if "fails" in entry and fails(mutant, name, seen(entry["cases"][0], name)) != entry["fails"]:
            return f"{name}, an error"
    return ""


def _recorded() -> dict[str, dict[str, list[Seen]]]:
    from tests.machines.stories import STORIES, told  # noqa: PLC0415 - only who writes anew plays the stories

    found: dict[str, dict[str, list[Seen]]] = {machine: {} for machine in PATHS}
    for story in STORIES:
        for machine, play in told(story)[0]:
            for one in play.seen:
                found[machine].setdefault(one.state, []).append(one)
    return found


def write() -> None:
    """Write cases/*.json from the stories: of what leads to the same end by the same clause the first, and all by hand."""
    recorded, by_hand = _recorded(), list(_extra())
    FOLDER.mkdir(exist_ok=True)
    for machine in PATHS:
        whole = definition(machine)
        states: dict[str, Any] = {}
        for name, state in every(whole).items():
            used = _used(state)
            ends = state["Type"] in ("Succeed", "Fail")
            played = _before(name, whole, recorded[machine]) if ends else recorded[machine].get(name, [])
            kept: dict[str, Case] = {}
            for one in played:
                cut = Seen(name, _short(one.given), _short(one.variables), _short(one.item), _short_each(one.answers))
                sign, case = _case(whole, cut, used)
                kept.setdefault(sign, case)
            cases = list(kept.values())
            for one in (o for m, o in by_hand if (m, o.state) == (machine, name)):
                case = _case(whole, one, used)[1]
                cases += [case] if case not in cases else []
            states[name] = {"cases": cases}
            if state["Type"] == "Task":
                states[name]["fails"] = fails(whole, name, seen(cases[0], name))
        lines = (f" {json.dumps(name)}: {_lines(entry)}" for name, entry in states.items())
        text = f'{{"head": {json.dumps(head(whole))}, "states": {{\n' + ",\n".join(lines) + "}}\n"
        (FOLDER / f"{machine}.json").write_text(text)


def _lines(entry: dict[str, Any]) -> str:
    """Return a state's entry as JSON, a case a line: that is what a change of the definition shows in a diff."""
    cases = ",\n  ".join(json.dumps(case) for case in entry["cases"])
    fails_ = f',\n  "fails": {json.dumps(entry["fails"])}' if "fails" in entry else ""
    return f'{{"cases": [\n  {cases}]{fails_}}}'


def _case(machine: Definition, one: Seen, used: list[str]) -> tuple[str, Case]:
    """Return a case, and what tells it from others: where it leads, by which clause, what it leaves."""
    variables = {key: value for key, value in one.variables.items() if key in used}
    cut = Seen(one.state, one.given, variables, one.item, one.answers)
    player = _answering(cut)
    with contextlib.suppress(RuntimeError):
        player.enter(machine, cut)
    clauses = sorted(by[:3] for by in player.covered if by[1:2] in (("Choices",), ("Catch",)))
    done = does(machine, cut)
    case = {"given": cut.given, "variables": variables, "answers": cut.answers, "does": done}
    case |= {"item": cut.item} if cut.item else {}
    return json.dumps([done.get("then"), done.get("error"), clauses, _shape(done)]), case


def _short_each(answers: list[Any]) -> list[Any]:
    return [_short(answer) for answer in answers]


def _shape(done: dict[str, Any]) -> Any:
    return [*sorted(done.get("assigns", {})), sorted(done["output"]) if isinstance(done.get("output"), dict) else ""]


def _before(name: str, machine: Definition, recorded: dict[str, list[Seen]]) -> list[Seen]:
    """Return what a state that ends gets: the input and variables that the states before it leave."""
    found = []
    for before, state in every(machine).items():
        leads = [
            state.get("Next"),
            state.get("Default"),
            *(one["Next"] for k in ("Choices", "Catch") for one in state.get(k, [])),
        ]
        if name in leads:
            for one in recorded.get(before, []):
                done = _answering(one).enter(machine, one)
                if done.get("then") == name:
                    found.append(Seen(name, done["output"], one.variables | done.get("assigns", {}), one.item))
    return found


if __name__ == "__main__":
    write()
