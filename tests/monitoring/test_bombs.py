"""Real bombs, each read in a process of its own as a function or job would: refused by name, within its memory (F24)."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MEGABYTE = 1 << 20
MEMORY = 1024
"""Megabytes; the functions that read data have three times as much."""
READ = """
import re, sys
from pathlib import Path
from linnet.data.limits import in_function
from linnet.monitoring.tables import DataError, Source, read_table
path = Path(sys.argv[1])
limits = in_function({"processing": {"above_bytes": 256 * 1024**2}})
try:
    rows = sum(batch.num_rows for batch in read_table([Source(path.name, path, path.suffix[1:])], limits=limits))
    print("READ", rows)
except DataError as error:
    print("REFUSED", error)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
UNPACK = """
import re, sys
from pathlib import Path
sys.path.insert(0, "")
from linnet.data.attributions import AttributionError, unpack as in_job
from local.sagemaker.executor.archives import ArchiveError, unpack
archive, into = Path(sys.argv[1]), Path(sys.argv[2])
try:
    in_job(archive.parent, into / "job") if sys.argv[3] == "job" else unpack(archive.read_bytes(), into / "local")
    print("READ")
except (AttributionError, ArchiveError) as error:
    print("REFUSED", error)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def run(program: str, *arguments: object, memory: int = MEMORY) -> tuple[str, int]:
    """Return what a process that read a bomb said, and its peak in megabytes (ru_maxrss would count this process's too)."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": "layers/linnet:.", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory)},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said, peak = done.stdout.strip().splitlines()
    return said, int(peak) // 1024


def quoted() -> Iterator[bytes]:
    yield b'a,b\n1,"'
    for _ in range(200):
        yield (b"x" * 63 + b"\n") * (MEGABYTE // 64)
    yield b'"\n'


def wide() -> Iterator[bytes]:
    yield b",".join(b"c%d" % number for number in range(300_000)) + b"\n"
    yield b",".join([b"1"] * 300_000) + b"\n"


def objects() -> Iterator[bytes]:
    yield b"{" + b",".join(b'"c%d":1' % number for number in range(100_000)) + b"}\n"


def nested() -> Iterator[bytes]:
    yield b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000 + b"\n"


@pytest.mark.parametrize(
    ("name", "parts", "why"),
    [
        ("quoted.csv", quoted, "block"),
        ("wide.csv", wide, "at most 1000 columns"),
        ("wide.jsonl", objects, "at most 1000 columns"),
        ("nested.jsonl", nested, "an object in every line"),
    ],
)
def test_f24_a_bomb_of_text_is_refused_by_name_before_the_memory_is_spent(
    tmp_path: Path, name: str, parts: object, why: str
) -> None:
    assert callable(parts)
    with (tmp_path / name).open("wb") as file:
        file.writelines(parts())
    said, peak = run(READ, tmp_path / name)

    assert said.startswith(f"REFUSED {name}")
    assert why in said
    assert peak < MEMORY


def test_f24_thirty_million_rows_in_a_few_kilobytes_of_parquet_are_refused_by_the_footer(tmp_path: Path) -> None:
    path, table = tmp_path / "rows.parquet", pa.table({"a": np.zeros(1_000_000)})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(30):
            writer.write_table(table)
    said, peak = run(READ, path)

    assert path.stat().st_size < MEGABYTE
    assert "30000000 rows declared" in said
    assert peak < MEMORY / 2


def varint(number: int, length: int = 0) -> bytes:
    """Return a number as the footer has it (Thrift compact: zigzag varint), padded to a length."""
    made, left = bytearray(), number << 1
    while left or not made:
        made.append(left & 127 | 128)
        left >>= 7
    made += b"\x80" * (length - len(made))
    made[-1] &= 127
    return bytes(made)


def test_f24_a_parquet_file_whose_footer_lies_is_refused_by_the_memory_that_it_really_asks_for(tmp_path: Path) -> None:
    """One text of 300 MB in 10 kB; its footer declares 1,000 bytes."""
    path = tmp_path / "lie.parquet"
    pq.write_table(pa.table({"t": ["x" * (300 * MEGABYTE)]}), path, compression="zstd", write_statistics=False)
    group, raw = pq.read_metadata(path).row_group(0), path.read_bytes()
    (length,) = struct.unpack("<I", raw[-8:-4])
    footer = raw[-8 - length : -8]
    for true in {group.total_byte_size, group.column(0).total_uncompressed_size}:
        assert varint(true) in footer
        footer = footer.replace(varint(true), varint(1_000, len(varint(true))))
    path.write_bytes(raw[: -8 - length] + footer + raw[-8:])
    said, peak = run(READ, path, memory=MEMORY // 2)

    assert path.stat().st_size < MEGABYTE
    assert pq.read_metadata(path).row_group(0).total_byte_size == 1_000
    assert said.startswith("REFUSED lie.parquet")
    assert "malloc" in said
    assert peak < MEMORY / 2


@pytest.mark.parametrize("where", ["job", "local"])
def test_f24_an_archive_that_unpacks_to_a_thousand_times_its_size_is_refused_before_the_disk_is_full(
    tmp_path: Path, where: str
) -> None:
    folder, size = tmp_path / "model", 300 * MEGABYTE
    folder.mkdir()
    with tarfile.open(folder / "model.tar.gz", "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("weights")
        member.size = size
        archive.addfile(member, io.BytesIO(bytes(size)))
    said, peak = run(UNPACK, folder / "model.tar.gz", tmp_path / "into", where)

    assert said.startswith("REFUSED the archive")
    assert sum(f.stat().st_size for f in (tmp_path / "into").rglob("*") if f.is_file()) < size / 2
    assert peak < MEMORY / 2
