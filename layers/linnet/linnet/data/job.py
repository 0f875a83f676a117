"""The processing job of a run whose data is too large for a function: checks it and, if it is good, prepares it."""

from __future__ import annotations

import sys
from pathlib import Path

from linnet import imported
from linnet.data.check import check, good
from linnet.data.limits import in_job
from linnet.data.prepare import prepare
from linnet.gateways import inputs, processing

MESSAGE = Path("/opt/ml/output/message")
"""What stands here when the job ends becomes its ExitMessage (developer guide, "Build Your Own Processing Container")."""


def main(model: str, run: str, inputs_uri: str) -> None:
    """Write what the functions validate_data and prepare_data would have found, for them to read.

    Raises:
        LinnetError: as they would have; its text becomes the job's ExitMessage.
    """
    imported()
    try:
        _tell(f"run {run} of {model}: reading {inputs_uri}")
        spec, batches = inputs.spec(inputs_uri), inputs.read(inputs_uri)
        limits = in_job(spec["data"])
        reports = check(spec, batches, limits)
        for name, report in reports.items():
            _tell(f"batch {name}: {report['verdict']}, {report['rows']} rows")
        prepared = None
        if good(reports):  # no run goes on with bad data
            prepared = prepare(model, run, spec, batches, inputs.labelled(inputs_uri), limits)
            _tell(f"prepared: {prepared['rows']}")
        processing.keep(model, run, {"reports": reports, "prepared": prepared})
    except Exception as error:
        if MESSAGE.parent.is_dir():
            MESSAGE.write_text(f"{type(error).__name__}: {error}"[:1000], encoding="utf-8")
        raise


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a job's standard output is its log


if __name__ == "__main__":
    main(*sys.argv[1:])
