"""SageMaker Experiments: a run's trial, for SageMaker's own screens and search; the ledger is the truth (EX-01).

So a run goes on without a trial, and its row says why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from linnet.decisions import experiments
from linnet.gateways import ledger
from linnet.gateways.clients import client, error_code
from linnet.settings import settings

_NO_ROOM = ("ResourceLimitExceeded", "ResourceNotFound")
"""The account holds no more trials; or the experiment was deleted, or could not be made at onboarding."""


def of_run(spec: Mapping[str, Any], *, run: str, at: str) -> dict[str, str]:
    """Return `{ExperimentName, TrialName}` for the jobs of a run; empty where it has no trial.

    Whichever plans the run's first job makes or adopts the trial and writes it into the run's row, or `{why}` there is
    none; that holds for the whole run, so that no run is half in a trial.
    """
    subject, row = f"model/{spec['model']}", f"run#{run}"
    known = (ledger.read(subject, row) or {}).get("experiment")
    if known is None:
        known = _made(experiments.trial(spec, run=run, stack=settings().stack, at=at))
        ledger.change(subject, row, put={"experiment": known})
    return {} if "why" in known else dict(known)


def _made(request: Mapping[str, Any]) -> dict[str, str]:
    mine = {name: str(request[name]) for name in ("ExperimentName", "TrialName")}
    try:
        client("sagemaker").create_trial(**request)
    except ClientError as error:
        if error_code(error) in _NO_ROOM:
            return {"why": str(error)}
        if error_code(error) != "ValidationException":
            raise
        try:
            held = client("sagemaker").describe_trial(TrialName=mine["TrialName"])
        except ClientError:
            raise error from None  # the request was wrong, not the name taken
        if held["ExperimentName"] != mine["ExperimentName"]:
            return {"why": f"the trial {mine['TrialName']} exists in the experiment {held['ExperimentName']}"}
    return mine
