"""The onboarded models and their specs."""

from __future__ import annotations

from typing import Any

from linnet.errors import BadInputError
from linnet.gateways import ledger


def models() -> list[str]:
    """Return the onboarded models."""
    return [str(row["model"]) for row in ledger.query("models")]


def spec_of(model: str) -> dict[str, Any]:
    """Return a model's spec.

    Raises:
        BadInputError: the model is not onboarded.
    """
    row = ledger.read(f"model/{model}", "spec")
    if row is None:
        raise BadInputError("model", model, "an onboarded model: " + (", ".join(models()) or "none yet"))
    return dict(row["spec"])
