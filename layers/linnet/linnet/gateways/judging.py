"""Looking at a release: the endpoint read back, the new fleet's metrics, the registry's word, requests of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from linnet.decisions import names, rollout
from linnet.decisions import progress as steps
from linnet.decisions.sequential import Minute
from linnet.decisions.verdict import (
    Comparison,
    Evidence,
    Past,
    Test,
    Verdict,
    assess,
    better,
    compare,
    conclude,
    fold,
    middle,
    missing,
    priced,
    probe,
    wanted,
    worst,
)
from linnet.errors import LinnetError
from linnet.gateways import answers, leases, ledger, machines, metrics, questions, releases, s3, sagemaker
from linnet.settings import settings

_LARGEST_ROWS = 8 * 1024 * 1024
_HALF = 0.5
_SETTLED, _FOLD = timedelta(minutes=15), timedelta(hours=1)
"""A datapoint may come so late; minutes are folded in so many at once."""


def judge(model: str, *, owner: str, fence: int, at: str, progress: Mapping[str, Any]) -> dict[str, Any]:
    """Look once; return `{next, wait, why, progress, verdict}`.

    The same look may be made twice. What was found is noted in the release's row, and published where SageMaker's own
    rollback listens.
    """
    row = releases.mine(model, owner=owner, fence=fence)
    plan, live = row["plan"], sagemaker.endpoint(str(row["endpoint"]))
    if live is None:
        gone = plan["strategy"] == "restore" and plan["target"] is None
        why = "the endpoint of the first release is deleted" if gone else "the endpoint is gone"
        return _answer("conclude" if gone else "hold", why, progress)
    if plan["strategy"] == "restore" and plan["target"] is None:
        return _answer("wait", f"the endpoint is {live['status']}", progress, steps.SETTLE_SECONDS)
    rejected = "" if plan["strategy"] == "restore" else releases.unapproved(str(row["package_arn"]))
    look = _look(row, progress, at)
    sight = live | {"rejected": rejected, "answer": questions.heard(row, progress)}
    answer = steps.settle(
        plan, progress, sight, look.verdict.row() | {"better": bool(look.better)}, row["spec"]["rollout"], at
    )
    value = steps.published(answer["progress"], look.verdict.row())
    if plan["alarms"] and value is not None and steps.judged(progress) and progress["phase"] != "mirroring":
        metrics.put_verdict(model, plan["target"], value)
    # The last verdict stays while nothing is judged: it is what the release ended on (peer bug kayenta#521).
    verdict = look.row(at) if steps.judged(progress) else row.get("verdict") or look.row(at)
    found = {
        "verdict": verdict, "sight": live, "looked": answer["why"], "answers": look.answers,
        "progress": answer["progress"],
    }  # fmt: skip
    releases.note(model, fence, found)
    questions.ask(row, progress, answer, verdict, at)
    _remember(row, answer, found, at)
    return answer | {"verdict": look.verdict.row()}


def watch(model: str, at: str) -> str | None:
    """Look at a champion in the hours after its promotion; start its rollback when it turns out bad.

    Returns what was found, or None where there is nothing to watch: the watch window is over, another release is under
    way, or there is no way back. Unknown is no reason to go back from what was promoted.
    """
    champion = ledger.read(f"model/{model}", "champion")
    if not champion or champion.get("restored_by") or leases.holder(names.base(settings().stack, model)):
        return None
    row = releases.read(model, int(champion["fence"]))
    hours = float(row["spec"]["rollout"]["watch_hours"])
    if row.get("previous") is None or _moment(at) - _moment(champion["at"]) > timedelta(hours=hours):
        return None
    phase = {"phase": "watching", "since": (_moment(at) - timedelta(seconds=steps.WATCH_SECONDS)).isoformat()}
    look = _look(row, dict(row.get("progress") or steps.begin(row["plan"], champion["at"])) | phase, at)
    found = {"watched": look.row(at), "answers": look.answers}
    before = (row.get("watched") or {}).get("state"), row.get("answers")
    if before != (look.verdict.state, look.answers):
        ledger.change(
            f"model/{model}", f"release#{row['fence']:06d}", put=found, only_if="#state = :promoted",
            given={"promoted": "promoted"},
        )  # fmt: skip
    if look.verdict.state != "unhealthy":
        return look.verdict.state
    why = f"in the watch window: {look.verdict.why}"
    detail = {
        "fence": row["fence"], "version": row["version"], "phase": "watched", "step": 0, "next": "roll back", "why": why,
        "correlation_id": row["correlation_id"], **found["watched"],
    }  # fmt: skip
    ledger.append(f"model/{model}", "verdict", at, detail, key=f"{row['fence']}#watched")
    given = {"model": model, "reason": why, "correlation_id": row["correlation_id"]}
    return machines.start(settings().rollback_machine, f"{model}-watch-f{row['fence']}", given)


def _answer(following: str, why: str, progress: Mapping[str, Any], wait: int = 0) -> dict[str, Any]:
    verdict = {"state": "unknown", "why": why}
    looked = dict(progress) | {"looks": int(progress["looks"]) + 1}
    if looked["looks"] > steps.MOST_LOOKS:
        following = "hold"
    return {"next": following, "wait": wait, "why": why, "progress": looked, "verdict": verdict}


@dataclass(frozen=True)
class _Look:
    """What a look saw: the verdict, what it rests on, and how far the captured answers were read."""

    verdict: Verdict
    seen: Evidence = field(default_factory=Evidence)
    tests: list[Test] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    better: bool | None = None
    """Whether an ab test has its winner; None where nobody asks."""
    better_by: str = ""

    def row(self, at: str) -> dict[str, Any]:
        proof = {} if self.better is None else {"better": {"by": self.better_by, "shown": self.better}}
        tests = [test.row() for test in self.tests]
        return self.verdict.row() | {"evidence": self.seen.row(), "tests": tests, "at": at} | proof


def _look(row: Mapping[str, Any], progress: Mapping[str, Any], at: str) -> _Look:
    plan, rules, phase = row["plan"], row["spec"]["rollout"], str(progress["phase"])
    read = dict(row.get("answers") or {})
    if not steps.judged(progress):
        return _Look(Verdict("unknown", "the new fleet takes no traffic yet"), answers=read)
    new, old = rollout.fleets(plan, phase)
    seen = metrics.evidence(str(row["endpoint"]), new, _moment(progress["since"]), _moment(at))
    plain = assess(seen, rules["health"])
    try:
        compared, read = _compared(row, phase, new, old, progress, at, read)
    except (ClientError, BotoCoreError, LinnetError) as error:
        # What cannot be read is unknown, whatever the reason (F15); an unhealthy plain check still counts.
        unread = Verdict("unknown", f"The evidence could not be read: {type(error).__name__}: {error}"[:300])
        return _Look(worst([plain, unread]), seen, answers=read)
    tests = compare(compared, rules["margins"], rollout.alpha(plan, rules))
    captured = bool(row["spec"]["endpoint"]["capture_percent"])
    needed = wanted(phase, beside=bool(old), captured=captured, expected=bool(row.get("expected_answers")))
    by = str(rules["better_by"])
    wins = better(compared, by, float(rules["false_rollback"])) if plan["prove"] else None
    return _Look(conclude(plain, tests, missing(needed, tests, compared)), seen, tests, read, wins, by)


def _compared(
    row: Mapping[str, Any], phase: str, new: rollout.Fleet, old: rollout.Fleet | None, progress: Mapping[str, Any],
    at: str, read: dict[str, Any],
) -> tuple[Comparison, dict[str, Any]]:  # fmt: skip
    """Return what both fleets did, and how far their captured answers have been read."""
    endpoint, since, now = str(row["endpoint"]), _moment(progress["first"]), _moment(at)
    spread, captured = row.get("expected_answers"), bool(row["spec"]["endpoint"]["capture_percent"])
    seen: dict[str, Any] = {}
    if old:
        read["minutes"] = _folded(row, new, old, since, now, read.get("minutes"))
        seen["past"] = {metric: Past(**past) for metric, past in read["minutes"]["past"].items()}
        seen |= metrics.minutes(endpoint, new, old, _moment(read["minutes"]["until"]), now, row.get("slow_ms"))
    if captured and spread:
        state = _of(read.get("predictions"), new, keep=("counts",))  # the same model answers at every stage
        read["predictions"] = state | answers.predictions(new, endpoint, spread["edges"], state)
        seen["predictions"] = (read["predictions"]["counts"], spread["shares"])
    thresholds = (float(row.get("threshold", _HALF)), float(row.get("champion_threshold", _HALF)))
    if captured and old and phase == "mirroring":
        state = _of(read.get("agreement"), new)
        read["agreement"] = state | answers.agreement(new, old, endpoint, thresholds, state)
        seen["agreement"] = (read["agreement"]["hits"], read["agreement"]["of"])
    # Labels come late: those of the time when both fleets served still count when the new one serves alone.
    one, other = rollout.fleets(row["plan"], "baking") if row["plan"]["both"] and phase == "watching" else (new, old)
    if captured and other:
        state = _of(read.get("labelled"), one)
        read["labelled"] = state | answers.labelled(one, other, endpoint, since, thresholds, state)
        seen["quality"] = [Minute(*counts) for counts in read["labelled"]["files"]]
        seen["cost"] = tuple(priced(calls, row["spec"]["costs"]) for calls in read["labelled"]["calls"])
    return Comparison(**seen), read


def _folded(
    row: Mapping[str, Any], new: rollout.Fleet, old: rollout.Fleet, since: datetime, now: datetime,
    state: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Return what the minutes `until` a time have left; once an hour those that no late datapoint can change are folded in.

    All minutes of a stage of weeks at every look would be more than CloudWatch gives, and than it keeps.
    """
    found = {"until": since.isoformat(), "past": {}} | _of(state, new)
    settled = (now - _SETTLED).replace(second=0, microsecond=0)
    if settled - _moment(found["until"]) < _FOLD:
        return found
    read = metrics.minutes(
        str(row["endpoint"]), new, old, _moment(found["until"]), settled + timedelta(minutes=1), row.get("slow_ms")
    )
    margins = row["spec"]["rollout"]["margins"]
    past = {
        metric: fold(Past(**found["past"].get(metric, {})), minutes, margins[metric]).row()
        for metric, minutes in read.items()
    }
    return found | {"until": settled.isoformat(), "past": found["past"] | past}


def _of(state: Mapping[str, Any] | None, fleet: rollout.Fleet, keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return how far a fleet's answers were read; of another stage's fleet only what is kept."""
    found = dict(state or {})
    if found.get("config") == fleet[1]:
        return found
    return {"config": fleet[1]} | {name: found[name] for name in keep if name in found}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _remember(row: Mapping[str, Any], answer: Mapping[str, Any], found: Mapping[str, Any], at: str) -> None:
    """Enter a verdict into the history where something changes: a look that only waits says nothing new."""
    progress = answer["progress"]
    if answer["next"] == "wait" and not progress["condemned"] and not progress["asked"]:
        return
    detail = {
        "fence": row["fence"], "version": row["version"], "phase": progress["phase"], "step": progress["step"],
        "next": answer["next"], "why": answer["why"], "correlation_id": row["correlation_id"], **found["verdict"],
    }  # fmt: skip
    key = f"{row['fence']}#{progress['phase']}#{progress['step']}#{answer['next']}"
    ledger.append(f"model/{row['model']}", "verdict", at, detail, key=key)


def probe_release(model: str, *, owner: str, fence: int, at: str, progress: Mapping[str, Any]) -> dict[str, Any]:
    """Send the run's own test rows to the new fleet before callers do; return `{next, wait, why, progress, verdict}`."""
    row = releases.mine(model, owner=owner, fence=fence)
    plan, rules = row["plan"], row["spec"]["rollout"]
    variant = str(plan["variant"]) if plan["both"] else None
    failures, latencies = [], []
    for number, line in enumerate(_rows(row, int(rules["probes"]))):
        milliseconds, failure = sagemaker.ask(str(row["endpoint"]), variant, line, f"{sagemaker.PROBE}{fence}-{number}")
        failures += [failure] if failure else []
        latencies += [] if failure else [milliseconds]
    verdict = probe(failures, latencies, rules["health"])
    answer = steps.probed(plan, progress, verdict.row(), at)
    median = round(middle(latencies), 3) if latencies else None
    asked, failed = float(len(failures) + len(latencies)), float(len(failures))
    seen = Evidence(requests=asked, latency_ms=median, failures=failed, recent=asked)
    found = {"verdict": verdict.row() | {"evidence": seen.row(), "at": at}, "looked": "probed"}
    releases.note(model, fence, found)
    _remember(row, answer, found, at)
    return answer | {"verdict": verdict.row()}


def _rows(row: Mapping[str, Any], most: int) -> list[bytes]:
    """Return rows of CSV that the model's run was judged on; of the champion's run when the package has none."""
    model = row["model"]
    known = releases.candidate(model, int(row["version"]))
    champion = ledger.read(f"model/{model}", "champion") or {}
    for given, run in ((known.get("test_features"), row["run"]), (None, champion.get("run"))):
        uri = given or (run and _features(f"s3://{settings().data_bucket}/processed-data/{model}/{run}/test/"))
        if uri:
            lines = s3.read(str(uri), limit=_LARGEST_ROWS).splitlines()
            return [line for line in lines if line.strip()][:most]
    return []


def _features(folder: str) -> str | None:
    found = [each.uri for each in s3.objects(folder) if each.size]
    return next((uri for uri in found if "feature" in uri.rpartition("/")[2]), found[0] if len(found) == 1 else None)
