"""Called by `retrain`: makes the candidate's model and plans who answers the held-out rows."""

from __future__ import annotations

from typing import Any

from linnet.gateways import candidates
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{run, spec, trained, champion, features_uri, at}`; return `{transforms, predictions, trained}`."""
    return candidates.plan_evaluation(
        event["spec"],
        run=event["run"],
        trained=event["trained"],
        champion=event["champion"],
        features_uri=event["features_uri"],
        at=event["at"],
    )
