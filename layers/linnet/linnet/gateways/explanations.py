"""What explains a champion's answers: the sample of a window and the job for it go up, its attributions come back (MO-08)."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import linnet
from linnet.decisions import attribution, monitoring, names
from linnet.errors import NotFoundError
from linnet.gateways import findings, inputs, s3, sagemaker
from linnet.settings import settings

_ANALYSIS = "analysis.json"


def spec(model: str, champion: Mapping[str, Any], today: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec that the champion was trained by, with the monitors of today's.

    Raises:
        NotFoundError: no run of ours made the champion.
    """
    return inputs.spec(inputs.results_uri(model, _run(model, champion), "inputs.json")) | {
        "monitors": today["monitors"]
    }


def _run(model: str, champion: Mapping[str, Any]) -> str:
    if not champion["run"]:
        raise NotFoundError(
            f"version {champion['version']} of {model} has no run: nobody knows which rows it learnt from"
        )
    return str(champion["run"])


def plan(
    spec: Mapping[str, Any], champion: Mapping[str, Any], *, start: datetime, rows: Sequence[Sequence[str]],
    seen: Mapping[str, Any], work: str,
) -> dict[str, Any]:  # fmt: skip
    """Put a window's sample and what was `seen` of the window below the prefix `work`; return the request of its job.

    Without rows there is no job, and the request is empty. The champion's own held-out rows are explained by the same job
    where none has done so.
    """
    mine, model, run = settings(), str(spec["model"]), _run(str(spec["model"]), champion)
    folder = _uri(work)
    outputs: dict[attribution.Part, str] = {"live": _window(model, start)}
    if baseline(model, champion) is None:
        outputs["baseline"] = inputs.baseline_uri(model, run)
    request = attribution.request(spec, list(outputs)) | {"seen": dict(seen)}
    s3.put(f"{folder}/{attribution.REQUEST}", json.dumps(request).encode())
    if not rows:
        return {}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    s3.put(f"{folder}/live.csv", text.getvalue().encode(), "text/csv")
    container = sagemaker.container(str(champion["package_arn"]))
    request = attribution.job(
        spec, run=run, stack=mine.stack, role=mine.sagemaker_role, region=os.environ["AWS_REGION"],
        bucket=mine.data_bucket, image=str(container["Image"]), look=work, code_uri=_program(),
        request_uri=f"{folder}/{attribution.REQUEST}", artifact=str(container["ModelDataUrl"]),
        baseline_uri=f"{inputs.processed_uri(model, run)}/test/features.csv", live_uri=f"{folder}/live.csv",
        outputs=outputs, key=mine.data_key,
    )  # fmt: skip
    return request | {"NetworkConfig": request["NetworkConfig"] | mine.vpc()}


def _program() -> str:
    """Put the program that explains, and what it needs, where its jobs find them; return their folder."""
    files = {
        attribution.PROGRAM: (Path(linnet.__file__).parent / "data" / attribution.PROGRAM).read_text(encoding="utf-8"),
        "requirements.txt": attribution.REQUIREMENTS,
    }
    folder = f"s3://{settings().data_bucket}/code/attributions/{names.digest(files)}"
    for name, content in files.items():
        s3.put(f"{folder}/{name}", content.encode(), "text/plain")
    return folder


def seen(work: str) -> dict[str, Any]:
    """Return what was seen of a window when its sample was put below `work`.

    Raises:
        NotFoundError: no sample was taken.
    """
    return dict(findings.document(f"{_uri(work)}/{attribution.REQUEST}")["seen"])


def found(model: str, start: datetime) -> dict[str, Any]:
    """Return the analysis.json that a job made of a window's sample.

    Raises:
        NotFoundError: it made none.
    """
    return findings.document(f"{_window(model, start)}/{_ANALYSIS}")


def baseline(model: str, champion: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the analysis.json of the rows that the champion's own run held out, None before they were explained.

    It lies beside the baseline of that run, so another version has another one.
    """
    try:
        return findings.document(f"{inputs.baseline_uri(model, _run(model, champion))}/{_ANALYSIS}")
    except NotFoundError:
        return None


def _window(model: str, start: datetime) -> str:
    return _uri(monitoring.results_folder(names.base(settings().stack, model), start, monitoring.ATTRIBUTION))


def _uri(folder: str) -> str:
    return f"s3://{settings().data_bucket}/{folder.rstrip('/')}"
