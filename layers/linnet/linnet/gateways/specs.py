"""The onboarded models and their specs."""

from __future__ import annotations

from typing import Any

from linnet.errors import BadInputError
from linnet.gateways import ledger


def models() -> list[str]:
    """Return the onboarded models."""
    return [str(row["model"]) for row in ledger.query("models")]


def spec_of(model: str, *, field: str = "model", said: str | None = None) -> dict[str, Any]:
    """Return a model's spec; `field` and `said` tell where its name came from, if it was not given as such.

    Raises:
        BadInputError: the model is not onboarded.
    """
    row = ledger.read(f"model/{model}", "spec")
    if row is None:
        raise BadInputError(field, said or model, "an onboarded model: " + (", ".join(models()) or "none yet"))
    return dict(row["spec"])
