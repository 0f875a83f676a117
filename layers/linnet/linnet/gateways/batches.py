"""Batches: a burst of objects becomes one list of exact object versions, and the list becomes one signal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from linnet.decisions import batches, governor, names, signals
from linnet.errors import BadInputError, NotFoundError
from linnet.events.aws import S3Event
from linnet.gateways import ledger, machines, s3, specs
from linnet.settings import settings

LIST_BYTES = 32 * 1024 * 1024
_AT_ONCE = 10
"""So many objects of a manifest are verified at once, as many as the client has connections; each holds 1 MiB."""
_LOOKED_BACK = timedelta(days=2)
"""A folder whose last batch closed earlier is not compared with S3 any more: its events had their retries long ago."""


def arrived(event: S3Event, at: str) -> dict[str, Any]:
    """Note an object below raw-data/; its manifest closes the batch at once, else its first object starts `intake`.

    `at` is when its event came: a batch is quiet when nothing comes, however long S3 and the bus took to tell (F4).
    """
    found = event.detail.object
    where = signals.place(found.key)
    if where is None or found.size == 0:
        return {"ignored": f"{found.key} is a folder's marker, empty, or not raw data"}
    model, folder, name = where
    bucket = event.detail.bucket.name
    if bucket != settings().data_bucket:
        raise BadInputError("bucket", bucket, settings().data_bucket)
    spec = specs.spec_of(model, field="model in key", said=found.key)
    uri = f"s3://{bucket}/{found.key}"
    if name == signals.MANIFEST:
        return _close_by_manifest(model, folder, uri, found.version_id, event.at, spec)
    row = {"uri": uri, "version": found.version_id, "size": found.size, "sequencer": found.sequencer}
    batch = _note(model, folder, row, event.at, at)
    if batch is None:
        return {"ignored": f"version {found.version_id} of {found.key} is in a closed batch, or overwritten since"}
    _collect(model, batch, spec["data"]["quiet_seconds"])
    return {"batch": batch, "object": found.key}


def _batches(model: str, folder: str) -> tuple[list[dict[str, Any]], str]:
    """Return the batches made of a folder, oldest first, and which one takes what comes now: the open or the next."""
    rows = [
        r for r in ledger.query(f"model/{model}", f"batch#{folder}")
        if str(r["batch"]).partition(signals.CONTINUED)[0] == folder
    ]  # fmt: skip
    rows.sort(key=lambda r: int(str(r["batch"]).partition(signals.CONTINUED)[2] or 1))
    after = f"{folder}{signals.CONTINUED}{len(rows) + 1}" if rows else folder
    return rows, next((str(r["batch"]) for r in rows if r["state"] == "open"), after)


def _note(model: str, folder: str, row: Mapping[str, Any], put_at: str, at: str) -> str | None:
    """Enter an object into the folder's open batch and return that; None where a closed one has it already (F1, F4)."""
    while True:
        rows, batch = _batches(model, folder)
        if any(_is_stale(row, r) for r in rows if r["state"] != "open" and batches.may_list(r["closed_at"], put_at)):
            return None
        opened = {"batch": batch, "state": "open", "opened": at, "last": at, "noted": 0}
        held = ledger.put_or_get(f"model/{model}", f"batch#{batch}", opened) or opened
        _note_object(f"model/{model}/batch/{batch}", f"object#{row['uri']}", row)
        # Closing asks for the count that it read: an object is either in the list or finds the batch closed.
        if ledger.change(
            f"model/{model}", f"batch#{batch}", put={"last": max(at, str(held["last"]))}, add={"noted": 1},
            only_if="#state = :open", given={"open": "open"},
        ):  # fmt: skip
            return batch


def _is_stale(row: Mapping[str, Any], closed: Mapping[str, Any]) -> bool:
    """Say whether a closed batch lists this version, or the one that has overwritten it since."""
    listed = {o["version"] for o in _listed(closed["list_uri"]) if o["uri"] == row["uri"]}
    if not listed or row["version"] in listed:
        return bool(listed)
    now = s3.head(str(row["uri"]))
    return now is not None and now.get("VersionId", "") in listed


def _listed(uri: str) -> list[dict[str, Any]]:
    return list(json.loads(s3.read(uri, limit=LIST_BYTES)))


def _note_object(pk: str, sk: str, row: Mapping[str, Any]) -> None:
    """Keep the latest version of an object, whatever the order of its events (F4).

    A row without a sequencer was read from S3 itself: it is newer than what events have told so far.
    """
    while held := ledger.put_or_get(pk, sk, row):
        seen = str(held["sequencer"])
        if row["sequencer"] and not batches.newer(str(row["sequencer"]), seen):
            return
        put = {name: value for name, value in row.items() if value or name != "sequencer"}
        if ledger.change(pk, sk, put=put, only_if="#sequencer = :seen", given={"seen": seen}):
            return


def _collect(model: str, batch: str, quiet_seconds: int) -> None:
    """Start the machine that waits for the batch's quiet; its name makes it one."""
    name = f"{model}-batch-{names.digest(model, batch)}"
    given = {"model": model, "batch": batch, "correlation_id": name, "quiet_seconds": quiet_seconds}
    machines.start(settings().intake_machine, name, given)


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
    spec = specs.spec_of(model)
    data = spec["data"]
    if not batches.is_over(
        row["opened"], row["last"], at, quiet_seconds=data["quiet_seconds"], limit_seconds=data["batch_limit_seconds"]
    ):
        return {"closed": False, "why": "objects still arrive"}
    listed = [
        {"uri": o["uri"], "version": o["version"], "size": o["size"]}
        for o in ledger.query(f"model/{model}/batch/{batch}", "object#")
    ]
    counted = {"only_if": "#state = :open AND #noted = :noted", "given": {"open": "open", "noted": row["noted"]}}
    if not _close(model, batch, listed, at, counted):
        return {"closed": False, "why": "objects still arrive"}
    _admit(model, batch, names.digest(listed), at, spec)
    return {"closed": True, "why": "it is quiet"}


def _close_by_manifest(
    model: str, folder: str, uri: str, version: str, at: str, spec: dict[str, Any]
) -> dict[str, Any]:
    """Verify every object that a manifest lists, and close the batch with exactly these versions (F21, F22)."""
    try:
        entries = batches.read_manifest(s3.read(uri, version=version or None, limit=batches.MANIFEST_BYTES))
    except NotFoundError as error:  # the event is a claim; S3 is consistent, so waiting would not mend it
        raise BadInputError("_MANIFEST.json", f"{uri} version {version}", "an object that exists") from error
    # Threads may share the S3 client, which exists by now, but not make it. `map` keeps the manifest's order, so that of
    # several errors the same one is told whichever came first.
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        listed = list(pool.map(lambda entry: _verified(f"{uri.rpartition('/')[0]}/{entry.name}", entry), entries))
    digest = names.digest(listed)
    free = {"only_if": "attribute_not_exists(pk) OR #state = :open", "given": {"open": "open"}}
    while True:
        rows, batch = _batches(model, folder)
        same = next((str(r["batch"]) for r in rows if r.get("digest") == digest), None)  # a manifest closes once
        if same or _close(model, batch, listed, at, free):
            break
    batch = same or batch
    return {"batch": batch} | _admit(model, batch, digest, at, spec)


def _verified(uri: str, entry: batches.Entry) -> dict[str, Any]:
    held = s3.held(uri, entry.version or None)
    if held is None:
        raise BadInputError("_MANIFEST.json", entry.name, "an object that was put before its manifest")
    if held.size != entry.size:
        raise BadInputError(f"size of {entry.name}", held.size, f"{entry.size}, as its manifest says")
    if held.sha256 != entry.sha256:
        raise BadInputError(f"sha256 of {entry.name}", held.sha256, f"{entry.sha256}, as its manifest says")
    return {"uri": uri, "version": held.version, "size": held.size, "sha256": held.sha256, "rows": entry.rows}


def _close(model: str, batch: str, listed: list[dict[str, Any]], at: str, condition: Mapping[str, Any]) -> bool:
    """Close a batch with this list where the condition on its row holds; row and history entry are written together."""
    digest = names.digest(listed)
    uri = f"s3://{settings().data_bucket}/processed-data/{model}/batches/{batch}-{digest}.json"
    s3.put(uri, json.dumps(listed).encode())
    closed = {
        "batch": batch, "state": "closed", "closed_at": at, "list_uri": uri, "objects": len(listed), "digest": digest,
        "bytes": sum(o["size"] for o in listed),
    }  # fmt: skip
    change = ledger.changed(f"model/{model}", f"batch#{batch}", put=closed, **condition)
    return ledger.append(f"model/{model}", "batch", at, closed, key=digest + batch, beside=[change])


def _admit(model: str, batch: str, digest: str, at: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Admit the signal of a closed batch; also of one closed before: a crash in between must not lose it, its id is one."""
    from linnet.gateways.signals import admit  # noqa: PLC0415 - intake and batches call each other by nature

    return admit(signals.of_batch(model, batch, digest, at), spec)


def reconcile(model: str, at: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Admit closed batches whose signal was lost, close what is quiet, take in folders of which no event told (F5)."""
    done: dict[str, Any] = {}
    rows = list(ledger.query(f"model/{model}", "batch#"))
    for row in rows:
        batch = str(row["batch"])
        if row["state"] == "open":
            done[batch] = close_when_quiet(model, batch, at)
        elif row["state"] == "closed":
            signal = signals.of_batch(model, batch, row["digest"], row["closed_at"])
            if ledger.read(f"model/{model}", f"reason#{signal.id}") is None:
                done[batch] = _admit(model, batch, row["digest"], row["closed_at"], spec)
    old = governor.moment(at) - _LOOKED_BACK
    made: dict[str, list[dict[str, Any]]] = {}
    for row in ledger.query(f"model/{model}", "batch#"):
        made.setdefault(str(row["batch"]).partition(signals.CONTINUED)[0], []).append(row)
    for folder in s3.folders(f"s3://{settings().data_bucket}/{signals.PREFIX}{model}/", signals.is_partition):
        parts = made.get(folder, [])
        if not parts or any(p["state"] == "open" or governor.moment(p["closed_at"]) > old for p in parts):
            done |= _untold(model, folder, parts, at, spec)
    return done


def _untold(model: str, folder: str, parts: list[dict[str, Any]], at: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Take what S3 has in a folder and no batch of it as if its events had come, once the folder is quiet."""
    found = [o for o in s3.versions(f"s3://{settings().data_bucket}/{signals.PREFIX}{model}/{folder}/") if o.size]
    quiet = governor.moment(at) - timedelta(seconds=spec["data"]["quiet_seconds"])
    if not found or max(o.at for o in found) > quiet:
        return {}
    known: set[tuple[str, str]] = set()
    for part in parts:
        held = f"model/{model}/batch/{part['batch']}"
        objects = ledger.query(held, "object#") if part["state"] == "open" else _listed(part["list_uri"])
        known |= {(o["uri"], o["version"]) for o in objects}
    manifest = f"{signals.PREFIX}{model}/{folder}/{signals.MANIFEST}"
    told = [o for o in found if o.key == manifest and all(p["state"] == "open" for p in parts)] or [
        o for o in found if o.key != manifest and (f"s3://{settings().data_bucket}/{o.key}", o.version) not in known
    ]
    return {event.detail.object.key: arrived(event, event.at) for event in map(_told_now, told)}


def _told_now(found: s3.Version) -> S3Event:
    return S3Event.model_validate({
        "id": f"reconcile#{names.digest(found.key, found.version)}", "source": "aws.s3", "time": found.at,
        "detail-type": "Object Created", "detail": {
            "bucket": {"name": settings().data_bucket},
            "object": {"key": found.key, "size": found.size, "version-id": found.version},
        },
    })  # fmt: skip


def for_run(model: str, window: int) -> list[dict[str, Any]]:
    """Return the accepted and the not yet judged batches of the window, oldest first, each with its objects.

    An object version that two batches list - by quiet and by a late manifest - counts in the later one.
    """
    rows = [r for r in ledger.query(f"model/{model}", "batch#") if r["state"] in ("closed", "accepted")]
    rows.sort(key=lambda r: (r["closed_at"], r["batch"]))
    found = [
        {"batch": r["batch"], "state": r["state"], "digest": r["digest"], "objects": _listed(r["list_uri"])}
        for r in rows[-window:]
    ]
    return batches.each_object_once(found)
