"""Validation of 1,000,000 x 20, file to report, in a fresh process: Linnet against pandera on pandas and great-expectations.

`run` measures. Called as a program this file is one candidate: `python bench/validation.py linnet FILE REPORT`; the peers
run in a virtual environment of their own, so nothing but the standard library is imported up here.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT / "build" / "bench" / "data"
PEERS = ROOT / "build" / "bench" / "peers"
PINNED = ROOT / "requirements" / "bench.txt"
ROWS = 1_000_000
ROUNDS = 3
GOAL = 3.0
FORMATS = ("csv", "parquet")

FLOATS = tuple(f"n_{number:02}" for number in range(12))
WHOLES = ("i_id", "i_count", "b_flag")
TEXTS = {"c_plan": 3, "c_month": 12, "c_state": 50, "c_shop": 500, "c_sku": 5000}
HOLEY = {"n_01": 0.02, "n_05": 0.05, "n_11": 0.10, "c_shop": 0.03}
COLUMNS = ("i_id", *FLOATS, *TEXTS, "i_count", "b_flag")
RULES: tuple[dict[str, Any], ...] = (
    {"kind": "row_count", "minimum": ROWS // 2},
    {"kind": "schema", "columns": COLUMNS, "extra": False},
    *({"kind": "exists", "column": name} for name in COLUMNS),
    *(
        {"kind": "completeness", "column": name, "above": 0.85}
        if name in HOLEY
        else {"kind": "not_null", "column": name}
        for name in COLUMNS
    ),
    *({"kind": "type", "column": name, "type": "fractional"} for name in FLOATS),
    *({"kind": "type", "column": name, "type": "integral"} for name in WHOLES),
    *({"kind": "type", "column": name, "type": "string"} for name in TEXTS),
    *({"kind": "range", "column": name, "minimum": -1000, "maximum": 1000} for name in FLOATS),
    {"kind": "range", "column": "i_id", "minimum": 0, "maximum": ROWS},
    {"kind": "range", "column": "i_count", "minimum": 0, "maximum": 100},
    {"kind": "range", "column": "b_flag", "minimum": 0, "maximum": 1},
    *({"kind": "mean", "column": name, "minimum": -50, "maximum": 50} for name in FLOATS),
    {"kind": "uniqueness", "column": "i_id", "above": 0.999999},
)
BROKEN = (  # what `make` breaks in the small variant, one rule of every kind
    "completeness n_11", "exists c_month", "mean n_02", "not_null n_03", "range n_04", "row_count", "schema",
    "type n_06", "uniqueness i_id",
)  # fmt: skip


def make(folder: Path) -> None:
    """Write good.csv, good.parquet and their small variants bad.* with a violation of every kind of rule."""
    np, pa = importlib.import_module("numpy"), importlib.import_module("pyarrow")
    draw = np.random.default_rng(20)

    def table(rows: int) -> dict[str, Any]:
        whole = {
            "i_id": draw.permutation(rows),
            "i_count": draw.poisson(3.5, rows),
            "b_flag": draw.integers(0, 2, rows),
        }
        floats = [draw.normal(number, 1 + number, rows) for number in range(4)]
        floats += [draw.exponential(3, rows), draw.uniform(-1, 1, rows), draw.standard_t(9, rows)]  # not rounded: as a
        # program computes them; the rest are rounded: as people and instruments write them
        floats += [np.round(draw.gamma(2, 8, rows), 2), np.round(draw.lognormal(3, 0.7, rows).clip(0, 900), 2)]
        floats += [np.round(draw.normal(12, 9, rows), 1), np.round(draw.uniform(0, 80, rows), 3)]
        floats += [np.round(draw.normal(0, 1, rows), 6)]
        texts = {
            name: np.array([f"{name[2:]}-{code}" for code in range(count)])[draw.integers(0, count, rows)]
            for name, count in TEXTS.items()
        }
        made = {**whole, **dict(zip(FLOATS, floats, strict=True)), **texts}
        return {name: pa.array(made[name], mask=draw.random(rows) < HOLEY.get(name, 0.0)) for name in COLUMNS}

    bad = table(10_000)
    at = np.arange(10_000)
    bad["n_11"] = pa.array(bad["n_11"].to_numpy(zero_copy_only=False), mask=at % 2 == 0)
    bad["n_02"] = pa.array(at / 100 + 1)
    bad["n_03"] = pa.array(bad["n_03"].to_numpy(), mask=at == 77)
    bad["n_04"] = pa.array(np.where(at == 78, 1e6, bad["n_04"].to_numpy() - 100))
    bad["n_06"] = pa.array(["many" if i == 9_000 else str(i) for i in at])
    bad["i_id"] = pa.array(at // 2)
    del bad["c_month"]
    csv, parquet = importlib.import_module("pyarrow.csv"), importlib.import_module("pyarrow.parquet")
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in (("bad", bad), ("good", table(ROWS))):
        csv.write_csv(
            pa.table(columns), folder / f"{name}.csv", csv.WriteOptions(quoting_style="none", quoting_header="none")
        )
        parquet.write_table(pa.table(columns), folder / f"{name}.parquet", compression="zstd")


def linnet(file: Path, report: Path) -> set[str]:
    """Validate as the function validate_data does."""
    rules, tables = (importlib.import_module(f"linnet.monitoring.{name}") for name in ("rules", "tables"))
    source = tables.Source(file.name, file, file.suffix[1:])
    found = rules.validate_files([source], [rules.Rule(**rule) for rule in RULES])
    report.write_text(json.dumps(found, indent=1))
    return {f"{entry['kind']} {entry['column'] or ''}".strip() for entry in found["rules"] if not entry["passed"]}


def arrow_alone(file: Path, report: Path) -> set[str]:
    """Only read the file, as Arrow does it by itself on all cores: no engine on pyarrow can take less."""
    arrow = importlib.import_module("pyarrow")
    importlib.import_module("numpy")
    if file.suffix == ".csv":
        csv = importlib.import_module("pyarrow.csv")
        types = {name: arrow.float64() for name in (*FLOATS, *WHOLES)} | dict.fromkeys(TEXTS, arrow.string())
        rows = csv.read_csv(file, convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=True))
    else:
        rows = importlib.import_module("pyarrow.parquet").read_table(file)
    report.write_text(json.dumps({"rows": len(rows)}))
    return set()


def _frame(file: Path, **options: Any) -> Any:
    pandas = importlib.import_module("pandas")
    return pandas.read_csv(file, **options) if file.suffix == ".csv" else pandas.read_parquet(file)


def pandera(file: Path, report: Path, **options: Any) -> set[str]:
    """Express the rules as a lazy DataFrameSchema; `exists` and `schema` are what it demands of columns anyway."""
    schemas: Any = importlib.import_module("pandera.pandas")
    types = {"fractional": "float64", "integral": "int64", "string": "str"}
    columns: dict[str, dict[str, Any]] = {name: {"checks": [], "nullable": name in HOLEY} for name in COLUMNS}
    least = next(rule["minimum"] for rule in RULES if rule["kind"] == "row_count")
    for rule in RULES:
        kind, column = rule["kind"], columns.get(rule.get("column", ""), {})
        if kind == "type":
            column["dtype"] = types[rule["type"]]
        elif kind == "uniqueness":
            column["unique"] = True
        elif kind == "range":
            column["checks"].append(schemas.Check.in_range(rule["minimum"], rule["maximum"], name="range"))
        elif kind == "mean":
            low, high = rule["minimum"], rule["maximum"]
            column["checks"].append(
                schemas.Check(lambda s, low=low, high=high: bool(low <= s.mean() <= high), name="mean")
            )
        elif kind == "completeness":
            above = rule["above"]
            column["checks"].append(
                schemas.Check(
                    lambda s, above=above: bool(s.notna().mean() > above), name="completeness", ignore_na=False
                )
            )
    schema = schemas.DataFrameSchema(
        {name: schemas.Column(**column) for name, column in columns.items()},
        checks=schemas.Check(lambda frame: len(frame) >= least, name="row_count"), strict=True,
    )  # fmt: skip
    try:
        schema.validate(_frame(file, **options), lazy=True)
    except schemas.errors.SchemaErrors as errors:
        report.write_text(json.dumps(errors.message, default=str))
        words = {"not_nullable": "not_null", "field_uniqueness": "uniqueness"}
        failed = set()
        for error in errors.schema_errors:
            check = str(getattr(error.check, "name", None) or error.check)
            name = error.schema.name or ""
            if check == "column_in_dataframe":
                failed |= {"schema", f"exists {error.failure_cases}"}
            else:
                kind = "type" if check.startswith("dtype") else words.get(check, check)
                failed.add(f"{kind} {name}".strip())
        return failed
    report.write_text(json.dumps({"verdict": "PASS"}))
    return set()


def pandera_arrow(file: Path, report: Path) -> set[str]:
    """Read CSV with pandas' Arrow engine, which is faster than its default."""
    return pandera(file, report, **({"engine": "pyarrow"} if file.suffix == ".csv" else {}))


def great_expectations(file: Path, report: Path) -> set[str]:
    """Hold one suite against the frame."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    gx: Any = importlib.import_module("great_expectations")
    expect: Any = importlib.import_module("great_expectations.expectations")
    types = {"fractional": ["float64"], "integral": ["int64"]}  # of pandas 3's `str` it has no name: five rules fewer

    def expectation(rule: dict[str, Any]) -> Any:
        name = rule.get("column")
        bounds = {"min_value": rule.get("minimum"), "max_value": rule.get("maximum")}
        about = {"meta": {"rule": f"{rule['kind']} {name or ''}".strip()}}
        column = {"column": name}
        made: dict[str, tuple[str, dict[str, Any]]] = {
            "row_count": ("ExpectTableRowCountToBeBetween", bounds),
            "schema": ("ExpectTableColumnsToMatchSet", {"column_set": list(rule.get("columns", ()))}),
            "exists": ("ExpectColumnToExist", column),
            "not_null": ("ExpectColumnValuesToNotBeNull", column),
            "completeness": ("ExpectColumnValuesToNotBeNull", {**column, "mostly": rule.get("above")}),
            "type": ("ExpectColumnValuesToBeInTypeList", {**column, "type_list": types.get(rule.get("type", ""))}),
            "range": ("ExpectColumnValuesToBeBetween", {**column, **bounds}),
            "mean": ("ExpectColumnMeanToBeBetween", {**column, **bounds}),
            "uniqueness": ("ExpectColumnValuesToBeUnique", column),
        }
        word, options = made[rule["kind"]]
        return getattr(expect, word)(**options, **about)

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": _frame(file)})
    suite = gx.ExpectationSuite(
        "rules", expectations=[expectation(rule) for rule in RULES if rule.get("type") != "string"]
    )
    found = batch.validate(suite, result_format="BASIC").to_json_dict()
    report.write_text(json.dumps(found, indent=1))
    return {one["expectation_config"]["meta"]["rule"] for one in found["results"] if not one["success"]}


CANDIDATES = {f.__name__: f for f in (linnet, pandera, pandera_arrow, great_expectations, arrow_alone)}
OURS = ("linnet", "arrow_alone")  # run by Linnet's own Python and packages


def _told(failed: set[str]) -> list[str]:
    """Leave out what follows from another failure: of a missing column or one of the wrong type, only that is told."""
    known = {rule.split(" ")[1]: rule for rule in failed if rule.startswith("type ")}
    known |= {rule.split(" ")[1]: rule for rule in failed if rule.startswith("exists ")}
    return sorted(rule for rule in failed if known.get(rule.partition(" ")[2], rule) == rule)


def main(name: str, file: str, report: str) -> None:
    """Run one candidate; print what failed and the peak of this process's memory."""
    failed = CANDIDATES[name](Path(file), Path(report))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps({"failed": _told(failed), "megabytes": round(peak)}))


def _python(name: str) -> str:
    return sys.executable if name in OURS else str(PEERS / "bin" / "python")


def _call(name: str, file: Path) -> tuple[float, dict[str, Any]]:
    report = file.with_name("validation_report.json" if name == "linnet" else f"{name}_report.json")
    environment = {"PYTHONPATH": str(ROOT / "layers" / "linnet"), "PATH": "/usr/bin:/bin", "HOME": str(DATA)}
    began = time.perf_counter()
    done = subprocess.run(
        [_python(name), __file__, name, str(file), str(report)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{name} on {file.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds, json.loads(done.stdout.splitlines()[-1])


def _prepare() -> None:
    """Make the peers' environment and the data once for each version of what they are made from."""
    for made, source, commands in (
        (PEERS / "made", PINNED, [
            [sys.executable, "-m", "venv", "--clear", str(PEERS)],
            [_python("pandera"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(PINNED)],
        ]),
        (DATA / "made", Path(__file__), [[sys.executable, __file__, "make", str(DATA)]]),
    ):  # fmt: skip
        version = hashlib.sha256(source.read_bytes()).hexdigest()
        if not made.exists() or made.read_text() != version:
            for command in commands:
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            made.write_text(version)


def _agree() -> None:
    for form in FORMATS:
        for name in set(CANDIDATES) - {"arrow_alone"}:  # which judges nothing
            found = _call(name, DATA / f"bad.{form}")[1]["failed"]
            if found != list(BROKEN):
                raise RuntimeError(f"{name} on bad.{form} fails {found}, not {list(BROKEN)}")


def run() -> dict[str, Any]:
    """Check every candidate on the broken table, then measure them in turn on the good one."""
    _prepare()
    _agree()
    seconds: dict[str, dict[str, list[float]]] = {form: {name: [] for name in CANDIDATES} for form in FORMATS}
    megabytes: dict[str, dict[str, int]] = {form: dict.fromkeys(CANDIDATES, 0) for form in FORMATS}
    for turn in range(ROUNDS + 1):
        for form in FORMATS:
            for name in CANDIDATES if turn else ("linnet",):  # the first turn warms the page cache
                taken, found = _call(name, DATA / f"good.{form}")
                if found["failed"]:
                    raise RuntimeError(f"{name} on good.{form} fails {found['failed']}")
                if turn:
                    seconds[form][name].append(taken)
                    megabytes[form][name] = max(megabytes[form][name], found["megabytes"])
    median = {form: {name: statistics.median(s) for name, s in by.items()} for form, by in seconds.items()}
    ratios = {
        form: {name: round(m / by["linnet"], 2) for name, m in by.items() if name != "linnet"}
        for form, by in median.items()
    }
    for form in FORMATS:
        for name in CANDIDATES:
            print(
                f"   {form:8} {name:19} {min(seconds[form][name]):6.2f} s best, {median[form][name]:6.2f} s median, "
                f"{megabytes[form][name]:5} MB  {ratios[form].get(name, 1.0):5.2f}x"
            )
    worst = min(ratio for by in ratios.values() for name, ratio in by.items() if name.startswith("pandera"))
    return {
        "peer": f"{', '.join(PINNED.read_text().split())}; pandera reads CSV by pandas' default and by its Arrow engine",
        "rows": ROWS, "columns": len(COLUMNS), "rules": len(RULES), "median_seconds": median, "ratios": ratios,
        "best_seconds": {form: {name: min(s) for name, s in by.items()} for form, by in seconds.items()},
        "peak_megabytes": megabytes, "raw": seconds,
        "goal": f"at least {GOAL:g}x pandera", "within_goal": worst >= GOAL,
    }  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        main(*sys.argv[1:])
