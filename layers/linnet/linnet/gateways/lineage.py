"""Lineage out of the ledger: what serves and where it comes from, what became of data, which runs were best (EX-03, EX-04).

Every answer reads one model's own rows: no scan, and no more with many models than with one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from linnet.decisions import lineage, names, signals
from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import ledger, s3
from linnet.settings import settings

_LIST_BYTES = 32 * 1024 * 1024
_SHOWN_OBJECTS = 1_000


def trace(question: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `{endpoint | model, at?}`, `{data}` or `{model, runs: {...}}`; see `behind`, `of_data` and `ranked`.

    Raises:
        BadInputError: the question is none of these, or names what is not known.
    """
    if "data" in question:
        return of_data(str(question["data"]))
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
    used = {**(run.get("hyperparameters") or {}), **(candidate.get("hyperparameters") or {})}
    algorithm = run.get("algorithm")
    inputs = json.loads(s3.read(run["inputs_uri"], limit=_LIST_BYTES)) if run.get("inputs_uri") else {"batches": []}
    return {
        "model": model, "endpoint": names.base(settings().stack, model), "serves": _bare(champion),
        "candidate": _bare(candidate), "approver": lineage.approver(candidate), "hyperparameters": used,
        "experiment": lineage.experiment(model, algorithm, version) if algorithm else None,
        "trial": lineage.trial(used, str(candidate["at"])) if algorithm and "at" in candidate else None,
        "release": released and {k: released.get(k) for k in ("fence", "kind", "state", "at", "ended_at", "owner", "why")}
        | {"strategy": released["plan"]["strategy"]},
        "run": {k: run.get(k) for k in ("run", "execution", "at", "state", "trigger", "mode", "parent_version")},
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


def of_data(uri: str) -> dict[str, Any]:
    """Return what became of an object, or of a batch's folder: batches, runs, candidates, and where they serve or served.

    Raises:
        BadInputError: it is not raw data of a model.
    """
    bucket, key = s3.split(uri)
    place = signals.place(key if not key.endswith("/") else f"{key}-")
    if place is None or bucket != settings().data_bucket:
        raise BadInputError("data", uri, f"s3://{settings().data_bucket}/raw-data/<model>/<batch>/[<file>]")
    model, folder, _ = place
    rows = [
        r for r in ledger.query(f"model/{model}", f"batch#{folder}")
        if str(r["batch"]).partition(signals.CONTINUED)[0] == folder and (key.endswith("/") or _lists(r, uri))
    ]  # fmt: skip
    used = {str(r["batch"]) for r in rows}
    runs = [r for r in ledger.query(f"model/{model}", "run#") if used & set(r.get("batches", []))]
    trained = {str(r["run"]) for r in runs}
    candidates = [c for c in ledger.query(f"model/{model}", "candidate#") if c.get("run") in trained]
    champion = ledger.read(f"model/{model}", "champion") or {}
    endpoint = names.base(settings().stack, model)
    return {
        "model": model,
        "batches": [{k: r.get(k) for k in ("batch", "state", "why", "closed_at")} for r in rows],
        "runs": [{k: r.get(k) for k in ("run", "state", "at", "execution")} for r in runs],
        "candidates": [{k: c.get(k) for k in ("version", "run", "status", "package_arn", "released")} for c in candidates],
        "endpoints": [
            {"endpoint": endpoint, "version": c["version"], "serves": c["version"] == champion.get("version"),
             "released": c["released"]}
            for c in candidates if c.get("released")
        ],
    }  # fmt: skip


def _lists(row: Mapping[str, Any], uri: str) -> bool:
    if row["state"] == "open":
        return True
    return any(o["uri"] == uri for o in json.loads(s3.read(row["list_uri"], limit=_LIST_BYTES)))


def ranked(model: str, wish: lineage.Wish) -> dict[str, Any]:
    """Return the model's runs that a wish asks for, the best first, those without the metric last."""
    judged = {
        str(e["detail"]["run"]): e["detail"] for e in ledger.history(f"model/{model}") if e["kind"] == "judgement"
    }
    candidates = {str(c.get("run")): c for c in ledger.query(f"model/{model}", "candidate#")}
    rows = [
        _shown(r, judged.get(str(r["run"])), candidates.get(str(r["run"]), {}))
        for r in ledger.query(f"model/{model}", "run#")
    ]
    found = lineage.rank(rows, wish)
    return {
        "model": model,
        "metric": wish.metric,
        "runs": [r.document() for r in found[: wish.limit]],
        "found": len(found),
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
