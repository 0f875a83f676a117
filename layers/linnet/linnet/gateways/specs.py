"""The onboarded models and their specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from linnet.decisions import names
from linnet.errors import BadInputError
from linnet.events.spec import filled
from linnet.gateways import ledger

_SHOWN = 20


def models() -> list[str]:
    """Return the onboarded models."""
    return [str(row["model"]) for row in ledger.query("models")]


def read(model: str) -> dict[str, Any] | None:
    """Return a model's spec, None if it is not onboarded. Fields that the version which stored it did not know are filled."""
    row = ledger.read(f"model/{model}", "spec")
    return None if row is None else filled(row["spec"])


def spec_of(model: str, *, field: str = "model", said: str | None = None) -> dict[str, Any]:
    """Return a model's spec; `field` and `said` tell where its name came from, if it was not given as such.

    Raises:
        BadInputError: the model is not onboarded.
    """
    return first_of([model], field=field, said=said or model)


def first_of(candidates: Sequence[str], *, field: str, said: str) -> dict[str, Any]:
    """Return the spec of the first of these that is onboarded: one read a name, however many models there are.

    Raises:
        BadInputError: none is.
    """
    for model in filter(names.valid_model, candidates):
        spec = read(model)
        if spec is not None:
            return spec
    raise BadInputError(field, said, "an onboarded model: " + (", ".join(models()[:_SHOWN]) or "none yet"))
