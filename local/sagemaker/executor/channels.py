"""What comes from S3 into a container and goes back: input channels, outputs, checkpoints."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from local.sagemaker.ports import Aws

_LOG = logging.getLogger(__name__)
_UNFINISHED = ".sagemaker-ignore"
"""Suffix of a file that its writer has not finished; SageMaker does not upload it either."""


class ClientError(ValueError):
    """The request cannot be carried out; the message becomes the job's FailureReason."""


def download(aws: Aws, source: Mapping[str, Any], target: Path, *, compression: str = "None") -> None:
    """Copy the objects of an S3DataSource into a directory.

    Raises:
        ClientError: for a data type or name that is not allowed, and when there is no object.
    """
    for name, uri in objects(aws, source):
        zipped = compression == "Gzip"
        path = inside(target, name.removesuffix(".gz") if zipped else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            body = aws.get_object(uri)
            path.write_bytes(gzip.decompress(body) if zipped else body)
        except FileNotFoundError as error:
            raise ClientError(f"there is no object {uri}") from error
        except gzip.BadGzipFile as error:
            raise ClientError(f"CompressionType Gzip: {uri} is not a gzip file") from error


def objects(aws: Aws, source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give (relative name, URI) of the objects of an S3DataSource, by prefix or by manifest."""
    kind, uri = source.get("S3DataType", "S3Prefix"), str(source["S3Uri"])
    if kind == "ManifestFile":
        yield from _manifest(aws, uri)
        return
    if kind != "S3Prefix":
        raise ClientError(f"S3DataType {kind!r} is not emulated: allowed are S3Prefix and ManifestFile")
    base = uri.rstrip("/") + "/"
    found = [each for each in aws.list_objects(uri) if not each.endswith("/")]
    if not found:
        bucket = uri.removeprefix("s3://").split("/", 1)[0]
        raise ClientError(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
            f'exists, that objects exist under that S3 prefix, and that the role may list the bucket "{bucket}".'
        )
    for each in found:
        yield each.removeprefix(base if each.startswith(base) else base[: base.rstrip("/").rindex("/") + 1]), each


def _manifest(aws: Aws, uri: str) -> Iterator[tuple[str, str]]:
    try:
        entries = json.loads(aws.get_object(uri))
        prefix = entries[0]["prefix"]
    except FileNotFoundError as error:
        raise ClientError(f"the manifest {uri} does not exist") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ClientError(f'the manifest {uri} is not a list like [{{"prefix": "s3://..."}}, "name", ...]') from error
    if not all(isinstance(name, str) for name in entries[1:]) or len(entries) == 1:
        raise ClientError(f"the manifest {uri}: after the prefix only names of objects are allowed, at least one")
    for name in entries[1:]:
        yield name, prefix + name


def inside(directory: Path, name: str) -> Path:
    """Return the path of a name inside of a directory. Raises ClientError for one that leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ClientError(f"object name {name!r}: only relative paths without '..' can be files in a container")
    return directory / path


def upload(aws: Aws, directory: Path, uri: str) -> None:
    """Copy all files under a directory to an S3 prefix."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            aws.put_object(f"{uri.rstrip('/')}/{path.relative_to(directory).as_posix()}", path.read_bytes())


class Checkpoints:
    """A checkpoint directory and its S3 prefix: restored before, copied about every second and at the end."""

    def __init__(self, aws: Aws, uri: str, directory: Path) -> None:
        """Restore what the prefix holds."""
        self._aws = aws
        self._uri = uri.rstrip("/")
        self._directory = directory
        self._lock = threading.Lock()
        self._over = threading.Event()
        directory.mkdir(parents=True, exist_ok=True)
        for each in aws.list_objects(f"{self._uri}/"):
            if not each.endswith("/"):
                path = inside(directory, each.removeprefix(f"{self._uri}/"))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(aws.get_object(each))
        self._known = dict(self._state())
        self._thread = threading.Thread(target=self._follow, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def close(self) -> None:
        """Copy what is new for the last time."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._copy()

    def _state(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for path in sorted(self._directory.rglob("*")):
            if path.is_file() and not path.is_symlink() and not path.name.endswith(_UNFINISHED):
                status = path.stat()
                yield path, (status.st_mtime_ns, status.st_size)

    def _follow(self) -> None:
        while not self._over.wait(1.0):
            try:
                self._copy()
            except Exception:  # the last copy, at the end, decides
                _LOG.exception("checkpoints could not be copied to %s", self._uri)

    def _copy(self) -> None:
        with self._lock:
            for path, state in list(self._state()):
                if self._known.get(path) != state:
                    try:
                        body = path.read_bytes()
                    except FileNotFoundError:  # the program keeps only its latest ones
                        continue
                    self._aws.put_object(f"{self._uri}/{path.relative_to(self._directory).as_posix()}", body)
                    self._known[path] = state
