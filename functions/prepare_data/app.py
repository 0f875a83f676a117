"""Called by `retrain`: splits by entity, writes the channels and the baseline that will follow the model (DV-04, MO-01)."""

from __future__ import annotations

from typing import Any

from linnet.data.limits import in_function
from linnet.data.prepare import prepare
from linnet.gateways import inputs, processing
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, run, spec, inputs_uri, too_large}`; return the channels' URIs, the row counts and the baseline's URI."""
    model, run, spec, uri = event["model"], event["run"], event["spec"], event["inputs_uri"]
    if event["too_large"]:
        return dict(processing.found(model, run)["prepared"])
    return prepare(model, run, spec, inputs.read(uri), inputs.labelled(uri), in_function(spec["data"]))
