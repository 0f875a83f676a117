"""The gates: good enough by itself, better than the champion, and who decides (EV-02, EV-03, RG-03)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from linnet.errors import BadInputError


@dataclass(frozen=True)
class Judgement:
    """The gates' answer, with the numbers it rests on."""

    verdict: Literal["better", "not better", "below threshold"]
    tier: Literal["automatic", "person", "reject"]
    metric: str
    value: float
    threshold: float
    champion_value: float | None
    why: str

    def row(self) -> dict[str, Any]:
        """Return the judgement as a JSON document."""
        return asdict(self)


def _number(metrics: Mapping[str, Any], name: str, whose: str) -> float:
    value = metrics.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadInputError(f"{whose}.{name}", value, "a finite number: a missing metric is unknown, never good")
    return float(value)


def judge(
    candidate: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    evaluation: Mapping[str, Any],
    approval: Mapping[str, Any],
    fit: str = "",
    bias: Mapping[str, float] | None = None,
) -> Judgement:
    """Judge a candidate by its metrics and by the champion's on the same rows; `evaluation`, `approval` as in the spec.

    At the threshold it passes. A tie keeps the champion (F35). `fit` is evaluation.fit's word where it is known: it is
    told, and refuses only where the spec says so, as an unknown one then does. `bias` are the metrics that the spec
    limits: one that is missing is unknown, and refused like one beyond its limit.

    Raises:
        BadInputError: a metric is missing or not finite (F27).
    """
    metric = str(evaluation["metric"])
    value = _number(candidate, metric, "candidate")
    threshold, margin = float(evaluation["threshold"]), float(evaluation["margin"])
    held = _number(champion, metric, "champion") if champion is not None else None
    tier = _tier(value, approval)
    learnt = f"; {fit}" if fit in ("overfit", "underfit") else ""
    if value < threshold:
        why = f"{metric} {value:.4f} is below the threshold {threshold:.4f}"
        return Judgement("below threshold", "reject", metric, value, threshold, held, why)
    if held is not None and value <= held + margin:
        why = f"{metric} {value:.4f} is not above the champion's {held:.4f}" + (f" by {margin:.4f}" if margin else "")
        return Judgement("not better", "reject", metric, value, threshold, held, why)
    if evaluation.get("refuse_overfit") and fit in ("", "overfit"):
        gap = float(evaluation["overfit_gap"])
        why = (
            f"{metric} {value:.4f} is more than {gap:.4f} below that of its training rows"
            if fit
            else f"{metric} of the training rows is unknown, and refuse_overfit asks for it"
        )
        return Judgement("not better", "reject", metric, value, threshold, held, why)
    unfair = _unfair(bias or {}, (evaluation.get("bias") or {}).get("limits", {}))
    if unfair:
        return Judgement("not better", "reject", metric, value, threshold, held, f"bias: {unfair}")
    against = "there is no champion yet" if held is None else f"the champion has {held:.4f}"
    return Judgement(
        "better", tier, metric, value, threshold, held, f"{metric} {value:.4f}; {against}; tier: {tier}{learnt}"
    )


def _unfair(found: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """Return the metrics farther from their ideal than the spec allows, or unknown; empty where all is well."""
    said = []
    for name, limit in limits.items():
        value = found.get(name)
        if value is None:
            said.append(f"{name} is unknown: the held-out rows do not hold both groups")
        elif abs(value - (1.0 if name == "DI" else 0.0)) > limit:
            said.append(f"{name} {value:.4f} is farther than {limit:g} from {1 if name == 'DI' else 0}")
    return "; ".join(said)


def _tier(value: float, approval: Mapping[str, Any]) -> Literal["automatic", "person", "reject"]:
    if value < float(approval["person"]):
        return "reject"
    if value >= float(approval["automatic"]) and not approval["require_person"]:
        return "automatic"
    return "person"
