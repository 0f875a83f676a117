"""Called by `retrain`: the request of the training job, complete and checked by nothing but the spec."""

from __future__ import annotations

import os
from typing import Any

from linnet.decisions import training
from linnet.handling import task
from linnet.settings import settings


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{run, spec, prepared}`; return the CreateTrainingJob request."""
    names = settings()
    return training.training_job(
        event["spec"],
        run=event["run"],
        stack=names.stack,
        bucket=names.data_bucket,
        role=names.sagemaker_role,
        region=os.environ["AWS_REGION"],
        prepared=event["prepared"],
    )
