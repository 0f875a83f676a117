"""Looking at a release: the endpoint read back, the new fleet's metrics, the registry's word, requests of our own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from linnet.decisions import rollout
from linnet.decisions.verdict import Evidence, Verdict, assess, probe
from linnet.gateways import ledger, metrics, releases, s3, sagemaker
from linnet.settings import settings

_LARGEST_ROWS = 8 * 1024 * 1024


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
        return _answer("wait", f"the endpoint is {live['status']}", progress, rollout.SETTLE_SECONDS)
    rejected = "" if plan["strategy"] == "restore" else releases.unapproved(str(row["package_arn"]))
    verdict, seen = _verdict(row, progress, at)
    looked = verdict.row() | {"requests": seen.requests}
    answer = rollout.settle(plan, progress, live | {"rejected": rejected}, looked, row["spec"]["rollout"], at)
    value = rollout.published(answer["progress"], verdict.row())
    if plan["alarms"] and value is not None and rollout.judged(progress):
        metrics.put_verdict(model, plan["target"], value)
    found = {"verdict": verdict.row() | {"evidence": seen.row(), "at": at}, "sight": live, "looked": answer["why"]}
    releases.note(model, fence, found)
    _remember(row, answer, found, at)
    return answer | {"verdict": verdict.row()}


def _answer(following: str, why: str, progress: Mapping[str, Any], wait: int = 0) -> dict[str, Any]:
    verdict = {"state": "unknown", "why": why}
    looked = dict(progress) | {"looks": int(progress["looks"]) + 1}
    if looked["looks"] > rollout.MOST_LOOKS:
        following = "hold"
    return {"next": following, "wait": wait, "why": why, "progress": looked, "verdict": verdict}


def _verdict(row: Mapping[str, Any], progress: Mapping[str, Any], at: str) -> tuple[Verdict, Evidence]:
    plan, health = row["plan"], row["spec"]["rollout"]["health"]
    if not rollout.judged(progress):
        return Verdict("unknown", "the new fleet takes no traffic yet"), Evidence()
    config = None if plan["both"] else str(plan["target"])
    since, now = _moment(progress["since"]), _moment(at)
    seen = metrics.evidence(str(row["endpoint"]), str(plan["variant"]), config, since, now)
    return assess(seen, health), seen


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _remember(row: Mapping[str, Any], answer: Mapping[str, Any], found: Mapping[str, Any], at: str) -> None:
    """Enter a verdict into the history where something changes: a look that only waits says nothing new."""
    if answer["next"] == "wait" and not answer["progress"]["condemned"]:
        return
    progress = answer["progress"]
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
        milliseconds, failure = sagemaker.ask(str(row["endpoint"]), variant, line, f"linnet-probe-{fence}-{number}")
        failures += [failure] if failure else []
        latencies += [] if failure else [milliseconds]
    verdict = probe(failures, latencies, rules["health"])
    answer = rollout.probed(plan, progress, verdict.row(), at)
    average = round(sum(latencies) / len(latencies), 3) if latencies else None
    asked, failed = float(len(failures) + len(latencies)), float(len(failures))
    seen = Evidence(requests=asked, latency_ms=average, failures=failed, recent=asked)
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
    found = [uri for uri, size in s3.listing(folder) if size]
    return next((uri for uri in found if "feature" in uri.rpartition("/")[2]), found[0] if len(found) == 1 else None)
