"""What a run's data may cost where it is read: little in a function, as much as the spec allows in a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linnet.monitoring.tables import Limits

_UNPACKED = 4
"""A Parquet file may declare so many times the size up to which a function reads."""
_ROW_BYTES = 32


def in_function(data: Mapping[str, Any]) -> Limits:
    """Return the limits of a function, from a spec's `data` section."""
    return Limits(bytes=_UNPACKED * data["processing"]["above_bytes"])


def in_job(data: Mapping[str, Any]) -> Limits:
    """Return the limits of a processing job, from a spec's `data` section."""
    most = data["maximum_bytes"]
    return Limits(bytes=most, rows=max(Limits().rows, most // _ROW_BYTES))
