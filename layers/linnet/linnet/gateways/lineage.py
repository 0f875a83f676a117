"""Lineage out of the ledger: what serves and where it comes from, what became of data, which runs were best (EX-03, EX-04).

Every answer reads one model's own rows: no scan, and no more with many models than with one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from linnet.decisions import lineage, names, signals
from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import ledger, s3
from linnet.settings import settings

_LIST_BYTES = 32 * 1024 * 1024
_SHOWN_OBJECTS = 1_000
_ENTRIES = 10_000
"""So many entries of a model's history one question reads."""
_RANKED = 200
_PARTS = 100
_READS = 100
"""So many runs' inputs one question about live data reads."""
_SLACK = timedelta(days=1)
"""A batch's time is S3's, a run's is its execution's."""


def trace(question: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `{endpoint | model, at?}`, `{data, limit?, before?}` or `{model, runs: {...}}`: `behind`, `of_data`, `ranked`.

    Raises:
        BadInputError: the question is none of these, or names what is not known.
    """
    if "data" in question:
        return of_data(
            str(question["data"]), lineage.limit("limit", question), lineage.before("before", question)
        )  # fmt: skip
    model = str(question.get("model") or _of_endpoint(question))
    if ledger.read(f"model/{model}", "spec") is None and next(ledger.query(f"model/{model}", limit=1), None) is None:
        raise BadInputError("model", model, "a model that the ledger knows")
    if "runs" in question:
        return ranked(model, lineage.wish(question["runs"]))
    return behind(model, question.get("at"))


def _of_endpoint(question: Mapping[str, Any]) -> str:
    endpoint, stack = question.get("endpoint"), settings().stack
    if not isinstance(endpoint, str) or not endpoint:
        raise BadInputError("question", sorted(question), "one of endpoint, model, data; or model and runs")
    found = [m for m in names.possible_models(stack, endpoint) if names.base(stack, m) == endpoint]
    if not found:
        raise BadInputError("endpoint", endpoint, f"{stack}-<model>")
    return found[0]


def behind(model: str, at: str | None = None) -> dict[str, Any]:
    """Return what serves now (or served at a time): package, job, data, commit, approver, release.

    Raises:
        NotFoundError: nothing served then.
    """
    champion = ledger.read(f"model/{model}", "champion") if at is None else _served(model, at)
    if champion is None:
        raise NotFoundError(f"nothing of {model} serves" if at is None else f"nothing of {model} served at {at}")
    version = int(champion["version"])
    candidate = ledger.read(f"model/{model}", f"candidate#{version:06d}") or {}
    run = ledger.read(f"model/{model}", f"run#{candidate.get('run')}") or {}
    told = [ledger.entry(f"model/{model}", "signal", str(signal)) for signal in run.get("signals", [])]
    sources = [entry["detail"] for entry in told if entry]
    released = ledger.read(f"model/{model}", f"release#{int(champion['fence']):06d}") if "fence" in champion else None
    # Of a version that a rollback brought back, the verdict is the one that it was once promoted with.
    made = names.fence_of(str(champion["config"]))
    judged = (ledger.read(f"model/{model}", f"release#{made:06d}") if made is not None else None) or {}
    used = {**(run.get("hyperparameters") or {}), **(candidate.get("hyperparameters") or {})}
    algorithm = run.get("algorithm")
    inputs = json.loads(s3.read(run["inputs_uri"], limit=_LIST_BYTES)) if run.get("inputs_uri") else {"batches": []}
    return {
        "model": model, "endpoint": names.base(settings().stack, model), "serves": _bare(champion),
        "candidate": _bare(candidate), "approver": lineage.approver(candidate), "hyperparameters": used,
        "experiment": lineage.experiment(model, algorithm, version) if algorithm else None,
        "trial": lineage.trial(used, str(candidate["at"])) if algorithm and "at" in candidate else None,
        "release": released and {k: released.get(k) for k in ("fence", "kind", "state", "at", "ended_at", "owner", "why")}
        | {"strategy": released["plan"]["strategy"]} | {k: judged.get(k) for k in ("verdict", "expected", "watched")},
        "run": {k: run.get(k) for k in ("run", "execution", "at", "state", "trigger", "mode", "parent_version", "experiment")},
        "training_job": candidate.get("training_job"), "commit": lineage.commit(sources),
        "signals": [{k: s.get(k) for k in ("id", "kind", "at", "source", "text")} for s in sources],
        "data": lineage.objects(inputs, _SHOWN_OBJECTS),
    }  # fmt: skip


def _bare(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("pk", "sk")}


def _served(model: str, at: str) -> dict[str, Any] | None:
    """Return what the endpoint served at a time, by the config that the last release before it read back at its end.

    Releases of an endpoint never overlap, so their fences are in the order of their times.

    Raises:
        NotFoundError: the endpoint served a config that no promoted release made (held half way, or not Linnet's).
    """
    then, subject = lineage.moment("at", at), f"model/{model}"
    rows = [r for r in ledger.query(subject, "release#", newest_first=True) if _moment(r["at"]) <= then]
    told = (ledger.entry(subject, "release", str(r["fence"])) for r in rows)
    last = next((e for e in told if e and _moment(e["at"]) <= then), None)
    config = last and last["detail"]["config"]
    if last is None or config is None or _offboarded(subject, _moment(last["at"]), then):
        return None
    for row in rows:
        made = ledger.entry(subject, "release", str(row["fence"])) if row["plan"]["target"] == config else None
        if made and made["detail"]["outcome"] == "promoted":
            kept = {k: row[k] for k in ("version", "package_arn", "run", "baseline", "fence")}
            return kept | {"config": config, "at": last["at"],
                           "model_name": names.sagemaker_model(settings().stack, model, int(row["version"]))}  # fmt: skip
    why = f"release {last['detail']['fence']} ended as {last['detail']['outcome']} with {config}"
    raise NotFoundError(f"no single version of {model} is known to have served at {at}: {why}")


def _offboarded(subject: str, since: datetime, until: datetime) -> bool:
    """Say whether the model was taken out in between; an off-boarding that was asked for and not confirmed is none."""
    asked = [str(row["entry"]) for row in ledger.query(f"{subject}#seen", "offboarding#")]
    times = [entry for entry in asked if since <= _moment(entry.partition("#")[0]) <= until]
    return any("packages_deleted" in (ledger.read(f"{subject}#history", e) or {"detail": {}})["detail"] for e in times)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def of_data(uri: str, limit: int = lineage.LIMIT, before: str = "") -> dict[str, Any]:
    """Return what became of an object, or of a batch's folder: batches, runs, candidates, and where they serve or served.

    Also of captured requests and ground truth, which a run trains on as labelled capture. The newest `limit` runs that
    trained on it are told; where older ones may be left, `before` says how to ask on, else it is None. Of a folder that
    became more than _PARTS batches, `batches_left` older ones are not looked at.

    Raises:
        BadInputError: it is neither raw data of a model nor live data of an endpoint.
    """
    bucket, key = s3.split(uri)
    live = lineage.live(key)
    place = None if live else signals.place(key if not key.endswith("/") else f"{key}-")
    if bucket != settings().data_bucket or not (live or place):
        where = "raw-data/<model>/<batch>/[<file>], or an object of data-capture/ or ground-truth/"
        raise BadInputError("data", uri, f"s3://{settings().data_bucket}/{where}")
    rows: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    left, older = 0, None
    if live:
        model = _of_endpoint({"endpoint": live[0]})
        found, older = _runs(model, lambda run: _labelled(run, uri), limit, before, live[1], reads=_READS)
    elif place:
        model, folder, _ = place
        rows, left = _parts(model, folder, None if key.endswith("/") else uri)
        used = {str(r["batch"]) for r in rows}
        closed = [_moment(r["closed_at"]) for r in rows if r["state"] != "open"]
        if closed:
            found, older = _runs(
                model, lambda run: bool(used & set(run["batches"])), limit, before, min(closed) - _SLACK
            )
    candidates = _candidates(model, found)
    champion = ledger.read(f"model/{model}", "champion") or {}
    endpoint = names.base(settings().stack, model)
    return {
        "model": model,
        "batches": [{k: r.get(k) for k in ("batch", "state", "why", "closed_at")} for r in rows],
        "runs": [{k: r.get(k) for k in ("run", "state", "at", "execution")} for r in found],
        "candidates": [
            {k: c.get(k) for k in ("version", "run", "status", "package_arn", "released")} for c in candidates.values()
        ],
        "endpoints": [
            {"endpoint": endpoint, "version": c["version"], "serves": c["version"] == champion.get("version"),
             "released": c["released"]}
            for c in candidates.values() if c.get("released")
        ],
        "batches_left": left, "before": older,
    }  # fmt: skip


def _parts(model: str, folder: str, uri: str | None) -> tuple[list[dict[str, Any]], int]:
    """Return the newest batches made of a folder (those that list the object, if one is asked for), and how many are left."""
    first = ledger.read(f"model/{model}", f"batch#{folder}")
    rows = [*ledger.query(f"model/{model}", f"batch#{folder}{signals.CONTINUED}"), *([first] if first else [])]
    rows.sort(key=lambda r: str(r["opened" if r["state"] == "open" else "closed_at"]), reverse=True)
    newest = rows[:_PARTS]
    return [r for r in newest if uri is None or r["state"] == "open" or _lists(r, uri)], len(rows) - len(newest)


def _lists(row: Mapping[str, Any], uri: str) -> bool:
    return any(o["uri"] == uri for o in json.loads(s3.read(row["list_uri"], limit=_LIST_BYTES)))


def _labelled(run: Mapping[str, Any], uri: str) -> bool:
    """Say whether a run trained on an object of live data."""
    listed = s3.read(run["inputs_uri"], limit=_LIST_BYTES)
    return json.dumps(uri).encode() in listed and any(
        o["uri"] == uri for kind in (json.loads(listed).get("labelled") or {}).values() for o in kind
    )


def _runs(
    model: str, wanted: Callable[[Mapping[str, Any]], bool], limit: int, before: str, since: datetime | None, *,
    reads: int = _ENTRIES,
) -> tuple[list[dict[str, Any]], str | None]:  # fmt: skip
    """Return the newest runs that are wanted, at most `limit`, and before what to ask for older ones, if any may be left.

    Reads the model's history from its end (or from `before`) back to `since`, at most _ENTRIES entries, and asks for at
    most `reads` runs whether they are `wanted`.
    """
    found: list[dict[str, Any]] = []
    seen, asked = before, 0
    for number, entry in enumerate(ledger.history(f"model/{model}", before=before)):
        if since and _moment(entry["at"]) < since:
            return found, None
        if number == _ENTRIES:
            return found, seen
        if entry["kind"] == "run-started":
            if asked == reads:
                return found, seen
            asked += 1
            if wanted(entry["detail"]):
                if len(found) == limit:
                    return found, seen
                row = ledger.read(f"model/{model}", f"run#{entry['detail']['run']}")
                found += [row] if row else []  # off-boarding took it
        seen = str(entry["sk"])
    return found, None


def _candidates(model: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the candidates of runs by run, newest first; those that are older than every run are not read."""
    mine, found = {str(r["run"]) for r in runs}, {}
    oldest = min((_moment(r["at"]) for r in runs), default=None)
    for row in ledger.query(f"model/{model}", "candidate#", newest_first=True) if oldest else ():
        if oldest and _moment(row["at"]) < oldest:
            break
        if row.get("run") in mine:
            found[str(row["run"])] = row
    return found


def ranked(model: str, wish: lineage.Wish) -> dict[str, Any]:
    """Return the model's runs that a wish asks for, the best first, those without the metric last.

    The newest _RANKED are looked at. `found` says how many of these fit, `before` how to ask for the older ones, None
    where there are none.
    """
    since = lineage.moment("runs.since", wish.since) if wish.since else None
    runs, older = _runs(model, lambda _: True, _RANKED, wish.before, since)
    candidates = _candidates(model, runs)
    rows = []
    for run in runs:
        candidate = candidates.get(str(run["run"]), {})
        judged = None if candidate.get("metrics") else ledger.entry(f"model/{model}", "judgement", str(run["run"]))
        rows.append(_shown(run, judged and judged["detail"], candidate))
    found = lineage.rank(rows, wish)
    return {
        "model": model,
        "metric": wish.metric,
        "runs": [r.document() for r in found[: wish.limit]],
        "found": len(found),
        "looked_at": len(runs),
        "before": older,
    }


def _shown(run: Mapping[str, Any], judged: Mapping[str, Any] | None, candidate: Mapping[str, Any]) -> lineage.Row:
    known = {judged["metric"]: judged["value"]} if judged else {}
    used = {**(run.get("hyperparameters") or {}), **(candidate.get("hyperparameters") or {})}
    return lineage.Row(
        run=str(run["run"]), at=str(run["at"]), state=str(run["state"]), trigger=run.get("trigger") or {},
        version=run.get("version"), why=str(run.get("why", "")), hyperparameters=used,
        trial=lineage.trial(used, str(candidate.get("at", run["at"]))) if run.get("algorithm") else "",
        metrics={**known, **(candidate.get("metrics") or {})},
    )  # fmt: skip
