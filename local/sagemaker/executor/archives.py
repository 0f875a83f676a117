"""tar.gz as SageMaker uses it for models, outputs and code: an archive from outside is untrusted input."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_SLACK = 1024 * 1024
"""Bytes that an archive may unpack to whatever its ratio: tar pads even an empty one to 10 kB."""
_LONGEST, _DEEPEST = 255, 16


class ArchiveError(ValueError):
    """An archive was refused; the message names the member and what is allowed."""


@dataclass(frozen=True)
class Limits:
    """What unpacking may cost (practice.md B4)."""

    members: int = 10_000
    size: int = 4 * 1024**3
    """Bytes of all members together."""
    ratio: int = 100
    """Bytes unpacked for each packed byte."""


class _Metered(io.RawIOBase):
    """Reads until more came out than allowed; counts headers and padding too, which members' sizes do not."""

    def __init__(self, source: gzip.GzipFile, allowed: int) -> None:
        self._source = source
        self._allowed = allowed
        self._left = allowed

    def read(self, size: int = -1, /) -> bytes:
        if size < 0 or size > self._left + 1:
            size = self._left + 1
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ArchiveError(f"the archive unpacks to more than {self._allowed} bytes, the most that is allowed")
        return data


def unpack(archive: bytes, target: Path, limits: Limits = Limits()) -> list[str]:
    """Unpack a tar.gz into a directory, reading it as a stream; return the names of the files in it.

    Raises:
        ArchiveError: for what is not a tar.gz, for a link, a device, an absolute path, `..`, a name that comes twice, a
            path too long or too deep, and for an archive beyond its limits. What was unpacked before stays on disk.
    """
    allowed = min(limits.size, limits.ratio * len(archive) + _SLACK)
    names: dict[str, None] = {}
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as plain:
            metered = _Metered(plain, allowed)
            with tarfile.open(fileobj=metered, mode="r|") as tar:
                for member in tar:
                    if len(names) >= limits.members:
                        raise ArchiveError(f"the archive has more than {limits.members} members")
                    _extract(tar, member, target, names)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, OSError) as error:
        raise ArchiveError(f"not a tar.gz archive: {error}") from error
    return [name for name in names if not name.endswith("/")]


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, names: dict[str, None]) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise ArchiveError(f"member {member.name!r}: only relative paths without '..' are allowed")
    if len(str(path)) > _LONGEST or len(path.parts) > _DEEPEST:
        raise ArchiveError(
            f"member {member.name[:64]!r}...: paths up to {_LONGEST} bytes and {_DEEPEST} levels are allowed"
        )
    if not (member.isdir() or (member.isreg() and not member.issparse())):
        raise ArchiveError(f"member {member.name!r}: only plain files and directories are allowed, no links or devices")
    if str(path) in names:
        raise ArchiveError(f"member {member.name!r} comes twice")
    place = target / path
    if member.isdir():
        names[f"{path}/"] = None
        place.mkdir(parents=True, exist_ok=True)
        return
    names[str(path)] = None
    content = tar.extractfile(member)
    if content is None or place.exists():
        raise ArchiveError(f"member {member.name!r} comes twice")
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as file:
        while chunk := content.read(1 << 20):
            file.write(chunk)


def pack(directory: Path) -> bytes:
    """Return a tar.gz of all files under a directory; the same files give the same bytes.

    Raises:
        ArchiveError: for a link or a device, which no receiver would accept.
    """
    target = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=target, mode="wb", mtime=0, compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for path in sorted(directory.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ArchiveError(f"{path.relative_to(directory)}: only plain files and directories can be packed")
            member = tarfile.TarInfo(str(path.relative_to(directory)))
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
                continue
            member.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(member, file)
    return target.getvalue()
