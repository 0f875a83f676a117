"""Batch transform jobs: a model answers for whole files, batch by batch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.sagemaker.executor.channels import ClientError, inside, objects
from local.sagemaker.executor.jobs import ContainerJob
from local.sagemaker.executor.serving import Worker, worker
from local.sagemaker.ports import Answer, Container, JobOutcome

_MEGABYTE = 1024 * 1024
_SPLITS = ("None", "Line")
_SLICE = re.compile(r"^\$\[(-?\d*):(-?\d*)\]$")
_PICK = re.compile(r"^\$\[\s*(-?\d+(?:\s*,\s*-?\d+)*)\s*\]$")

Fields = list[str]


def csv_filter(path: str) -> Callable[[Fields], Fields]:
    """Return what a JSONPath of DataProcessing takes of a CSV record: `$`, `$[1:]`, `$[0,2]`, `$[-1]`.

    Raises:
        ClientError: for any other path.
    """
    if path == "$":
        return lambda fields: fields
    if cut := _SLICE.match(path):
        start, stop = (int(end) if end else None for end in cut.groups())
        return lambda fields: fields[start:stop]
    if picked := _PICK.match(path):
        indices = [int(index) for index in picked[1].split(",")]
        return lambda fields: _picked(fields, indices, path)
    raise ClientError(f"DataProcessing filter {path!r} is not emulated: allowed are $, $[1:], $[0,2] and $[-1] on CSV")


def _picked(fields: Fields, indices: Sequence[int], path: str) -> Fields:
    try:
        return [fields[index] for index in indices]
    except IndexError:
        raise ClientError(f"DataProcessing filter {path!r}: the record has only {len(fields)} columns") from None


def batches(body: bytes, split: str, strategy: str, most: int) -> Iterator[list[bytes]]:
    """Give the records of each request: the whole file, one line each, or as many lines as fit into `most` bytes.

    Raises:
        ClientError: for a record that does not fit.
    """
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    records = [body] if split == "None" else [line for line in lines if line]
    batch, size = list[bytes](), 0
    for record in records:
        if len(record) > most:
            raise ClientError(f"a record of {len(record)} bytes is larger than MaxPayloadInMB allows ({most} bytes)")
        if batch and (strategy == "SingleRecord" or size + len(record) + 1 > most):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record) + 1
    if batch:
        yield batch


@dataclass(frozen=True)
class _Shaping:
    """DataProcessing on CSV: what the model gets of a record, and what the output gets of record and prediction."""

    before: Callable[[Fields], Fields]
    after: Callable[[Fields], Fields]
    joined: bool

    def request(self, records: Sequence[bytes]) -> list[bytes]:
        return [",".join(self.before(record.decode().split(","))).encode() for record in records]

    def answer(self, records: Sequence[bytes], body: bytes, uri: str) -> bytes:
        rows = [line.split(",") for line in body.decode().splitlines()]
        if self.joined:
            if len(rows) != len(records):
                raise ClientError(f"{uri}: {len(records)} records got {len(rows)} predictions and cannot be joined")
            rows = [[*record.decode().split(","), *row] for record, row in zip(records, rows, strict=True)]
        return "\n".join(",".join(self.after(row)) for row in rows).encode()


class TransformJob(ContainerJob):
    """A batch transform job. Requests go one after the other: the one worker would make them wait anyway."""

    group = "/aws/sagemaker/TransformJobs"

    def work(self) -> JobOutcome:
        """Load the model, answer for each input object, end the model."""
        shaping = self._shaping()
        given = self.request["Container"]
        container = given if isinstance(given, Container) else Container(
            given["Image"], given.get("ModelDataUrl", ""), given.get("Environment", {})
        )  # fmt: skip
        target = self.request["TransformOutput"]["S3OutputPath"].rstrip("/")
        started = time.monotonic()
        model = worker(
            self.site.aws,
            container,
            self.log,
            self.directory,
            isolated=self.site.isolated,
            patience=self.site.patience,
            extra={"SAGEMAKER_BATCH": "true", **self.request.get("Environment", {})},
        )
        try:
            for name, uri in list(objects(self.site.aws, self.request["TransformInput"]["DataSource"]["S3DataSource"])):
                inside(Path(), name)
                answered = self._answered(model, uri, shaping)
                if answered is None:
                    return self.ended(None, Path())
                self.site.aws.put_object(f"{target}/{name}.out", answered)
        finally:
            model.close()
        return JobOutcome("Completed", seconds=time.monotonic() - started)

    def _shaping(self) -> _Shaping | None:
        """Return what DataProcessing asks for; refuse what is not emulated."""
        source, processing = self.request["TransformInput"], self.request.get("DataProcessing", {})
        if source.get("SplitType", "None") not in _SPLITS:
            raise ClientError(f"SplitType {source['SplitType']} is not emulated: allowed are {', '.join(_SPLITS)}")
        if source.get("CompressionType", "None") != "None":
            raise ClientError(f"CompressionType {source['CompressionType']} is not emulated: allowed is None")
        joined = processing.get("JoinSource", "None") == "Input"
        before, after = processing.get("InputFilter", "$"), processing.get("OutputFilter", "$")
        if not joined and before == after == "$":
            return None
        self._needs_csv(source, joined=joined)
        return _Shaping(csv_filter(before), csv_filter(after), joined)

    def _needs_csv(self, source: dict[str, Any], *, joined: bool) -> None:
        accept = self.request["TransformOutput"].get("Accept", "text/csv")
        kinds = {"TransformInput.ContentType": source.get("ContentType", ""), "TransformOutput.Accept": accept}
        for field, kind in kinds.items():
            if not kind.startswith("text/csv"):
                raise ClientError(f"DataProcessing: {field} {kind!r} is not emulated: allowed is text/csv")
        if source.get("SplitType") != "Line":
            raise ClientError("DataProcessing needs TransformInput.SplitType Line")
        if joined and self.request["TransformOutput"].get("AssembleWith", "None") != "Line":
            raise ClientError("DataProcessing.JoinSource Input needs TransformOutput.AssembleWith Line, as SplitType")

    def _answered(self, model: Worker, uri: str, shaping: _Shaping | None) -> bytes | None:
        """Return the output for one object; None when the job was stopped."""
        split = self.request["TransformInput"].get("SplitType", "None")
        strategy = self.request.get("BatchStrategy", "MultiRecord")
        most = self.request.get("MaxPayloadInMB", 6) * _MEGABYTE
        parts = []
        for batch in batches(self.site.aws.get_object(uri), split, strategy, most):
            if self.asked:
                return None
            answer = self._asked_of(model, uri, b"\n".join(shaping.request(batch) if shaping else batch))
            parts.append(shaping.answer(batch, answer.body, uri) if shaping else answer.body)
        if self.request["TransformOutput"].get("AssembleWith", "None") == "None":
            return b"".join(parts)
        return b"".join(part.rstrip(b"\n") + b"\n" for part in parts)

    def _asked_of(self, model: Worker, uri: str, body: bytes) -> Answer:
        kind = self.request["TransformInput"].get("ContentType", "application/octet-stream")
        try:
            answer = model.invoke(body, kind, self.request["TransformOutput"].get("Accept", "*/*"))
        except (TimeoutError, ConnectionError) as error:
            raise ClientError(f"{uri}: {error}") from error
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's success
            words = answer.body.decode(errors="replace")[:600]
            raise ClientError(f"{uri}: Bad HTTP status received from algorithm: {answer.status}. {words}")
        return answer
