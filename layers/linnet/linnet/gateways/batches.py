"""Batches: a burst of objects becomes one list of exact object versions, and the list becomes one signal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from linnet.decisions import batches, names, signals
from linnet.errors import BadInputError, NotFoundError
from linnet.events.aws import S3Event
from linnet.gateways import ledger, s3, specs
from linnet.gateways.clients import client, error_code
from linnet.settings import settings

LIST_BYTES = 8 * 1024 * 1024


def arrived(event: S3Event) -> dict[str, Any]:
    """Note an object below raw-data/; its manifest closes the batch at once, else its first object starts `intake`."""
    found = event.detail.object
    where = signals.place(found.key)
    if where is None or found.size == 0:
        return {"ignored": f"{found.key} is a folder's marker, empty, or not raw data"}
    model, folder, name = where
    signals.known(model, specs.models(), "model in key", found.key)
    if name == signals.MANIFEST:
        return _close_by_manifest(
            model, folder, f"s3://{event.detail.bucket.name}/{found.key}", found.version_id, event.at
        )
    batch = _open_batch(model, folder, event.at)
    row = {
        "uri": f"s3://{event.detail.bucket.name}/{found.key}", "version": found.version_id, "size": found.size,
        "sequencer": found.sequencer,
    }  # fmt: skip
    _note_object(f"model/{model}/batch/{batch}", f"object#{found.key}", row)
    ledger.change(
        f"model/{model}", f"batch#{batch}", put={"last": event.at}, only_if="#last < :at", given={"at": event.at}
    )
    _collect(model, batch)
    return {"batch": batch, "object": found.key}


def _note_object(pk: str, sk: str, row: Mapping[str, Any]) -> None:
    """Keep the latest version of an object, whatever the order of its events (F4)."""
    if ledger.put_once(pk, sk, row):
        return
    held = ledger.read(pk, sk) or {}
    if batches.newer(str(row["sequencer"]), str(held.get("sequencer", ""))):
        ledger.change(pk, sk, put=row, only_if="#sequencer = :seen", given={"seen": held.get("sequencer", "")})


def _open_batch(model: str, folder: str, at: str) -> str:
    """Return the batch that takes objects of a folder now: a closed one is followed by another, for late files."""
    for number in range(1, 1000):
        batch = folder if number == 1 else f"{folder}~{number}"
        row = {"batch": batch, "state": "open", "opened": at, "last": at}
        if ledger.put_once(f"model/{model}", f"batch#{batch}", row):
            return batch
        if (ledger.read(f"model/{model}", f"batch#{batch}") or {}).get("state") == "open":
            return batch
    raise BadInputError("batch", folder, "at most 1000 late continuations of one folder")


def _collect(model: str, batch: str) -> None:
    """Start the machine that waits for the batch's quiet; its name makes it one."""
    name = f"{model}-batch-{names.digest(model, batch)}"
    given = {
        "model": model,
        "batch": batch,
        "correlation_id": name,
        "quiet_seconds": specs.spec_of(model)["data"]["quiet_seconds"],
    }
    try:
        client("stepfunctions").start_execution(
            stateMachineArn=settings().intake_machine, name=name, input=json.dumps(given, sort_keys=True)
        )
    except ClientError as error:
        if error_code(error) != "ExecutionAlreadyExists":
            raise


def close_when_quiet(model: str, batch: str, at: str) -> dict[str, Any]:
    """Close a batch without a manifest if it is quiet or open for too long; return `{closed, why}`.

    Raises:
        BadInputError: there is no such batch.
    """
    row = ledger.read(f"model/{model}", f"batch#{batch}")
    if row is None:
        raise BadInputError("batch", batch, f"a batch of {model} that has objects")
    if row["state"] != "open":
        return {"closed": True, "why": f"it is {row['state']}"}
    data = specs.spec_of(model)["data"]
    if not batches.is_over(
        row["opened"], row["last"], at, quiet_seconds=data["quiet_seconds"], limit_seconds=data["batch_limit_seconds"]
    ):
        return {"closed": False, "why": "objects still arrive"}
    listed = [
        {"uri": o["uri"], "version": o["version"], "size": o["size"]}
        for o in ledger.query(f"model/{model}/batch/{batch}", "object#")
    ]
    _close(model, batch, listed, at)
    return {"closed": True, "why": "it is quiet"}


def _close_by_manifest(model: str, folder: str, uri: str, version: str, at: str) -> dict[str, Any]:
    """Verify every object that a manifest lists, and close the batch with exactly these versions (F21, F22)."""
    try:
        entries = batches.read_manifest(s3.read(uri, version=version or None, limit=batches.MANIFEST_BYTES))
    except NotFoundError as error:  # the event is a claim; S3 is consistent, so waiting would not mend it
        raise BadInputError("_MANIFEST.json", f"{uri} version {version}", "an object that exists") from error
    listed = []
    for entry in entries:
        found_uri = f"{uri.rpartition('/')[0]}/{entry.name}"
        found = s3.head(found_uri, entry.version or None)
        if found is None:
            raise BadInputError("_MANIFEST.json", entry.name, "an object that was put before its manifest")
        held = str(found.get("VersionId", ""))
        if found["ContentLength"] != entry.size:
            raise BadInputError(f"size of {entry.name}", found["ContentLength"], f"{entry.size}, as its manifest says")
        if (digest := s3.sha256(found_uri, held or None)) != entry.sha256:
            raise BadInputError(f"sha256 of {entry.name}", digest, f"{entry.sha256}, as its manifest says")
        listed.append(
            {"uri": found_uri, "version": held, "size": entry.size, "sha256": entry.sha256, "rows": entry.rows}
        )
    batch = _batch_of_list(model, folder, names.digest(listed), at)
    return {"batch": batch} | _close(model, batch, listed, at)


def _batch_of_list(model: str, folder: str, digest: str, at: str) -> str:
    """Return the batch of this folder that holds this very list or is still open: the same manifest closes once."""
    for number in range(1, 1000):
        batch = folder if number == 1 else f"{folder}~{number}"
        row = {"batch": batch, "state": "open", "opened": at, "last": at}
        if ledger.put_once(f"model/{model}", f"batch#{batch}", row):
            return batch
        held = ledger.read(f"model/{model}", f"batch#{batch}") or {}
        if held.get("state") == "open" or held.get("digest") == digest:
            return batch
    raise BadInputError("batch", folder, "at most 1000 manifests of one folder")


def _close(model: str, batch: str, listed: list[dict[str, Any]], at: str) -> dict[str, Any]:
    from linnet.gateways.signals import admit  # noqa: PLC0415 - intake and batches call each other by nature

    uri = f"s3://{settings().data_bucket}/processed-data/{model}/batches/{batch}.json"
    digest = names.digest(listed)
    s3.put(uri, json.dumps(listed).encode())
    closed = {
        "state": "closed", "closed_at": at, "list_uri": uri, "objects": len(listed), "digest": digest,
        "bytes": sum(o["size"] for o in listed),
    }  # fmt: skip
    ledger.change(f"model/{model}", f"batch#{batch}", put=closed, only_if="#state = :open", given={"open": "open"})
    ledger.append(f"model/{model}", "batch", at, {"batch": batch} | closed, key=digest + batch)
    # Also for a batch that was closed before: a crash after closing must not lose its signal; the id makes it one.
    return admit(signals.of_batch(model, batch, digest, at))


def for_run(model: str, window: int) -> list[dict[str, Any]]:
    """Return the accepted and the not yet judged batches of the window, oldest first, each with its objects."""
    rows = [r for r in ledger.query(f"model/{model}", "batch#") if r["state"] in ("closed", "accepted")]
    rows.sort(key=lambda r: (r["closed_at"], r["batch"]))
    return [
        {"batch": r["batch"], "state": r["state"], "digest": r["digest"],
         "objects": json.loads(s3.read(r["list_uri"], limit=LIST_BYTES))}
        for r in rows[-window:]
    ]  # fmt: skip


def judge(model: str, accepted: list[str], refused: Mapping[str, str], at: str) -> None:
    """Mark batches as accepted or refused (with the reason); a judged batch keeps its first judgement."""
    for batch, state, why in [
        *((b, "accepted", "") for b in accepted),
        *((b, "refused", w) for b, w in refused.items()),
    ]:
        ledger.change(
            f"model/{model}", f"batch#{batch}", put={"state": state, "why": why, "judged_at": at},
            only_if="#state = :closed", given={"closed": "closed"},
        )  # fmt: skip
