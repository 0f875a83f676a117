from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.executor.archives import ArchiveError, Limits, pack, unpack

_NAMES = st.text("abcdef._-", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)


@given(files=st.dictionaries(_PATHS, st.binary(max_size=200), max_size=6))
def test_what_was_packed_is_unpacked_and_the_same_files_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    kept = {}
    for name, body in files.items():
        place = source / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(body)
        except OSError:  # one name is a directory of another
            continue
        kept[name] = body
    packed = pack(source)
    assert sorted(unpack(packed, target)) == sorted(kept)
    assert {name: (target / name).read_bytes() for name in kept} == kept
    assert pack(target) == packed


def _archive(*members: tarfile.TarInfo, body: bytes = b"x") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            if member.isreg():
                member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return target.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([_member("../escape")], "relative paths"),
        ([_member("a/../../escape")], "relative paths"),
        ([_member("/etc/escape")], "relative paths"),
        ([_member("link", tarfile.SYMTYPE, "/etc/passwd")], "no links or devices"),
        ([_member("link", tarfile.SYMTYPE, "..") , _member("link/escape")], "no links or devices"),
        ([_member("file"), _member("hard", tarfile.LNKTYPE, "file")], "no links or devices"),
        ([_member("fifo", tarfile.FIFOTYPE)], "no links or devices"),
        ([_member("device", tarfile.CHRTYPE)], "no links or devices"),
        ([_member("same"), _member("same")], "comes twice"),
        ([_member("same"), _member("./same")], "comes twice"),
        ([_member("n" * 300)], "up to 255 bytes"),
        ([_member("/".join("d" * 20))], "16 levels"),
        ([_member(f"file{number}") for number in range(6)], "more than 5 members"),
    ],
)  # fmt: skip
def test_practice_B4_an_archive_with_a_trick_is_refused_and_writes_nothing_outside(  # noqa: N802
    tmp_path: Path, members: list[tarfile.TarInfo], reason: str
) -> None:
    target = tmp_path / "inner" / "target"
    target.mkdir(parents=True)
    with pytest.raises(ArchiveError, match=reason):
        unpack(_archive(*members), target, Limits(members=5))
    assert [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(target)] == []
    assert not any(path.is_symlink() for path in target.rglob("*"))


def test_practice_B4_a_bomb_is_refused_by_ratio_and_by_size(tmp_path: Path) -> None:  # noqa: N802
    bomb = _archive(_member("zeros"), body=bytes(8 * 1024 * 1024))
    with pytest.raises(ArchiveError, match="the most that is allowed"):
        unpack(bomb, tmp_path / "ratio")
    with pytest.raises(ArchiveError, match="more than 1000 bytes"):
        unpack(_archive(_member("file"), body=b"y" * 2000), tmp_path / "size", Limits(size=1000))


def test_a_bomb_hidden_in_a_header_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    """A pax header is read whole: its declared size must not be believed."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 64 * 1024 * 1024
    with pytest.raises(ArchiveError, match="the most that is allowed"):
        unpack(gzip.compress(header.tobuf() + bytes(header.size)), tmp_path)


@pytest.mark.parametrize("body", [b"", b"not an archive", gzip.compress(b"no tar"), _archive(_member("cut"))[:40]])
def test_what_is_no_archive_is_refused_as_such(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"not a tar\.gz"):
        unpack(body, tmp_path)


def test_a_link_in_the_model_directory_cannot_be_packed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveError, match="link: only plain files"):
        pack(tmp_path)
