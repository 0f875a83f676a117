"""Feature attribution drift: whether live requests rank the features as the training data did (MO-08).

An attribution is a feature's mean absolute SHAP value. Only its size counts: a sign would take the score out of 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from linnet.errors import BadInputError

THRESHOLD = 0.90
"""A score below this violates (developer guide, "Feature attribution drift for models in production")."""
_LABEL = "label0"
_LARGEST = 1e150


def ndcg(baseline: Mapping[str, float], live: Mapping[str, float]) -> float:
    """Return how well the live ranking keeps the baseline's, from 0 to 1: NDCG = DCG / iDCG.

    DCG is the sum of a(f) / log2(rank + 1) over the live ranking, iDCG over the baseline's own, a being the baseline's
    attributions. Equal live attributions share the mean of their places. A feature that live requests lack counts as 0; one
    that only they have takes a place and brings nothing.

    Raises:
        BadInputError: an attribution is no finite number, or the baseline has none above 0: there is no ranking to keep.
    """
    before, now = _sizes("baseline", baseline), _sizes("live", live)
    ideal = sorted(before.values(), reverse=True)
    most = math.fsum(value * _discount(place) for place, value in enumerate(ideal))
    if not most:
        raise BadInputError("baseline attributions", sorted(before)[:20], "at least one that is not 0")
    levels: dict[float, list[str]] = {}
    for name in before.keys() | now.keys():
        levels.setdefault(now.get(name, 0.0), []).append(name)
    place, parts = 0, []
    for level in sorted(levels, reverse=True):
        names = levels[level]
        shared = math.fsum(_discount(place + n) for n in range(len(names))) / len(names)
        parts += [before.get(name, 0.0) * shared for name in names]
        place += len(names)
    return math.fsum(parts) / most


def ranks(baseline: Mapping[str, float], live: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the features whose rank changed, by the baseline's rank: `{feature, baseline, live, baseline_rank, live_rank}`.

    Ranks begin at 1, equal attributions in the order of their names. A feature that one side lacks has the rank None there.
    """
    before, now = _sizes("baseline", baseline), _sizes("live", live)
    first, then = places(before), places(now)
    return [
        {
            "feature": name, "baseline": before.get(name), "live": now.get(name),
            "baseline_rank": first.get(name), "live_rank": then.get(name),
        }
        for name in sorted(first.keys() | then.keys(), key=lambda name: (first.get(name, math.inf), name))
        if first.get(name) != then.get(name)
    ]  # fmt: skip


def violations(score: float, threshold: float = THRESHOLD, *, label: str = _LABEL) -> dict[str, Any]:
    """Return constraint_violations.json: one violation where the score is below the threshold."""
    found = [
        {
            "label": label, "metric_name": "shap", "constraint_check_type": "feature_attribution_drift_check",
            "description": f"Feature attribution drift {score} exceeds threshold {threshold}",
        }
    ]  # fmt: skip
    return {"version": "1.0", "violations": [] if score >= threshold else found}


def analysis(attributions: Mapping[str, float], expected_value: float, *, label: str = _LABEL) -> dict[str, Any]:
    """Return analysis.json in Clarify's schema: mean absolute SHAP values by feature, and the model's mean answer."""
    found = {"global_shap_values": dict(attributions), "expected_value": expected_value}
    return {"version": "1.0", "explanations": {"kernel_shap": {label: found}}}


def read_analysis(document: Any, *, label: str = _LABEL) -> dict[str, float]:
    """Return the attributions by feature of an analysis.json, ours or Clarify's.

    Raises:
        BadInputError: it has none for the label, or one that is no finite number.
    """
    found = document
    for name in ("explanations", "kernel_shap", label, "global_shap_values"):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        allowed = f"explanations.kernel_shap.{label}.global_shap_values with a number a feature"
        raise BadInputError("analysis.json", found, allowed)
    return _sizes("analysis.json", found)


def labels(document: Any) -> list[str]:
    """Return the labels that an analysis.json explains: one for each class of several, else one.

    Raises:
        BadInputError: it explains none.
    """
    found = document
    for name in ("explanations", "kernel_shap"):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        raise BadInputError("analysis.json", found, "explanations.kernel_shap with a label at least")
    return sorted(map(str, found))


def top(document: Any, most: int = 5) -> list[str]:
    """Return the features that decide most by an analysis.json, over all its labels together (XB-03)."""
    sums: dict[str, list[float]] = {}
    for label in labels(document):
        for name, value in read_analysis(document, label=label).items():
            sums.setdefault(name, []).append(value)
    return sorted(sums, key=lambda name: (-math.fsum(sums[name]), name))[:most]


def places(attributions: Mapping[str, float]) -> dict[str, int]:
    """Return the rank of each feature, from 1; equal attributions in the order of their names."""
    ordered = sorted(attributions, key=lambda name: (-attributions[name], name))
    return {name: place for place, name in enumerate(ordered, 1)}


def _sizes(where: str, attributions: Mapping[str, Any]) -> dict[str, float]:
    for name, value in attributions.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
            raise BadInputError(f"{where}, attribution of {name}", value, f"a number up to {_LARGEST:g}")
    return {str(name): abs(float(value)) for name, value in attributions.items()}


def _discount(place: int) -> float:
    return 1 / math.log2(place + 2)
