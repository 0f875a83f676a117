"""Called by `retrain`: candidate and champion on the same held-out rows, then the gates (EV-01..03, RG-03)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linnet.decisions import gates
from linnet.decisions.evaluation import fit, read_metrics
from linnet.errors import BadInputError
from linnet.gateways import inputs, ledger, s3
from linnet.handling import task
from linnet.monitoring.evaluate import Floats, Mask, bias, difference, evaluate, read_facet, read_scores, read_which

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
    truth = s3.read(where["labels_uri"], limit=ANSWER_BYTES)
    labels, which = read_scores(truth, "labels"), read_which(truth)
    answers = {name: read_scores(s3.read(uri, limit=ANSWER_BYTES), name) for name, uri in where["predictions"].items()}
    for name, found in answers.items():
        if len(found) != len(labels):
            raise BadInputError(f"answers of the {name}", len(found), f"{len(labels)}, one for each row (F25)")
    document = compare(labels, answers, which["newest"], wanted, where["champion"])
    metrics, held = read_metrics(document), document.get("champion")
    champion = {name: value for name, value in held.items() if name != "version"} if held else None
    if which["older"].any():  # told, and no part of the judgement: an older holdout favours the old champion
        document["older"] = compare(labels, answers, which["older"], wanted, where["champion"])
    document |= fitted(labels, answers["candidate"], which["train"], metrics, wanted)
    treated = {}
    if wanted.get("bias"):
        group, others = read_facet(truth, wanted["bias"]["disadvantaged"])
        mine = which["newest"]
        treated = bias(labels[mine], answers["candidate"][mine], group[mine], others[mine])
        document["bias"] = {"facet": wanted["bias"]["facet"], "metrics": treated}
    judgement = gates.judge(
        metrics, champion, wanted, spec["approval"], document.get("fit", {}).get("verdict", ""), treated
    )
    document["judgement"] = judgement.row()
    threshold = {"threshold": document["best_threshold"]["threshold"]}
    s3.put(inputs.results_uri(model, run, "threshold.json"), json.dumps(threshold).encode())
    uri = inputs.results_uri(model, run, "evaluation.json")
    s3.put(uri, json.dumps(document, indent=1).encode())
    entry = judgement.row() | {"run": run, "evaluation_uri": uri, "correlation_id": correlation_id}
    ledger.append(f"model/{model}", "judgement", at, entry, key=run)
    return judgement.row() | {"metrics": metrics, "champion_metrics": champion, "evaluation_uri": uri}


def compare(
    labels: Floats,
    answers: Mapping[str, Floats],
    rows: Mask,
    wanted: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the evaluation of the candidate on some of the rows, the champion's on the same, and the difference."""
    costs = {k: wanted[k] for k in ("false_positive_cost", "false_negative_cost")}
    document = evaluate(labels[rows], answers["candidate"][rows], **costs)
    if "champion" in answers and champion:
        held = read_metrics(evaluate(labels[rows], answers["champion"][rows], **costs))
        both = len(set(labels[rows].tolist())) > 1 or wanted["metric"] != "auc"
        found = (
            difference(labels[rows], answers["champion"][rows], answers["candidate"][rows], metric=wanted["metric"])
            if both
            else None
        )
        document["champion"] = held | {"version": champion["version"]}
        document["difference"] = found and {
            "value": found.value, "low": found.low, "high": found.high, "p_value": found.p_value,
        }  # fmt: skip
    return document


def fitted(
    labels: Floats, scores: Floats, train: Mask, metrics: Mapping[str, float], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """Return how the candidate fits: its metric on training rows and on the holdout (EV-07); nothing where it is undefined."""
    metric = str(wanted["metric"])
    learnt = read_metrics(evaluate(labels[train], scores[train])).get(metric) if train.any() else None
    if learnt is None or metric not in metrics:
        return {}
    verdict = fit(learnt, metrics[metric], gap=float(wanted["overfit_gap"]))
    return {"fit": {"metric": metric, "train": learnt, "holdout": metrics[metric], "verdict": verdict}}
