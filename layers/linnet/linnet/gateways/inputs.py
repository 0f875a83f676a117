"""A run's files: exact object versions come down, results go up, under the bucket's layout (DA-01)."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import s3, seals
from linnet.gateways.clients import client
from linnet.settings import settings

_LIST_BYTES = 32 * 1024 * 1024


def read(inputs_uri: str) -> list[dict[str, Any]]:
    """Return a run's batches, oldest first."""
    return list(json.loads(s3.read(inputs_uri, limit=_LIST_BYTES))["batches"])


def spec(inputs_uri: str) -> dict[str, Any]:
    """Return the spec that the run began with."""
    return dict(json.loads(s3.read(inputs_uri, limit=_LIST_BYTES))["spec"])


def sizes(inputs_uri: str) -> list[int]:
    """Return the sizes in bytes of all files that a run reads."""
    live = labelled(inputs_uri)
    return [int(o["size"]) for o in chain(*(b["objects"] for b in read(inputs_uri)), live["capture"], live["truth"])]


def labelled(inputs_uri: str) -> dict[str, list[dict[str, Any]]]:
    """Return a run's objects of capture and ground truth."""
    found = json.loads(s3.read(inputs_uri, limit=_LIST_BYTES)).get("labelled") or {}
    return {"capture": found.get("capture", []), "truth": found.get("truth", [])}


@contextlib.contextmanager
def files(objects: Sequence[Mapping[str, Any]], limit: int) -> Iterator[list[tuple[str, Path]]]:
    """Download exactly the listed versions for the time of a `with`; yield name and path of each.

    Raises:
        BadInputError: together they are larger than `limit` bytes.
        NotFoundError: a listed version is gone.
    """
    total = sum(int(o["size"]) for o in objects)
    if total > limit:
        raise BadInputError("bytes of the run's data", total, f"at most {limit} (data.maximum_bytes)")
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number, item in enumerate(objects):
            bucket, key = s3.split(item["uri"])
            path = Path(folder) / f"{number:05d}"
            if s3.head(item["uri"], item["version"] or None) is None:
                raise NotFoundError(f"{item['uri']} version {item['version']} does not exist any more")
            version = {"VersionId": item["version"]} if item["version"] else {}
            client("s3").download_file(bucket, key, str(path), ExtraArgs=version)
            found.append((key.rpartition("/")[2], path))
        yield found


def upload(path: Path | None, uri: str) -> seals.Seals:
    """Upload a file; return its seal, or none where there is no file."""
    if path is None:
        return {}
    (bucket, key), sha256 = s3.split(uri), seals.digest(path)
    client("s3").upload_file(str(path), bucket, key, ExtraArgs={"Metadata": {seals.DIGEST: sha256}})
    return seals.of_upload(uri, sha256)


def results_uri(model: str, run: str, name: str) -> str:
    """Return where a run's report lies."""
    return f"s3://{settings().data_bucket}/results/{model}/{run}/{name}"


def processed_uri(model: str, run: str) -> str:
    """Return the folder of a run's channels."""
    return f"s3://{settings().data_bucket}/processed-data/{model}/{run}"


def baseline_uri(model: str, run: str) -> str:
    """Return the folder of the baseline that a run's candidate carries."""
    return f"s3://{settings().data_bucket}/baselines/{model}/{run}"
