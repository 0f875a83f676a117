"""What bench.monitor measures, each candidate in a process and an environment of its own.

`python bench/monitor_candidates.py window evidently FOLDER` runs one; `make ROWS FOLDER` writes the data. All read a window
as SageMaker captured it; no peer can, so `captured` does it for them, and in the task `table` they are given it as Parquet.
Nothing but the standard library is imported up here.
"""

from __future__ import annotations

import functools
import importlib
import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS_A_FILE = 50_000
LINE = (
    '{"captureData":{"endpointInput":{"observedContentType":"text/csv","mode":"INPUT","data":"%s\\n","encoding":"CSV"},'
    '"endpointOutput":{"observedContentType":"text/csv; charset=utf-8","mode":"OUTPUT","data":"0.%04d","encoding":"CSV"}},'
    '"eventMetadata":{"eventId":"%08d-0000-4000-8000-000000000000","inferenceTime":"2026-11-21T10:%02d:%02dZ"},'
    '"eventVersion":"0"}\n'
)

Work = Callable[[], list[str]]


def make(rows: int, folder: Path) -> None:
    """Write baseline.parquet, current.parquet and their capture files: a window, and one of ten times the rows."""
    np, pa, csv, parquet, shifts, shutil = (
        importlib.import_module(name)
        for name in ("numpy", "pyarrow", "pyarrow.csv", "pyarrow.parquet", "tests.monitoring.shifts", "shutil")
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, table in (("baseline", shifts.baseline(rows)), ("current", shifts.current(rows // 5))):
        parquet.write_table(pa.Table.from_batches([table]), folder / f"{name}.parquet", compression="zstd")
    for name, count in (("window", rows // 5), ("tenfold", 2 * rows)):
        (folder / name).mkdir()
        table = shifts.current(count)
        table = table.take(np.random.default_rng(7).permutation(count))  # traffic comes in no order
        for first in range(0, count, ROWS_A_FILE):
            text = pa.BufferOutputStream()
            csv.write_csv(
                table.slice(first, ROWS_A_FILE), text, csv.WriteOptions(include_header=False, quoting_style="none")
            )
            lines = text.getvalue().to_pybytes().decode().splitlines()
            with (folder / name / f"{first:09}.jsonl").open("w") as file:
                file.writelines(
                    LINE % (line, n % 10_000, n, n // 60 % 60, n % 60) for n, line in enumerate(lines, first)
                )


def captured(folder: Path) -> Any:
    """Return a window as a pandas DataFrame: the payloads of its capture lines, read together as one CSV text."""
    pandas, parquet = importlib.import_module("pandas"), importlib.import_module("pyarrow.parquet")
    rows: list[str] = []
    for file in sorted((folder / "window").iterdir()):
        with file.open() as lines:
            rows += [json.loads(line)["captureData"]["endpointInput"]["data"] for line in lines]
    schema = parquet.read_schema(folder / "current.parquet")
    texts = {name: str for name, kind in zip(schema.names, schema.types, strict=True) if str(kind) == "string"}
    return pandas.read_csv(io.StringIO("".join(rows)), header=None, names=schema.names, dtype=texts)


def given(folder: Path) -> Any:
    """Return the same window, which somebody else has made a table of."""
    return importlib.import_module("pandas").read_parquet(folder / "current.parquet")


# --- the candidates: import, then return the work ----------------------------------------------------------------


def _framed() -> None:
    """Say that the imports are done, as the frame of each of Linnet's handlers does."""
    importlib.import_module("linnet").imported()


def linnet_baseline(folder: Path) -> Work:
    """Profile a file as prepare_data does."""
    datasets, files, store, tables, _ = (
        importlib.import_module(f"linnet.monitoring.{name}")
        for name in ("datasets", "files", "store", "tables", "parquet")  # the last is imported for such files only
    )
    _framed()

    def work() -> list[str]:
        source = tables.Source("baseline", folder / "baseline.parquet", "parquet")
        known = datasets.profile_file(source)
        (folder / store.PROFILE).write_bytes(store.profile_bytes(known))
        (folder / "statistics.json").write_text(json.dumps(files.statistics_json(known)))
        (folder / "constraints.json").write_text(json.dumps(files.suggest_constraints(known)))
        return []

    return work


def linnet_window(folder: Path, window: str = "window") -> Work:
    """Look at a window as monitor_window does, from capture files to the files that it writes."""
    drift, files, live, store = (
        importlib.import_module(f"linnet.monitoring.{name}") for name in ("drift", "files", "live", "store")
    )
    _framed()

    def work() -> list[str]:
        known = store.read_profile((folder / store.PROFILE).read_bytes())
        limits = files.read_constraints(json.loads((folder / "constraints.json").read_bytes()))
        now, seen = live.profile_capture((f.open("rb") for f in sorted((folder / window).iterdir())), known)
        result = drift.compare(known, now, limits)
        for name, document in (
            ("statistics", files.statistics_json(now)),
            ("constraint_violations", files.violations_json(result.violations)),
        ):
            (folder / f"{window}_{name}.json").write_text(json.dumps(document))
        if seen.bad or seen.odd_rows or not seen.rows:
            raise RuntimeError(f"{seen.rows} rows read, {seen.bad} lines bad, {seen.odd_rows} odd")
        return [one.feature for one in result.violations if one.check == "baseline_drift_check"]

    return work


def linnet_tenfold(folder: Path) -> Work:
    """Look at a window of ten times the rows: for its memory."""
    return linnet_window(folder, "tenfold")


def scan_window(folder: Path) -> Work:
    """Read the window's bytes and count its lines: nobody can do it in less."""
    return lambda: [str(sum(f.read_bytes().count(b"\n") for f in (folder / "window").iterdir()))][:0]


def memory_window(folder: Path) -> Work:
    """Touch each byte of the window once, in memory already: the limit that the memory's bandwidth sets."""
    np = importlib.import_module("numpy")
    content = b"".join(f.read_bytes() for f in (folder / "window").iterdir())
    words = np.frombuffer(content, np.uint64, len(content) // 8)
    return lambda: [str(words.max())][:0]


def arrow_alone_window(folder: Path) -> Work:
    """Cut the lines into fields as Arrow's own CSV reader does: what an engine on Arrow spends at the least."""
    csv = importlib.import_module("pyarrow.csv")
    parse = csv.ParseOptions(delimiter='"', quote_char=False)
    read = csv.ReadOptions(autogenerate_column_names=True)

    def work() -> list[str]:
        for file in (folder / "window").iterdir():
            csv.read_csv(file, read, parse)
        return []

    return work


def arrow_alone_baseline(folder: Path) -> Work:
    """Only decode the Parquet file."""
    parquet = importlib.import_module("pyarrow.parquet")
    return lambda: [str(len(parquet.read_table(folder / "baseline.parquet")))][:0]


def evidently_baseline(folder: Path) -> Work:
    """Summarise the table."""
    pandas, evidently, presets = (importlib.import_module(n) for n in ("pandas", "evidently", "evidently.presets"))

    def work() -> list[str]:
        table = pandas.read_parquet(folder / "baseline.parquet")
        found = evidently.Report([presets.DataSummaryPreset()]).run(table, None)
        (folder / "evidently_summary.json").write_text(found.json())
        return []

    return work


def evidently_window(folder: Path, current: Callable[[Path], Any] = captured) -> Work:
    """Compare both tables: it keeps no profile."""
    pandas, evidently, presets = (importlib.import_module(n) for n in ("pandas", "evidently", "evidently.presets"))

    def work() -> list[str]:
        before, now = pandas.read_parquet(folder / "baseline.parquet"), current(folder)
        found = evidently.Report([presets.DataDriftPreset()]).run(now, before)
        (folder / "evidently_drift.json").write_text(found.json())
        drifted = []
        for metric in json.loads(found.json())["metrics"]:
            told = metric["config"]
            if "column" in told:
                low = float(metric["value"]) < told["threshold"]
                drifted += [told["column"]] if low == ("p_value" in told["method"]) else []
        return drifted

    return work


def whylogs_baseline(folder: Path) -> Work:
    """Profile the table and keep the profile."""
    pandas, why = (importlib.import_module(name) for name in ("pandas", "whylogs"))

    def work() -> list[str]:
        why.log(pandas.read_parquet(folder / "baseline.parquet")).view().write(str(folder / "whylogs.bin"))
        return []

    return work


def whylogs_window(folder: Path, current: Callable[[Path], Any] = captured) -> Work:
    """Compare the profile of the window with the one that was kept."""
    why, core = (importlib.import_module(name) for name in ("whylogs", "whylogs.core"))
    drift = importlib.import_module("whylogs.viz.drift.column_drift_algorithms")

    def work() -> list[str]:
        now = why.log(current(folder)).view()
        before = core.DatasetProfileView.read(str(folder / "whylogs.bin"))
        scores = drift.calculate_drift_scores(target_view=now, reference_view=before, with_thresholds=True)
        (folder / "whylogs_drift.json").write_text(json.dumps(scores, default=str))
        return [name for name, score in scores.items() if score and str(score.get("drift_category")) == "DRIFT"]

    return work


def tfdv_baseline(folder: Path) -> Work:
    """Compute statistics and a schema with drift limits of 0.1, and keep them."""
    pandas, tfdv = (importlib.import_module(name) for name in ("pandas", "tensorflow_data_validation"))

    def work() -> list[str]:
        found = tfdv.generate_statistics_from_dataframe(pandas.read_parquet(folder / "baseline.parquet"), n_jobs=1)
        schema = tfdv.infer_schema(found)
        for feature in schema.feature:
            limit = feature.drift_comparator
            (limit.infinity_norm if feature.type == 1 else limit.jensen_shannon_divergence).threshold = 0.1  # 1: BYTES
        tfdv.write_stats_text(found, str(folder / "tfdv_statistics.txt"))
        tfdv.write_schema_text(schema, str(folder / "tfdv_schema.txt"))
        return []

    return work


def tfdv_window(folder: Path, current: Callable[[Path], Any] = captured) -> Work:
    """Validate the window's statistics against those that were kept."""
    tfdv = importlib.import_module("tensorflow_data_validation")

    def work() -> list[str]:
        now = tfdv.generate_statistics_from_dataframe(current(folder), n_jobs=1)
        before = tfdv.load_stats_text(str(folder / "tfdv_statistics.txt"))
        schema = tfdv.load_schema_text(str(folder / "tfdv_schema.txt"))
        found = tfdv.validate_statistics(now, schema, previous_statistics=before)
        (folder / "tfdv_anomalies.txt").write_text(str(found))
        return sorted(
            name
            for name, told in found.anomaly_info.items()
            if any("distance" in reason.description or "divergence" in reason.description for reason in told.reason)
        )

    return work


def spark_baseline(folder: Path) -> Work:
    """Compute plain aggregates, which is less than Deequ does on the same engine."""
    sql = importlib.import_module("pyspark.sql")

    def work() -> list[str]:
        f = sql.functions
        session = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        table = session.read.parquet(str(folder / "baseline.parquet"))
        asked, texts = [f.count("*")], [name for name, kind in table.dtypes if kind == "string"]
        for name in table.columns:
            asked += [f.count(name), f.approx_count_distinct(name)]
            if name not in texts:
                asked += [one(name) for one in (f.mean, f.stddev, f.min, f.max, f.sum)]
                asked.append(f.percentile_approx(name, [n / 10 for n in range(1, 10)], 2048))
        found = [str(table.agg(*asked).first()), *(str(table.groupBy(name).count().collect()) for name in texts)]
        (folder / "spark.json").write_text(json.dumps(found))
        return []

    return work


CANDIDATES: dict[str, dict[str, Callable[[Path], Work]]] = {
    "baseline": {
        "linnet": linnet_baseline, "arrow_alone": arrow_alone_baseline, "tfdv": tfdv_baseline,
        "whylogs": whylogs_baseline, "spark": spark_baseline, "evidently": evidently_baseline,
    },
    "window": {
        "linnet": linnet_window, "memory": memory_window, "scan": scan_window, "arrow_alone": arrow_alone_window,
        "tfdv": tfdv_window, "whylogs": whylogs_window, "evidently": evidently_window,
    },
    "table": {
        "linnet": linnet_window, "tfdv": functools.partial(tfdv_window, current=given),
        "whylogs": functools.partial(whylogs_window, current=given),
        "evidently": functools.partial(evidently_window, current=given),
    },
    "tenfold": {"linnet": linnet_tenfold},
}  # fmt: skip


def main(task: str, name: str, folder: str) -> None:
    """Run one candidate; print its seconds, what it found, and the peak memory of its processes.

    `import` is the time that the imports took, `work` that from then to the end, `cpu` the user and system time that all
    threads and processes spent in it.
    """
    began = time.perf_counter()
    work = CANDIDATES[task][name](Path(folder))
    imported, before = time.perf_counter(), _spent()[0]
    found = work()
    done, (spent, megabytes) = time.perf_counter(), _spent()
    print(json.dumps({
        "import": imported - began, "work": done - imported, "cpu": spent - before, "megabytes": megabytes,
        "found": sorted(set(found)),
    }))  # fmt: skip


def _spent() -> tuple[float, float]:
    """Return the seconds of user and system time, and the peaks in MB added up, of this process and all that it started."""
    ended, tick = resource.getrusage(resource.RUSAGE_CHILDREN), os.sysconf("SC_CLK_TCK")
    seconds = time.process_time() + ended.ru_utime + ended.ru_stime
    known: dict[int, tuple[int, int, int]] = {}  # by process: the one that started it, its ticks, its peak in kB
    for one in Path("/proc").glob("[0-9]*"):
        try:
            stat, status = (one / "stat").read_text().rpartition(")")[2].split(), (one / "status").read_text()
        except OSError:  # it ended meanwhile
            continue
        peak = status.partition("VmHWM:")[2].split()[:1]
        known[int(one.name)] = (int(stat[1]), sum(map(int, stat[11:15])), int(peak[0]) if peak else 0)
    me = os.getpid()
    if me not in known:  # no Linux
        peak_ = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return seconds, round(peak_ / (1e6 if sys.platform == "darwin" else 1e3), 1)
    mine, before = {me}, 0  # not ru_maxrss: a child's starts with its parent's
    while len(mine) > before:  # Spark's Java was started by a script
        before = len(mine)
        mine |= {pid for pid, (parent, _, _) in known.items() if parent in mine}
    seconds += sum(known[pid][1] for pid in mine - {me}) / tick
    return seconds, round(sum(known[pid][2] for pid in mine) / 1000, 1)


if __name__ == "__main__":
    make(int(sys.argv[1]), Path(sys.argv[2]))
