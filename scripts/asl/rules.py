"""Linnet's own rules for its state machines, which statelint and asl-validator cannot know: definitions in, sentences out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from scripts.asl.graph import END, FUNCTIONS, Scope, State, distributed, nested, own, reach, roads, scopes, used
from scripts.asl.history import HISTORY, Bounds, UnboundedError, worst

# https://states-language.net/#appendix-a, and Step Functions' own beyond it
# (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
STATES_ERRORS = {
    f"States.{name}"
    for name in (
        "ALL", "BranchFailed", "DataLimitExceeded", "ExceedToleratedFailureThreshold", "HeartbeatTimeout", "ItemReaderFailed",
        "NoChoiceMatched", "Permissions", "QueryEvaluationError", "ResultWriterFailed", "Runtime", "TaskFailed", "Timeout",
    )
}  # fmt: skip
LAMBDA_ERRORS = {
    f"Lambda.{name}"
    for name in (
        "AWSLambdaException", "ClientExecutionTimeoutException", "SdkClientException", "ServiceException",
        "TooManyRequestsException", "Unknown",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What the rules know of the world beside the definitions.

    `errors` are the names that a Retry or a Catch may have beside those of ASL and Lambda; `closing` the substitutions
    (`CloseRunFunctionArn`) of who gives back what is held or tells people; `excused` the tasks, by path, whose failure need
    not reach such a state, each with its reason; `bounds` as in `history.worst`; `proven` the variables, by path of the scope
    and two states, that must have been assigned when the road from one to the other is taken, since its condition says so.
    """

    errors: frozenset[str] = frozenset()
    closing: frozenset[str] = frozenset()
    excused: Mapping[str, str] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=dict)
    proven: Mapping[tuple[str, str, str], frozenset[str]] = field(default_factory=dict)


Rule = Callable[[str, Scope, Known], Iterator[str]]


def check(name: str, definition: Scope, known: Known) -> list[str]:
    """Return what is wrong with a machine, a sentence each that begins with the path of the state."""
    return [found for rule in RULES for found in rule(name, definition, known)]


def _every(name: str, definition: Scope) -> Iterator[tuple[str, State]]:
    for at, scope in scopes(definition, name):
        for state_name, state in scope["States"].items():
            yield f"{at}/{state_name}", state


def _timeouts(name: str, definition: Scope, _: Known) -> Iterator[str]:
    """A task without a timeout waits for a lost answer as long as the execution may live."""
    longest = definition.get("TimeoutSeconds", 0)
    if not longest:
        yield f"{name}: the machine has no TimeoutSeconds"
    for at, state in _every(name, definition):
        if state["Type"] != "Task":
            continue
        seconds = state.get("TimeoutSeconds")
        if seconds is None or (isinstance(seconds, int) and not 0 < seconds <= longest):
            yield f"{at}: TimeoutSeconds is {seconds}; allowed: 1 to the machine's {longest}, or an expression"


def _heartbeats(name: str, definition: Scope, _: Known) -> Iterator[str]:
    """Who waits for a token waits for a sign of life, or says what silence means; a job's own end wakes who waits for it.

    A person sends no heartbeat, and Step Functions sends none for a job: SendTaskHeartbeat needs the token
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskHeartbeat.html).
    """
    for at, state in _every(name, definition):
        resource = str(state.get("Resource", ""))
        beat = state.get("HeartbeatSeconds")
        told = {error for c in state.get("Catch", []) for error in c["ErrorEquals"]}
        if resource.endswith(".waitForTaskToken"):
            if beat is None and "States.Timeout" not in told:
                yield f"{at}: waits for a token with neither HeartbeatSeconds nor a Catch of States.Timeout by its name"
            if "$states.context.Task.Token" not in str(state.get("Arguments", "")):
                yield f"{at}: waits for a token that it gives to nobody"
        elif beat is not None:
            yield f"{at}: HeartbeatSeconds without a token: nobody can send the heartbeat"
        if isinstance(beat, int) and isinstance(state.get("TimeoutSeconds"), int) and beat >= state["TimeoutSeconds"]:
            yield f"{at}: HeartbeatSeconds {beat} is not below TimeoutSeconds {state['TimeoutSeconds']}"


def _defaults(name: str, definition: Scope, _: Known) -> Iterator[str]:
    """A Choice without Default ends the execution with States.NoChoiceMatched, past every Catch."""
    for at, state in _every(name, definition):
        if state["Type"] == "Choice" and "Default" not in state:
            yield f"{at}: a Choice without Default"


def _closing(state: State, known: Known) -> bool:
    arguments = state.get("Arguments")
    called = arguments if isinstance(arguments, Mapping) else {}
    names = {str(called.get(key, "")) for key in ("FunctionName", "StateMachineArn", "TopicArn")}
    return bool(names & {f"${{{name}}}" for name in known.closing})


def _closed(name: str, definition: Scope, known: Known) -> Iterator[str]:
    """A failure leads to where what is held is given back and people are told, whatever road it takes.

    What fails inside a Map or a Parallel is caught by that. A closing state itself may only try again.
    """
    states = definition["States"]
    closing = {state for state in states if _closing(states[state], known)}
    open_roads = [road for road in roads(definition) if road.source not in closing]
    for state, said in states.items():
        if said["Type"] not in ("Task", "Map", "Parallel"):
            continue
        caught = {error for c in said.get("Catch", []) for error in c["ErrorEquals"]}
        again = {error for r in said.get("Retry", []) for error in r["ErrorEquals"]}
        if "States.ALL" not in caught and not (state in closing and "States.ALL" in again):
            yield f"{name}/{state}: no Catch of States.ALL"
        onward = [road for road in open_roads if road.source != state]  # to come back is to try again
        for road in open_roads:
            if road.kind != "catch" or road.source != state or f"{name}/{state}" in known.excused:
                continue
            if END in reach(onward, road.target):
                yield f"{name}/{state}: its failure can end by {road.target!r} without passing any of {sorted(closing)}"


def _errors(name: str, definition: Scope, known: Known) -> Iterator[str]:
    """A name that nothing raises is a Retry or a Catch that never happens."""
    raised = {str(state.get("Error")) for _, state in _every(name, definition) if state["Type"] == "Fail"}
    names = STATES_ERRORS | LAMBDA_ERRORS | known.errors | raised
    for at, state in _every(name, definition):
        for clause in [*state.get("Retry", []), *state.get("Catch", [])]:
            for error in clause["ErrorEquals"]:
                if error not in names:
                    yield f"{at}: {error} is raised by nothing"


def _variables(name: str, definition: Scope, known: Known) -> Iterator[str]:
    """A variable that is read is assigned on every road to its reader; one that is assigned is read somewhere."""
    yield from _unassigned(name, definition, frozenset(), known)
    states = [own(state) for _, state in _every(name, definition)]
    given = {variable for state in states for variable in _assigned(state)}
    for variable in sorted(given - set().union(*(used(state) for state in states))):
        yield f"{name}: ${variable} is assigned and never read"


def _assigned(state: State) -> set[str]:
    clauses = [state, *state.get("Catch", []), *state.get("Choices", [])]
    return {variable for clause in clauses for variable in clause.get("Assign", {})}


def _unassigned(at: str, scope: Scope, given: frozenset[str], known: Known) -> Iterator[str]:
    """Yield the readers of a scope whose variable some road does not assign; `given` is assigned outside the scope."""
    states, found = scope["States"], roads(scope)
    everything = given | {variable for state in states.values() for variable in _assigned(state)}
    # What is assigned whatever road was taken: the largest solution, so begin with everything and take away.
    sure = dict.fromkeys(states, everything) | {scope["StartAt"]: given}
    changed = True
    while changed:
        changed = False
        for road in found:
            proven = known.proven.get((at, road.source, road.target), frozenset())
            arrives = sure[road.source] | set(road.assigned) | proven
            if road.target != END and not sure[road.target] <= arrives:
                sure[road.target] = sure[road.target] & arrives
                changed = True
    for name, state in states.items():
        for variable in sorted(used(own(state)) - sure[name] - (FUNCTIONS - everything)):
            yield f"{at}/{name}: ${variable} is not assigned on every road to here"
        for inner in nested(state):  # the children of a Distributed Map see nothing of their parent
            seen = frozenset() if distributed(state) else frozenset(sure[name])
            yield from _unassigned(f"{at}/{name}", inner, seen, known)


def _history(name: str, definition: Scope, known: Known) -> Iterator[str]:
    """An execution ends at 25,000 events, whatever holds its lease."""
    try:
        events = worst(definition, name, known.bounds)
    except UnboundedError as error:
        yield str(error)
        return
    if events >= HISTORY:
        yield f"{name}: its history can have {events:,} events; allowed: below {HISTORY:,}"


RULES: tuple[Rule, ...] = (_timeouts, _heartbeats, _defaults, _closed, _errors, _variables, _history)
