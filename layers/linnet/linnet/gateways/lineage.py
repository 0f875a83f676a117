"""Lineage out of the ledger: what serves and where it comes from, what became of data, which runs were best (EX-03, EX-04).

Every answer reads one model's own rows: no scan, and no more with many models than with one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linnet.decisions import lineage, names, signals
from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import ledger, s3
from linnet.settings import settings

_LIST_BYTES = 32 * 1024 * 1024
_LOOKED_BACK = 10_000
_SHOWN_OBJECTS = 1_000


def trace(question: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `{endpoint | model, at?}`, `{data}` or `{model, runs: {...}}`; see `behind`, `of_data` and `ranked`.

    Raises:
        BadInputError: the question is none of these, or names what is not known.
    """
    if "data" in question:
        return of_data(str(question["data"]))
    model = str(question.get("model") or _of_endpoint(question))
    if ledger.read(f"model/{model}", "spec") is None and ledger.read(f"model/{model}", "champion") is None:
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
    inputs = json.loads(s3.read(run["inputs_uri"], limit=_LIST_BYTES)) if run.get("inputs_uri") else {"batches": []}
    return {
        "model": model, "endpoint": names.base(settings().stack, model), "serves": champion,
        "candidate": {k: v for k, v in candidate.items() if k not in ("pk", "sk")},
        "approver": {k: candidate.get(k) for k in ("decided_by", "decided_at", "decided_how", "comment")},
        "run": {k: run.get(k) for k in ("run", "execution", "at", "state", "trigger", "mode", "parent_version")},
        "training_job": candidate.get("training_job"), "commit": lineage.commit(sources),
        "signals": [{k: s.get(k) for k in ("id", "kind", "at", "source", "text")} for s in sources],
        "data": lineage.objects(inputs, _SHOWN_OBJECTS),
    }  # fmt: skip


def _served(model: str, at: str) -> dict[str, Any] | None:
    for number, entry in enumerate(ledger.history(f"model/{model}")):
        detail = entry["detail"]
        if entry["kind"] == "release" and entry["at"] <= at and detail.get("outcome") in ("promoted", "rolled back"):
            if detail["outcome"] == "promoted":
                return dict(detail) | {"at": entry["at"]}
            undone = detail.get("version")
            earlier = (e for e in ledger.history(f"model/{model}") if e["kind"] == "release" and e["at"] < entry["at"])
            before = (
                e for e in earlier if e["detail"].get("outcome") == "promoted" and e["detail"]["version"] != undone
            )
            found = next(before, None)
            return dict(found["detail"]) | {"at": entry["at"]} if found else None
        if number >= _LOOKED_BACK:
            break
    return None


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
        lineage.Row(
            run=str(r["run"]), at=str(r["at"]), state=str(r["state"]), trigger=r.get("trigger") or {},
            version=r.get("version"), why=str(r.get("why", "")),
            metrics={
                **({judged[r["run"]]["metric"]: judged[r["run"]]["value"]} if r["run"] in judged else {}),
                **(candidates.get(str(r["run"]), {}).get("metrics") or {}),
            },
        )
        for r in ledger.query(f"model/{model}", "run#")
    ]  # fmt: skip
    found = lineage.rank(rows, wish)
    return {
        "model": model,
        "metric": wish.metric,
        "runs": [r.document() for r in found[: wish.limit]],
        "found": len(found),
    }
