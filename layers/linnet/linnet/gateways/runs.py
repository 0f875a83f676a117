"""Runs: the slot that one run a model holds, the reasons it answers, and its end. All writes are conditional and re-entrant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

from linnet.decisions import failures, governor, names, processing, signals
from linnet.events.signals import Signal
from linnet.gateways import approvals, batches, jobs, labelled, ledger, machines, notifications, s3, seals, specs
from linnet.settings import settings


def keep(signal: Signal, state: str, correlation_id: str) -> None:
    """Write a signal's reason and its history entry, both or neither, once."""
    subject, entry = f"model/{signal.model}", signal.model_dump() | {"correlation_id": correlation_id}
    reason = ledger.new(subject, f"reason#{signal.id}", {"state": state, "signal": signal.model_dump()})
    ledger.append(subject, "signal", signal.at, entry, key=signal.id, beside=[reason])


def waiting(model: str) -> list[Signal]:
    """Return the signals that no run has answered yet, oldest first."""
    return reasons_of(model, "waiting")


def reasons_of(model: str, *states: str) -> list[Signal]:
    """Return the model's signals whose reasons are in one of these states, oldest first.

    States: noted (starts nothing), asking (a person is asked first), waiting, answered (by a run), declined.
    """
    rows = [r for r in ledger.query(f"model/{model}", "reason#") if r["state"] in states]
    return sorted((Signal.model_validate(r["signal"]) for r in rows), key=lambda s: (s.at, s.id))


def start(model: str, at: str, attempt: str = "", spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Start `retrain` for the waiting signals if a run may start now; else they stay. Return `{started}` or `{waits}`.

    The execution's name follows from the signals, the slot's turn and `attempt`: two callers that see the same start one.
    """
    slot = ledger.read(f"model/{model}", "slot") or {}
    if slot.get("owner"):  # before the reasons, which grow: a signal to a taken slot costs one read
        return {"waits": f"run {slot.get('run')} holds the slot since {slot.get('since')}"}
    reasons = waiting(model)
    if not reasons:
        return {"waits": "no signal waits"}
    answer = governor.may_start(slot, spec or specs.spec_of(model), at)
    if not answer.start:
        return {"waits": answer.why}
    name = f"{model}-{names.digest([r.id for r in reasons], slot.get('turn', 0), attempt)}"
    given = {"model": model, "correlation_id": reasons[0].id}
    machines.start(settings().retrain_machine, name, given)
    return {"started": name}


def take_slot(model: str, execution: str, at: str, correlation_id: str) -> dict[str, Any]:
    """Claim the model's slot for this execution and say what the run works on, or why there is nothing to do.

    The same checks hold however the execution was started; one started by hand is its own signal (TG-06).

    Raises:
        BadInputError: the model is not onboarded.
    """
    spec = specs.spec_of(model)
    reasons = reasons_of(model, "waiting", "asking")
    held = ledger.read(f"model/{model}", "slot") or {}
    run = names.run_id(model, execution)
    if not reasons and held.get("owner") != execution:
        if ledger.read(f"model/{model}", f"reason#{correlation_id}"):  # it was started for this one
            return _nothing(model, run, "another run answered its reasons", correlation_id)
        by_hand = signals.of_hand(model, execution, at)
        keep(by_hand, "waiting", correlation_id)
        reasons = [by_hand]
    answer = governor.may_start(held, spec, at, me=execution)
    if not answer.start or not _claim(model, execution, run, at, held):
        return _nothing(model, run, answer.why or "another run took the slot in the same moment", correlation_id)
    if held.get("owner") == execution:  # a repeated call: the reasons are those that the first one took
        reasons = [
            Signal.model_validate(r["signal"])
            for r in ledger.query(f"model/{model}", "reason#")
            if r["state"] in ("waiting", "asking") or r.get("run") == run
        ]
    found = batches.for_run(model, spec["data"]["window_batches"])
    live = labelled.for_run(model, spec["data"].get("labelled_capture_days", 0), at)
    snapshot = names.digest(
        [b["digest"] for b in found], live["truth"], spec["data"], spec["training"], spec["evaluation"]
    )
    _answer(model, reasons, run)
    why = "there is no accepted data yet" if not found else ""
    if not why and snapshot == held.get("judged"):
        why = "nothing is new since the last judged run: the same data, training and gates"
    if why:
        free(model, execution, at, judged=False, began=False)
        return _nothing(model, run, why, correlation_id)
    return _begin(
        model, spec, run, execution, at, reasons, found=found, live=live, snapshot=snapshot,
        correlation_id=correlation_id,
    )  # fmt: skip


def _claim(model: str, execution: str, run: str, at: str, held: Mapping[str, Any]) -> bool:
    """Take the slot if it is free or ours; count the run once for its day."""
    mine = held.get("owner") == execution
    count = int(held.get("day_runs", 0)) if held.get("day") == governor.day(at) else 0
    taken = {"owner": execution, "run": run, "since": at, "day": governor.day(at), "day_runs": count + (not mine)}
    if held.get("month") != governor.month(at):
        taken |= {"month": governor.month(at), "month_cost": 0}
    if mine:
        return True
    # The turn guards what was read: of two that read the same free slot, one writes.
    return (
        ledger.change(
            f"model/{model}", "slot", put=taken | {"turn": int(held.get("turn", 0))},
            only_if="attribute_not_exists(pk) OR (attribute_not_exists(#owner) AND #turn = :turn) OR #owner = :me",
            given={"turn": int(held.get("turn", 0)), "me": execution},
        )
        is not None
    )  # fmt: skip


def _answer(model: str, reasons: list[Signal], run: str) -> None:
    for reason in reasons:
        ledger.change(
            f"model/{model}", f"reason#{reason.id}", put={"state": "answered", "run": run},
            only_if="#state IN (:waiting, :asking)", given={"waiting": "waiting", "asking": "asking"},
        )  # fmt: skip


def _nothing(model: str, run: str, why: str, correlation_id: str) -> dict[str, Any]:
    return {"proceed": False, "why": why, "model": model, "run": run, "correlation_id": correlation_id}


def _begin(
    model: str, spec: dict[str, Any], run: str, execution: str, at: str, reasons: list[Signal], *,
    found: list[dict[str, Any]], live: Mapping[str, Any], snapshot: str, correlation_id: str,
) -> dict[str, Any]:  # fmt: skip
    inputs = {"batches": [b | {"newest": b is found[-1]} for b in found], "labelled": live, "snapshot": snapshot}
    inputs["spec"] = spec
    files = chain(*(b["objects"] for b in found), live["capture"], live["truth"])
    uri, listed = f"s3://{settings().data_bucket}/results/{model}/{run}/inputs.json", json.dumps(inputs).encode()
    sealed = seals.of_bytes(uri, listed, s3.put(uri, listed))
    # A run that dies before its data is judged leaves a report that says so (DV-02).
    unknown = {"version": 1, "model": model, "run": run, "at": at, "verdict": "UNKNOWN", "failures": [], "batches": {}}
    s3.put(f"s3://{settings().data_bucket}/results/{model}/{run}/validation_report.json", json.dumps(unknown).encode())
    champion = ledger.read(f"model/{model}", "champion")
    shown = signals.trigger(reasons)
    row = {
        "run": run, "execution": execution, "state": "running", "trigger": shown, "signals": [r.id for r in reasons],
        "batches": [b["batch"] for b in found], "inputs_uri": uri, "snapshot": snapshot, "at": at,
        "correlation_id": correlation_id, "sealed": sealed,
    }  # fmt: skip
    begun = ledger.new(f"model/{model}", f"run#{run}", row)
    ledger.append(f"model/{model}", "run-started", at, row, key=run, beside=[begun])
    return {
        "proceed": True, "why": "", "model": model, "run": run, "trigger": shown, "spec": spec, "inputs_uri": uri,
        "too_large": processing.too_large(spec, (int(o["size"]) for o in files)),
        "champion": {k: champion[k] for k in ("version", "package_arn", "model_name")} if champion else None,
        "training_job": names.job(settings().stack, model, run), "correlation_id": correlation_id,
        "decision_seconds": spec["approval"]["timeout_hours"] * 3600,
    }  # fmt: skip


def free(
    model: str, execution: str, at: str, *, judged: bool, snapshot: str = "", registered: str = "", cost: float = 0,
    then_start: bool = True, began: bool = True,
) -> bool:  # fmt: skip
    """Give the slot back if this execution holds it, then start the next run if one waits.

    A judged run is remembered, so that nothing new starts nothing. The run that `registered` a candidate cools down. Where
    no run `began`, the day has one more: what finds nothing new must not keep what is new waiting until tomorrow.
    """
    more: dict[str, Any] = {"judged": snapshot} if judged and snapshot else {}
    more |= {"cooled_from": at, "cooled_by": registered} if registered else {}
    counted = {"turn": 1, "month_cost": cost} | ({} if began else {"day_runs": -1})
    freed = ledger.change(
        f"model/{model}", "slot", put=more, remove=("owner", "run", "since"), add=counted,
        only_if="#owner = :me", given={"me": execution},
    )  # fmt: skip
    if then_start:
        start(model, at)  # also when freed before: a crash in between must not leave what waits to the reconciler
    return freed is not None


def close(
    model: str, run: str, execution: str, at: str, outcome: str, why: str, *, correlation_id: str, again: bool = False
) -> dict[str, Any]:
    """End a run: its row, one message, the history, the slot (NO-01). Repeating it changes nothing.

    Outcomes: approved, rejected, refused, not better, below threshold, expired, and those of failures.BROKEN. The reasons
    of one that may end well later (failures.AGAIN, or `again`) wait once more, as often as the spec's `retries` allow.

    Raises:
        BusyError: a job of the broken run still stops; the slot stays taken until it has (F33).
    """
    row = ledger.read(f"model/{model}", f"run#{run}") or {}
    broken = outcome in failures.BROKEN
    if broken:
        jobs.stop(model, run)
    judged = not broken and outcome != "refused"
    ledger.change(
        f"model/{model}", f"run#{run}", put={"state": outcome, "why": why, "ended": at},
        only_if="#state = :running OR #state = :registered", given={"running": "running", "registered": "registered"},
    )  # fmt: skip
    if broken or outcome == "expired":  # nobody waits for the answer any more
        for question in approvals.waiting(model):
            if question.get("run") == run:
                approvals.expire(question["decision_id"], at=at, why=why)
    spec = specs.read(model)
    if spec and (again or outcome in failures.AGAIN) and _wait_again(model, run, spec["retraining"]["retries"]):
        why = f"{why} It is tried again."
    entry = {
        "run": run,
        "outcome": outcome,
        "why": why,
        "trigger": row.get("trigger"),
        "correlation_id": correlation_id,
    }
    if not ledger.told(f"model/{model}", "run-ended", run):
        kind: notifications.Kind = "run-failed" if broken or outcome == "refused" else "run-finished"
        notifications.notify(
            kind,
            model=model,
            subject=f"{model}: run {run} ended: {outcome}",
            what=f"The run ended as {outcome}. {why}",
            why=json.dumps(row.get("trigger", {})),
            proof=f"s3://{settings().data_bucket}/results/{model}/{run}/",
            next_step=_NEXT.get(outcome, 'Read the reason; start again by hand with {"model": "' + model + '"}.'),
            correlation_id=correlation_id,
            execution=execution,
            trigger_reason=(row.get("trigger") or {}).get("TriggerReason"),
            performance=((ledger.entry(f"model/{model}", "judgement", run) or {}).get("detail")),
        )
    ledger.append(f"model/{model}", "run-ended", at, entry, key=run)
    if outcome == "rejected":  # what a person refused does not keep the next run waiting
        ledger.change(
            f"model/{model}",
            "slot",
            remove=("cooled_from", "cooled_by"),
            only_if="#cooled_by = :run",
            given={"run": run},
        )
    spent = cost(spec, run) if spec else 0
    # What broke for want of something is tried by the reconciler, so that its pace is the pace of the retries.
    free(model, execution, at, judged=judged, snapshot=str(row.get("snapshot", "")), cost=spent, then_start=not broken)
    return {"outcome": outcome, "why": why}


def _wait_again(model: str, run: str, retries: int) -> bool:
    """Let the reasons that a broken run answered wait for another; say whether any does. Repeating it changes nothing."""
    kept = False
    for row in ledger.query(f"model/{model}", "reason#"):
        if row.get("run") != run:
            continue
        tries = int(row.get("tries", 0))
        kept |= row["state"] == "waiting" or (
            tries < retries
            and ledger.change(
                f"model/{model}", str(row["sk"]), put={"state": "waiting", "tries": tries + 1},
                only_if="#state = :answered AND #run = :run", given={"answered": "answered", "run": run},
            )
            is not None
        )  # fmt: skip
    return kept


def fail(
    model: str, run: str, execution: str, at: str, failure: Mapping[str, Any], *, correlation_id: str
) -> dict[str, Any]:
    """End a run that a step broke, with the outcome that the step's error means; return `{outcome, error, why}`."""
    ended = failures.ending(str(failure["Error"]), str(failure.get("Cause") or ""), str(failure.get("Code") or ""))
    close(model, run, execution, at, ended.outcome, ended.why, correlation_id=correlation_id)
    return {"outcome": ended.outcome, "error": ended.error, "why": ended.why}


def cost(spec: Mapping[str, Any], run: str) -> float:
    """Return what a run's training was billed, by the price of the spec's budget; 0 without one."""
    if not spec["retraining"].get("budget"):
        return 0.0
    return governor.cost(spec, jobs.billed_instance_seconds(spec["model"], run))


_SHOWN = 10
_NEXT = {
    "approved": "The release starts by the registry's event.",
    "rejected": "Nothing to do: the champion serves on.",
    "not better": "Nothing to do: the champion serves on.",
    "below threshold": "Look at evaluation.json; more or better data, or other hyperparameters.",
    "refused": "Mend the data that validation_report.json names and put it as a new batch.",
    "stopped": "Somebody stopped it: nothing starts again by itself. Start it again by hand or wait for the next signal.",
    "quota": "Ask for a higher service quota of this instance type, or choose another one in training.instance_type.",
    "lost answer": "Nothing to mend: the job that nobody knew of was stopped. Start it again by hand if it is not tried again.",
    "throttled": "Nothing to mend: the account called too often. Start it again by hand or wait for the next signal.",
    "no capacity": "Choose another training.instance_type, or start it again by hand later.",
    "spot exhausted": "Raise training.spot.max_wait_seconds, or let the job go on on demand: training.spot.then_on_demand.",
    "expired": "Nobody decided. Approve the package in the registry to release it after all.",
}


def died(model: str, execution: str, at: str, status: str, why: str) -> dict[str, Any] | None:
    """End the run that an ended execution left open, with the slot or waiting for a person; None if it left none.

    Its reasons wait again, as often as the spec's `retries` allow, unless somebody stopped it (F30) or it has registered
    its candidate, which stays in the registry.
    """
    run = names.run_id(model, execution)
    slot = ledger.read(f"model/{model}", "slot") or {}
    row = ledger.read(f"model/{model}", f"run#{run}") or {}
    registered, stopped = row.get("state") == "registered", status == "ABORTED"
    if slot.get("owner") != execution and row.get("state") != "running" and not registered:
        return None
    if registered:
        why = f"{why} Its candidate stays in the registry and can still be approved there."
    return close(
        model, run, execution, at, "stopped" if stopped else "failed", why, again=not stopped and not registered,
        correlation_id=str(row.get("correlation_id", execution)),
    )  # fmt: skip


def reconcile(model: str, at: str) -> dict[str, Any]:
    """End runs whose execution has ended without a word, and start what waits; what an event missed is found here (F5)."""
    slot = ledger.read(f"model/{model}", "slot") or {}
    asked = [ledger.read(f"model/{model}", f"run#{q['run']}") for q in approvals.waiting(model) if q.get("run")]
    for execution in {str(e) for e in (slot.get("owner"), *(r.get("execution") for r in asked if r)) if e}:
        arn = settings().retrain_machine.replace(":stateMachine:", ":execution:") + f":{execution}"
        status = machines.status(arn) or "gone"
        if status != "RUNNING":
            died(model, execution, at, status, f"its execution is {status} and left the run open.")
    return start(model, at, attempt=at[:16])


def ask(model: str, at: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a person, once, whether a run may start for the reasons that wait for this; return the open question.

    Later reasons join it. One that nobody answered in time is asked again by the reconciler: no reason is dropped.
    """
    reasons = reasons_of(model, "asking")
    if not reasons:
        return {"waits": "no signal waits"}
    for question in approvals.waiting(model):
        if question["kind"] == "retraining" and governor.moment(question["expires_at"]) > governor.moment(at):
            return _asked(approvals.read(question["decision_id"]), reasons)
        if question["kind"] == "retraining":
            approvals.expire(question["decision_id"], at=at)
    row = approvals.open_decision(
        model=model, kind="retraining", about=f"{reasons[0].id}@{at}", token="", at=at,  # nobody waits # nosec B106
        timeout_seconds=spec["approval"]["timeout_hours"] * 3600, correlation_id=reasons[0].id,
    )  # fmt: skip
    return _asked(row, reasons)


def _asked(row: Mapping[str, Any], reasons: list[Signal]) -> dict[str, Any]:
    if not row.get("notified"):
        model, decision = str(row["model"]), str(row["decision_id"])
        answer = {"decision_id": decision, "decision": "approve", "decided_by": "<you>", "comment": "<why>"}
        notifications.notify(
            "decision-wanted",
            model=model,
            subject=f"{model}: start a run?",
            what=f"{len(reasons)} reasons to retrain {model} wait for a person until {row['expires_at']}.",
            why="; ".join(f"{r.reason}: {r.text or r.source}" for r in reasons[:_SHOWN]),
            proof=f"ledger model/{model} reason#",
            next_step=f"Invoke the function {settings().stack}-decide-candidate with {json.dumps(answer)} (or reject).",
            decision_id=decision,
            correlation_id=str(row["correlation_id"]),
        )
        approvals.told(decision)
    return {"asked": row["decision_id"]}


def heard(row: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Act on a person's answer about a run: the reasons that waited for it may start one, or are declined."""
    model, approved = str(row["model"]), row["state"] == "APPROVED"
    for reason in reasons_of(model, "asking"):
        ledger.change(
            f"model/{model}", f"reason#{reason.id}", only_if="#state = :asking", given={"asking": "asking"},
            put={"state": "waiting" if approved else "declined", "decision": row["decision_id"]},
        )  # fmt: skip
    return start(model, at) if approved else {"waits": "declined"}
