"""Called by `retrain`: candidate and champion on the same held-out rows, then the gates (EV-01..03, RG-03)."""

from __future__ import annotations

import json
from typing import Any

from linnet.decisions import gates
from linnet.decisions.evaluation import read_metrics
from linnet.gateways import inputs, ledger, s3
from linnet.handling import task
from linnet.monitoring.evaluate import difference, evaluate, read_scores

ANSWER_BYTES = 256 * 1024 * 1024


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take the run and where the answers lie; return the judgement and the metrics."""
    return judge(event["model"], event["run"], event["spec"], event, event["at"], event["correlation_id"])


def judge(
    model: str, run: str, spec: dict[str, Any], where: dict[str, Any], at: str, correlation_id: str
) -> dict[str, Any]:
    """Compare the answers with the labels, write evaluation.json, and ask the gates."""
    wanted = spec["evaluation"]
    labels = read_scores(s3.read(where["labels_uri"], limit=ANSWER_BYTES), "labels")
    answers = {name: read_scores(s3.read(uri, limit=ANSWER_BYTES), name) for name, uri in where["predictions"].items()}
    costs = {k: wanted[k] for k in ("false_positive_cost", "false_negative_cost")}
    document = evaluate(labels, answers["candidate"], **costs)
    metrics, champion = read_metrics(document), None
    if "champion" in answers:
        champion = read_metrics(evaluate(labels, answers["champion"], **costs))
        found = difference(labels, answers["champion"], answers["candidate"], metric=wanted["metric"])
        document |= {
            "champion": champion | {"version": where["champion"]["version"]},
            "difference": {"value": found.value, "low": found.low, "high": found.high, "p_value": found.p_value},
        }
    judgement = gates.judge(metrics, champion, wanted, spec["approval"])
    document["judgement"] = judgement.row()
    uri = inputs.results_uri(model, run, "evaluation.json")
    s3.put(uri, json.dumps(document, indent=1).encode())
    entry = judgement.row() | {"run": run, "evaluation_uri": uri, "correlation_id": correlation_id}
    ledger.append(f"model/{model}", "judgement", at, entry, key=run)
    return judgement.row() | {"metrics": metrics, "champion_metrics": champion, "evaluation_uri": uri}
