"""Data sets at rest, looked at on demand: a transform's output, a feature group's extract, others' capture (MO-12, MO-15)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from linnet.errors import BadInputError

FOLDERS = ("results/", "processed-data/", "extracts/", "captures/")
"""Where in the data bucket data sets may lie: nothing else may be read as one."""
Format = Literal["csv", "parquet", "jsonl"]
_FORMATS: dict[str, Format] = {"csv": "csv", "parquet": "parquet", "jsonl": "jsonl", "ndjson": "jsonl"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LONGEST = 1024


class DataSet(NamedTuple):
    """A prefix of S3 and the name under which its finding is kept."""

    uri: str
    name: str

    @property
    def label_first(self) -> bool:
        """Whether a file without a header may have the label before the features: SageMaker's form of training data."""
        return self._folder == "processed-data"

    @property
    def captured(self) -> bool:
        """Whether the files are what some endpoint captured (SageMaker's data capture), copied here."""
        return self._folder == "captures"

    @property
    def _folder(self) -> str:
        return self.uri.removeprefix("s3://").split("/")[1]


def read(data: Any, bucket: str) -> DataSet:
    """Return the data set that a request names: `{uri, name}`.

    Raises:
        BadInputError: names the field and what is allowed.
    """
    if not isinstance(data, Mapping) or data.keys() != {"uri", "name"}:
        found = sorted(map(str, data)) if isinstance(data, Mapping) else data
        raise BadInputError("data", found, "{uri, name}")
    uri, name = data["uri"], data["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadInputError("data.name", name, "1 to 64 letters, digits, . _ and -, such as nightly-2026-11-21")
    homes = [f"s3://{bucket}/{folder}" for folder in FOLDERS]
    if (
        not isinstance(uri, str)
        or len(uri) > _LONGEST
        or not any(uri.startswith(home) and uri != home for home in homes)
    ):
        raise BadInputError("data.uri", uri, f"a prefix below {', '.join(homes)}")
    return DataSet(uri, name)


def format_of(key: str) -> Format | None:
    """Return the format of a file by its name; None for what is no table, such as `_SUCCESS`, a manifest or metadata.

    A transform's output is called as its input with `.out` behind it; without any other ending it is CSV.
    """
    name = key.rpartition("/")[2]
    if not name or name[0] in "._":
        return None
    first, _, ending = name.removesuffix(".out").rpartition(".")
    if name.endswith(".out") and not first:
        return "csv"
    return _FORMATS.get(ending.lower()) if first else None
