"""What a run's data may cost where it is read: little in a function, as much as the spec allows in a job."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from typing import Any

from linnet.monitoring.tables import Limits

_UNPACKED = 4
"""A Parquet file may declare so many times the size up to which a function reads."""
_ROW_BYTES = 32


def in_function(data: Mapping[str, Any]) -> Limits:
    """Return the limits of a function, from a spec's `data` section; its process is held to its memory from here on.

    What a file declares may be a lie. Whatever is really asked for beyond the memory is then refused as an error of that
    file, where Lambda would end the process without a word.
    """
    _hold(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")) * 1024**2)
    return Limits(bytes=_UNPACKED * data["processing"]["above_bytes"])


def in_job(data: Mapping[str, Any]) -> Limits:
    """Return the limits of a processing job, from a spec's `data` section."""
    most = data["maximum_bytes"]
    return Limits(bytes=most, rows=max(Limits().rows, most // _ROW_BYTES))


def _hold(most: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if most and (hard == resource.RLIM_INFINITY or most < hard):
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
