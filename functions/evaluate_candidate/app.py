"""Called by `retrain`: candidate and champion on the same held-out rows, then the gates (EV-01..07, RG-03)."""

from __future__ import annotations

import json
from typing import Any

from linnet.decisions import gates
from linnet.gateways import inputs, ledger, s3
from linnet.handling import task
from linnet.monitoring import holdout

ANSWER_BYTES = 256 * 1024 * 1024


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take the run and where the answers lie; return the judgement, the metrics and the decision threshold."""
    return judge(event["model"], event["run"], event["spec"], event, event["at"], event["correlation_id"])


def judge(
    model: str, run: str, spec: dict[str, Any], where: dict[str, Any], at: str, correlation_id: str
) -> dict[str, Any]:
    """Report on the answers, ask the gates, write evaluation.json and the ledger's entry."""
    truth = s3.read(where["labels_uri"], limit=ANSWER_BYTES)
    answers = {name: s3.read(uri, limit=ANSWER_BYTES) for name, uri in where["predictions"].items()}
    document = holdout.report(truth, answers, spec["evaluation"], where["champion"])
    judgement = gates.judge(document, spec["evaluation"], spec["approval"])
    document["judgement"] = judgement.row()
    uri = inputs.results_uri(model, run, "evaluation.json")
    s3.put(uri, json.dumps(document, indent=1).encode())
    told = {"evaluation_uri": uri, "decision_threshold": document["decision"]["threshold"]}
    entry = judgement.row() | told | {"run": run, "correlation_id": correlation_id}
    ledger.append(f"model/{model}", "judgement", at, entry, key=run)
    champion = document.get("champion", {}).get("metrics")
    return judgement.row() | told | {"metrics": document["metrics"], "champion_metrics": champion}
