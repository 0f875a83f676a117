"""Whether what exists under a name is what was asked for: then it was made by a call whose answer was lost (F28)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_KINDS = ("TrainingJob", "HyperParameterTuningJob", "ProcessingJob", "TransformJob")
_ENDS = ("ExitMessage", "FailureReason", "SecondaryStatus", "StoppingCondition")
TELLING = (*_ENDS, *(f"{kind}{part}" for kind in _KINDS for part in ("Name", "Status")))
"""The members of a job's description that say how it ended, the reason first; decisions.failures reads them."""
_UNTOLD = ("Tags",)
"""Members of a request that its Describe does not answer (API reference, DescribeTrainingJob and its siblings)."""


def differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the members of a Create request that its Describe answers otherwise, as `ResourceConfig.InstanceType`.

    What the description has beyond the request is SageMaker's: defaults, times, states.
    """
    return sorted(_differing({key: value for key, value in asked.items() if key not in _UNTOLD}, found, ""))


def _differing(asked: Any, found: Any, path: str) -> Iterator[str]:
    if isinstance(asked, Mapping) and isinstance(found, Mapping):
        for key, value in asked.items():
            yield from _differing(value, found.get(key), f"{path}.{key}" if path else key)
    elif isinstance(asked, list) and isinstance(found, list) and len(asked) == len(found):
        for number, (one, other) in enumerate(zip(asked, found, strict=True)):
            yield from _differing(one, other, f"{path}[{number}]")
    elif asked != found and (asked or found is not None):  # an empty list or map may be left out of the answer
        yield path
