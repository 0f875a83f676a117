"""Labelled capture: live requests whose truth came in later, as exact object versions, for a run to train on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from linnet.decisions import names
from linnet.decisions.governor import moment
from linnet.decisions.monitoring import hour_of
from linnet.gateways import s3
from linnet.settings import settings


def for_run(model: str, days: int, at: str) -> dict[str, list[dict[str, Any]]]:
    """Return the objects of ground truth and of capture of the last `days`, oldest first; both empty without truth."""
    endpoint, since = names.base(settings().stack, model), moment(at) - timedelta(days=days)
    bucket = f"s3://{settings().data_bucket}"

    def recent(prefix: str) -> Iterator[s3.Version]:
        for found in s3.versions(f"{bucket}/{prefix}"):
            hour = hour_of(found.key)
            if hour and hour >= since.replace(minute=0, second=0, microsecond=0) and found.size:
                yield found

    truth = [_row(bucket, o) for o in recent(f"ground-truth/{endpoint}/")] if days else []
    # The configs of another model may begin with this one's name: the folder below the config is the endpoint's.
    capture = (
        [_row(bucket, o) for o in recent(f"data-capture/{endpoint}-v") if o.key.split("/")[2] == endpoint]
        if truth
        else []
    )
    return {"truth": truth, "capture": capture}


def _row(bucket: str, found: s3.Version) -> dict[str, Any]:
    return {"uri": f"{bucket}/{found.key}", "version": found.version, "size": found.size}
