"""Batch transform jobs: a model answers for whole files, batch by batch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
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
    if split == "None":
        records = [body]
    else:
        records = [line for line in body.replace(b"\r\n", b"\n").split(b"\n") if line]
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


class TransformJob(ContainerJob):
    """A batch transform job. Requests go one after the other: the one worker would make them wait anyway."""

    group = "/aws/sagemaker/TransformJobs"

    def work(self) -> JobOutcome:
        """Load the model, answer for each input object, end the model."""
        found = self._settings()
        given = self.request["Container"]
        container = given if isinstance(given, Container) else Container(
            given["Image"], given.get("ModelDataUrl", ""), given.get("Environment", {})
        )  # fmt: skip
        started = time.monotonic()
        model = worker(
            self.site.aws, container, self.log, self.directory, isolated=self.site.isolated, patience=self.site.patience,
            extra={"SAGEMAKER_BATCH": "true", **self.request.get("Environment", {})},
        )  # fmt: skip
        try:
            for name, uri in list(objects(self.site.aws, self.request["TransformInput"]["DataSource"]["S3DataSource"])):
                inside(Path(), name)
                answered = self._answered(model, uri, *found)
                if answered is None:
                    return self.ended(None, Path(), **{})
                self.site.aws.put_object(f"{self.request['TransformOutput']['S3OutputPath'].rstrip('/')}/{name}.out", answered)
        finally:
            model.close()
        return JobOutcome("Completed", seconds=time.monotonic() - started)

    def _settings(self) -> tuple[Callable[[Fields], Fields], Callable[[Fields], Fields], bool]:
        """Return input filter, output filter and whether input is joined; refuse what is not emulated."""
        source, processing = self.request["TransformInput"], self.request.get("DataProcessing", {})
        if source.get("SplitType", "None") not in _SPLITS:
            raise ClientError(f"SplitType {source['SplitType']} is not emulated: allowed are {', '.join(_SPLITS)}")
        if source.get("CompressionType", "None") != "None":
            raise ClientError(f"CompressionType {source['CompressionType']} is not emulated: allowed is None")
        joined = processing.get("JoinSource", "None") == "Input"
        paths = (processing.get("InputFilter", "$"), processing.get("OutputFilter", "$"))
        if joined or paths != ("$", "$"):
            self._needs_csv(source, joined=joined)
        return csv_filter(paths[0]), csv_filter(paths[1]), joined

    def _needs_csv(self, source: dict[str, Any], *, joined: bool) -> None:
        accept = self.request["TransformOutput"].get("Accept", "text/csv")
        for field, kind in (("TransformInput.ContentType", source.get("ContentType", "")), ("TransformOutput.Accept", accept)):
            if not kind.startswith("text/csv"):
                raise ClientError(f"DataProcessing: {field} {kind!r} is not emulated with filters or a join: allowed is text/csv")
        if source.get("SplitType") != "Line":
            raise ClientError("DataProcessing needs TransformInput.SplitType Line")
        if joined and self.request["TransformOutput"].get("AssembleWith", "None") != "Line":
            raise ClientError("DataProcessing.JoinSource Input needs TransformOutput.AssembleWith Line, the same as SplitType")

    def _answered(
        self, model: Worker, uri: str, before: Callable[[Fields], Fields], after: Callable[[Fields], Fields], joined: bool  # noqa: FBT001
    ) -> bytes | None:  # fmt: skip
        """Return the output for one object; None when the job was stopped."""
        source = self.request["TransformInput"]
        split = source.get("SplitType", "None")
        strategy = self.request.get("BatchStrategy", "MultiRecord")
        most = self.request.get("MaxPayloadInMB", 6) * _MEGABYTE
        plain = self.request.get("DataProcessing", {}).keys() <= {"JoinSource"} and not joined
        parts = []
        for batch in batches(self.site.aws.get_object(uri), split, strategy, most):
            if self.asked:
                return None
            records = [record.decode().split(",") for record in batch] if not plain else []
            body = b"\n".join(batch if plain else [",".join(before(fields)).encode() for fields in records])
            answer = self._asked_of(model, uri, body)
            if plain:
                parts.append(answer.body)
                continue
            lines = [line.split(",") for line in answer.body.decode().splitlines()]
            if joined and len(lines) != len(records):
                raise ClientError(f"{uri}: {len(records)} records got {len(lines)} predictions and cannot be joined")
            whole = [[*record, *line] for record, line in zip(records, lines, strict=True)] if joined else lines
            parts.append("\n".join(",".join(after(fields)) for fields in whole).encode())
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
