"""The gates: good enough by itself, better than the champion, and who decides (EV-02, EV-03, EV-06, RG-03)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from linnet.errors import BadInputError

Verdict = Literal["better", "not better", "below threshold"]
_INFINITE = 1e9
"""A bias metric beyond this stands for an infinite one and has a hundred digits."""


@dataclass(frozen=True)
class Judgement:
    """The gates' answer, with the numbers it rests on."""

    verdict: Verdict
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


def judge(report: Mapping[str, Any], evaluation: Mapping[str, Any], approval: Mapping[str, Any]) -> Judgement:
    """Judge a candidate by its evaluation.json; `evaluation`, `approval` as in the spec. `why` has all that speaks against it.

    Read are the report's `metrics`, the champion's `metrics` on the same rows, `fit.verdict` and `bias`. At the threshold
    it passes; a tie keeps the champion (F35). Over- and underfit are told; overfit refuses only where the spec says so, as
    an unknown fit then does. A bias metric that the spec limits and that is unknown is refused like one beyond its limit.
    Who is better on the newest rows and worse on the older ones for certain is decided about by a person: the newest rows
    may be wrong (F23).

    Raises:
        BadInputError: a metric is missing or not finite (F27).
    """
    metrics, metric = report["metrics"], str(evaluation["metric"])
    champion = (report.get("champion") or {}).get("metrics")
    value, threshold = _number(metrics, metric, "candidate"), float(evaluation["threshold"])
    held = _number(champion, metric, "champion") if champion is not None else None
    fit = (report.get("fit") or {}).get("verdict", "")
    weak = value < threshold
    against = [f"{metric} {value:.4f} is below the threshold {threshold:.4f}"] if weak else []
    against += _not_above(metric, value, held, float(evaluation["margin"]))
    against += _too_costly(metrics, champion, evaluation.get("maximum_cost_per_row"))
    against += _unfair(report.get("bias") or {}, (evaluation.get("bias") or {}).get("limits", {}))
    unfit = _unfit(fit, metric, evaluation)
    told = unfit or ([fit] if fit in ("overfit", "underfit") else [])
    if against or unfit:
        verdict: Verdict = "below threshold" if weak else "not better"
        return Judgement(verdict, "reject", metric, value, threshold, held, "; ".join(against + told))
    tier, worse = _tier(value, approval), _worse_on_older(report)
    if worse and tier == "automatic":
        tier = "person"
    beside = "there is no champion yet" if held is None else f"the champion has {held:.4f}"
    why = "; ".join([f"{metric} {value:.4f}", beside, f"tier: {tier}", *worse, *told])
    return Judgement("better", tier, metric, value, threshold, held, why)


def _not_above(metric: str, value: float, held: float | None, margin: float) -> list[str]:
    if held is None or value > held + margin:
        return []
    return [f"{metric} {value:.4f} is not above the champion's {held:.4f}" + (f" by {margin:.4f}" if margin else "")]


def _worse_on_older(report: Mapping[str, Any]) -> list[str]:
    found = (report.get("older") or {}).get("difference")
    if not found or found["high"] >= 0:
        return []
    return [
        f"on older rows {found['metric']} is {-found['value']:.4f} below the champion's: are the newest labels right?"
    ]


def _too_costly(metrics: Mapping[str, Any], champion: Mapping[str, Any] | None, most: float | None) -> list[str]:
    """Return why the candidate's wrong calls cost too much a row, where the spec limits that (EV-06)."""
    if most is None:
        return []
    cost = _number(metrics, "cost_per_row", "candidate")
    beside = f" (the champion's is {_number(champion, 'cost_per_row', 'champion'):.4f})" if champion is not None else ""
    return [f"its cost of {cost:.4f} a row{beside} is above the maximum {most:.4f}"] if cost > most else []


def _unfit(fit: str, metric: str, evaluation: Mapping[str, Any]) -> list[str]:
    """Return why the fit refuses the candidate, where the spec says that it may (EV-07)."""
    if not evaluation.get("refuse_overfit") or fit not in ("", "overfit"):
        return []
    if not fit:
        return [f"{metric} of the training rows is unknown, and refuse_overfit asks for it"]
    return [f"overfit: {metric} is more than {float(evaluation['overfit_gap']):.4f} below that of its training rows"]


def _unfair(found: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """Return the metrics farther from their ideal than the spec allows, or unknown."""
    against = []
    for name, limit in limits.items():
        value, ideal = found.get("metrics", {}).get(name), 1 if name == "DI" else 0
        if value is None:
            why = found.get("unknown", {}).get(name, "the report does not have it")
            against.append(f"bias: {name} is unknown: {why}")
        elif not abs(value - ideal) <= limit:
            shown = f"{value:.4f}" if abs(value) < _INFINITE else f"{value:g}"
            against.append(f"bias: {name} {shown} is farther than {limit:g} from {ideal}")
    return against


def _tier(value: float, approval: Mapping[str, Any]) -> Literal["automatic", "person", "reject"]:
    if value < float(approval["person"]):
        return "reject"
    if value >= float(approval["automatic"]) and not approval["require_person"]:
        return "automatic"
    return "person"
