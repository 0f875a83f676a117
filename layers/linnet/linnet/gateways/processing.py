"""The processing job of a run: Linnet's own code for it goes up, what it found comes back."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import linnet
from linnet.decisions import experiments, names, processing
from linnet.gateways import inputs, s3, trials
from linnet.settings import settings

_RESULT_BYTES = 32 * 1024 * 1024
_START = "from linnet.data.job import main\nimport sys\nmain(*sys.argv[1:])\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The same code is the same archive, whenever and wherever it is packed."""


def plan(spec: Mapping[str, Any], *, run: str, inputs_uri: str, at: str) -> dict[str, Any]:
    """Put Linnet's code where the job finds it, and return the job's request."""
    mine = settings()
    needed = {name: getattr(mine, name) for name in ("stack", "data_bucket", "table", "bus", "topic")}
    sizes = inputs.sizes(inputs_uri)
    request = processing.job(
        spec, run=run, stack=mine.stack, role=mine.sagemaker_role, region=os.environ["AWS_REGION"],
        inputs_uri=inputs_uri, code_uri=_code(), size=sum(sizes),
        environment={f"LINNET_{name.upper()}": value for name, value in needed.items()}, key=mine.data_key,
    )  # fmt: skip
    request |= {"NetworkConfig": mine.vpc()} if mine.vpc() else {}
    return request | experiments.step(processing.PURPOSE, trials.of_run(spec, run=run, at=at))


def _code() -> str:
    """Pack the package that runs here, so that the job runs the same; return the archive's URI."""
    root = Path(linnet.__file__).parent
    files = {str(p.relative_to(root.parent)): p.read_bytes() for p in sorted(root.rglob("*.py"))}
    files["__main__.py"] = _START.encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    uri = f"s3://{settings().data_bucket}/code/linnet/{names.digest({n: c.decode() for n, c in files.items()})}.zip"
    s3.put(uri, packed.getvalue(), "application/zip")
    return uri


def keep(model: str, run: str, found: Mapping[str, Any]) -> None:
    """Write what the job found: `reports` by batch, and `prepared` or null."""
    s3.put(inputs.results_uri(model, run, "processing.json"), json.dumps(found).encode())


def found(model: str, run: str) -> dict[str, Any]:
    """Return what the job found.

    Raises:
        NotFoundError: the job has written nothing.
    """
    return dict(json.loads(s3.read(inputs.results_uri(model, run, "processing.json"), limit=_RESULT_BYTES)))
