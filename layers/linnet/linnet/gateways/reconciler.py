"""What events missed is found on a schedule, model by model (F5); a second pass over the same state does nothing (I8)."""

from __future__ import annotations

from typing import Any

from linnet.gateways import cleanup, metrics, registry, runs, signals, specs


def reconcile(at: str) -> dict[str, Any]:
    """Reconcile every model, whatever befalls another one; then say by a metric that all were, which an alarm watches.

    Raises:
        RuntimeError: names the models that could not be reconciled, after the others were.
    """
    done: dict[str, Any] = {}
    failed: dict[str, Exception] = {}
    for model in specs.models():
        try:
            # What waits is started before what is found, so that one pass starts one run.
            run = runs.reconcile(model, at)
            found = {"run": run, "signals": signals.reconcile(model, at), **registry.reconcile(model, at)}
            done[model] = found | {"cleaned": cleanup.clean(model, at)}
        except Exception as error:  # noqa: BLE001 - one model's trouble must not keep the others waiting
            failed[model] = error
    if failed:
        first = next(iter(failed.values()))
        text = f"not reconciled: {', '.join(failed)}; the first because of {type(first).__name__}: {first}"
        raise RuntimeError(text) from first
    metrics.put_reconciled(len(done))
    return done
