"""Called by `retrain` and `monitor` when a job's name is taken: the answer to its making may have been lost (F28)."""

from __future__ import annotations

from typing import Any

from linnet.gateways import jobs
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{request}`, the request that was refused; return what its job made once that has completed.

    That is `{training_job, artifact}` of a training job, `{tuning_job}` of a tuning job, else `{}`.
    """
    return jobs.adopt(event["request"])
