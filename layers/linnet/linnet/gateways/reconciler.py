"""What is looked at on a schedule, model by model: what events missed (F5), and champions in their watch window.

A second pass over the same state does nothing (I8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from linnet.gateways import cleanup, judging, metrics, registry, runs, signals, specs


def reconcile(at: str) -> dict[str, Any]:
    """Reconcile every model; then say by a metric that all were, which an alarm watches.

    Raises:
        RuntimeError: names the models that could not be reconciled, after the others were.
    """
    done = _each("reconciled", lambda model: _reconciled(model, at))
    metrics.put_reconciled(len(done))
    return done


def _reconciled(model: str, at: str) -> dict[str, Any]:
    # What waits is started before what is found, so that one pass starts one run.
    run = runs.reconcile(model, at)
    found = {"run": run, "signals": signals.reconcile(model, at), **registry.reconcile(model, at)}
    return found | {"cleaned": cleanup.clean(model, at)}


def watch(at: str) -> dict[str, Any]:
    """Look at every champion that was promoted not long ago; one that turns out bad goes back.

    Raises:
        RuntimeError: names the models that could not be looked at, after the others were.
    """
    return _each("looked at", lambda model: judging.watch(model, at))


def _each(what: str, look: Callable[[str], Any]) -> dict[str, Any]:
    done: dict[str, Any] = {}
    failed: dict[str, Exception] = {}
    for model in specs.models():
        try:
            done[model] = look(model)
        except Exception as error:  # noqa: BLE001 - one model's trouble must not keep the others waiting
            failed[model] = error
    if failed:
        first = next(iter(failed.values()))
        text = f"not {what}: {', '.join(failed)}; the first because of {type(first).__name__}: {first}"
        raise RuntimeError(text) from first
    return done
