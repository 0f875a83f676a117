"""Called by `retrain`: the data-quality gate before any training (DV-01, DV-02)."""

from __future__ import annotations

from typing import Any

from linnet.data.check import check
from linnet.data.limits import in_function
from linnet.gateways import inputs, processing, quality
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take `{model, run, spec, inputs_uri, too_large, at}`; return `{passed, failures, report_uri}`."""
    model, run, spec = event["model"], event["run"], event["spec"]
    if event["too_large"]:
        reports = processing.found(model, run)["reports"]
    else:
        reports = check(spec, inputs.read(event["inputs_uri"]), in_function(spec["data"]))
    return quality.conclude(model, run, reports, event["at"])
