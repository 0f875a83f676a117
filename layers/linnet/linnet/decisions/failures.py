"""Why a run broke: the errors of Step Functions and SageMaker as one outcome, an error name and a reason for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BROKEN = ("failed", "stopped", "quota", "throttled", "no capacity", "spot exhausted", "lost answer")
"""The outcomes of runs that came to no judgement."""
AGAIN = ("quota", "throttled", "no capacity", "spot exhausted", "lost answer")
"""Those that may end well when tried again later: nothing was wrong with the data, the spec or the code."""
_ERROR = {
    "stopped": "RunStopped",
    "quota": "QuotaExceeded",
    "throttled": "Throttled",
    "no capacity": "NoCapacity",
    "spot exhausted": "SpotExhausted",
    "lost answer": "LostAnswer",
}
_KINDS = ("TrainingJob", "HyperParameterTuningJob", "TransformJob", "ProcessingJob")
_WORDS = {
    "TrainingJob": "training job",
    "HyperParameterTuningJob": "tuning job",
    "TransformJob": "transform job",
    "ProcessingJob": "processing job",
}
_CODES = {
    "ResourceLimitExceeded": "quota",
    "ServiceQuotaExceededException": "quota",
    "ThrottlingException": "throttled",
    "Throttling": "throttled",
    "RequestLimitExceeded": "throttled",
    "TooManyRequestsException": "throttled",
    "InsufficientInstanceCapacity": "no capacity",
    "CapacityError": "no capacity",
    # A job's name is the run's own: one that exists was made by a call whose answer was lost (F28).
    "ResourceInUse": "lost answer",
    "NameTakenError": "lost answer",  # not what this run asks: not adopted, the run is made again under another name
}
_LONGEST = 1000


@dataclass(frozen=True)
class Ending:
    """How a run ended that came to no judgement: one of BROKEN, the execution's error name, and the reason."""

    outcome: str
    error: str
    why: str


def ending(error: str, cause: str, code: str = "") -> Ending:
    """Return how a run ends that a step broke.

    `error` is what the run's execution ends with when nothing better is known, `cause` is what Step Functions says (for
    a `.sync` job its description as JSON, for a function `{errorType, errorMessage}`, else the service's text), and
    `code` is the error name that Step Functions gave, where it is not `error` itself.
    """
    told = _object(cause)
    told = _object(str(told.get("errorMessage", ""))) or told  # of an adopted job (errors.JobFailedError)
    kind = next((k for k in _KINDS if f"{k}Status" in told), None)
    if kind:
        outcome, why = _of_job(kind, told)
    elif "errorMessage" in told:
        why = str(told["errorMessage"])
        # botocore's own words; what else a function says may quote anybody.
        said = re.match(r"An error occurred \((\w+)\)", why) if told.get("errorType") == "ClientError" else None
        outcome = _by_code(said[1] if said else code or error)
    else:
        found = re.search(r"Error ?Code: (\w+)", cause)
        name = (code or error).rpartition(".")[2].removesuffix("Exception")
        outcome, why = _by_code(found[1] if found else name, cause), cause or code or error
        if outcome == "failed" and "States.Timeout" in (code, error):
            why = f"the step did not end in its time. {cause}".strip()
    named = _ERROR.get(outcome, error)
    return Ending(outcome, named, f"{named}: {why}"[:_LONGEST])


def _object(cause: str) -> Mapping[str, Any]:
    try:
        told = json.loads(cause)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _of_job(kind: str, told: Mapping[str, Any]) -> tuple[str, str]:
    """Return outcome and reason of a job that did not complete, from its description."""
    status, secondary = told[f"{kind}Status"], told.get("SecondaryStatus", "")
    job = f"{_WORDS[kind]} {told.get(f'{kind}Name', '')}".strip()
    # A processing job says in its ExitMessage what its program said.
    reason = " ".join(str(told[key]) for key in ("FailureReason", "ExitMessage") if told.get(key))
    if secondary == "MaxWaitTimeExceeded":
        limit = (told.get("StoppingCondition") or {}).get("MaxWaitTimeInSeconds", "its")
        return (
            "spot exhausted",
            f"{job} got no spot instance for long enough within {limit} seconds of waiting. {reason}".strip(),
        )
    if secondary == "MaxRuntimeExceeded":
        limit = (told.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", "its")
        return "failed", f"{job} ran longer than {limit} seconds (training.max_runtime_seconds). {reason}".strip()
    if status in ("Stopped", "Stopping"):
        return "stopped", f"{job} was stopped by a person. {reason}".strip()
    if reason.startswith("AlgorithmError"):  # whatever words the user's program wrote, it is the program that failed
        return "failed", f"{job} is {status}: {reason}"
    return _by_code(reason.partition(":")[0].strip(), reason), f"{job} is {status}: {reason or 'no reason is given'}"


def _by_code(code: str, text: str = "") -> str:
    for name in (code, f"{code}Exception"):
        if name in _CODES:
            return _CODES[name]
    # Services put codes and words of others into their own texts: a failed job that met a quota, an SDK's last try.
    if "Rate exceeded" in text or "ThrottlingException" in text:
        return "throttled"
    if "account-level service limit" in text or "ResourceLimitExceeded" in text:
        return "quota"
    if "CapacityError" in text or "Unable to provision requested ML compute capacity" in text:
        return "no capacity"
    return "failed"
