"""The data-quality gate: rules over the batches of a table, one pass, and the validation report (DV-01..DV-03, DV-06)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnet.errors import BadInputError
from linnet.monitoring.bias import Table, count, merge, pre_training
from linnet.monitoring.tables import DEFAULT_LIMITS, DataError, Limits, Source, numbers, read_table, texts

KINDS = ("completeness", "uniqueness", "range", "mean", "exists", "not_null", "type", "row_count", "schema")
_VALUE_KINDS = ("completeness", "uniqueness", "range", "mean", "not_null", "type")
_SHOWN = 20
_DIGITS = 18
"""So many digits always fit into int64."""
_SAMPLE = 10_000
"""Outliers are looked for among at least so many values of a column, where it has them, spread evenly over its rows."""
_FAR_Z = 3.0
_FAR_IQR = 1.5


@dataclass(frozen=True)
class Rule:
    """One rule. `above` is exclusive, `minimum` and `maximum` are inclusive; `schema` uses `columns` and `extra`."""

    kind: str
    column: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    type: str | None = None
    columns: tuple[str, ...] = ()
    extra: bool = True
    """Whether a schema rule lets columns pass that it does not name."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInputError("rule.kind", self.kind, " | ".join(KINDS))
        if self.kind == "type" and self.type not in ("integral", "fractional", "string"):
            raise BadInputError("rule.type", self.type, "integral | fractional | string")
        if self.column is None and self.kind not in ("row_count", "schema"):
            raise BadInputError("rule.column", None, f"the column that {self.kind} looks at")
        if self.kind in ("completeness", "uniqueness") and self.above is None:
            raise BadInputError("rule.above", None, "a share from 0 to 1")

    @property
    def allowed(self) -> str:
        """What the rule lets pass, in words."""
        least, most = _spell(self.minimum), _spell(self.maximum)
        bounds = f"at most {most}" if self.minimum is None else f"at least {least}"
        return {
            "completeness": f"> {_spell(self.above)}",
            "uniqueness": f"> {_spell(self.above)}",
            "schema": f"the columns {', '.join(self.columns)}" + ("" if self.extra else " and no other"),
            "type": str(self.type),
            "exists": "present",
            "not_null": "no missing value",
        }.get(self.kind, bounds if None in (self.minimum, self.maximum) else f"between {least} and {most}")

    @property
    def text(self) -> str:
        """The rule in the seeds' words, such as `Completeness "customer_id" > 0.99`."""
        word = {
            "completeness": "Completeness", "uniqueness": "Uniqueness", "range": "ColumnValues", "mean": "Mean",
            "exists": "ColumnExists", "not_null": "IsComplete", "type": "ColumnDataType", "row_count": "RowCount",
            "schema": "Schema",
        }[self.kind]  # fmt: skip
        column = f' "{self.column}"' if self.column is not None else ""
        return word + column + ("" if self.kind in ("exists", "not_null") else f" {self.allowed}")

    def within(self, value: float) -> bool:
        """Say whether a number lies between `minimum` and `maximum`; NaN never does."""
        return value >= (-np.inf if self.minimum is None else self.minimum) and value <= (
            np.inf if self.maximum is None else self.maximum
        )


@dataclass(frozen=True)
class Facet:
    """The groups whose labels are compared (XB-01): rows with one of these values, and all others that have a value."""

    column: str
    disadvantaged: tuple[str, ...]
    label: str


def rules_of(data: Mapping[str, Any], facet: str | None = None) -> list[Rule]:
    """Return the rules of a spec's `data` section (plain JSON): those it implies, then those it states.

    Implied: at least `minimum_rows` rows; the entity, the label, every feature and the `facet` of the bias gate present;
    the entity and the label never missing, unless a stated rule says how complete they must be; the label and the
    `number` features numeric. A stated rule spells its bounds `min` and `max`.
    """
    features: Mapping[str, str] = data["features"]
    label, entity = data["label"], data["entity"]
    stated = [
        Rule(r["kind"], r.get("column"), r.get("min"), r.get("max"), r.get("above"), r.get("type"))
        for r in data.get("rules", ())
    ]
    about = {rule.column for rule in stated if rule.kind in ("completeness", "not_null")}
    numeric = (label, *(name for name, kind in features.items() if kind == "number"))
    implied = [
        Rule("row_count", minimum=data.get("minimum_rows", 1)),
        Rule("schema", columns=tuple(dict.fromkeys((entity, label, *features, *((facet,) if facet else ()))))),
        *(Rule("not_null", name) for name in (entity, label) if name not in about),
        *(Rule("type", name, type="fractional") for name in numeric),
    ]
    return list(dict.fromkeys(implied + stated))


@dataclass
class _Seen:
    """What one pass remembers of a column."""

    present: int = 0
    text: int = 0
    fractional: int = 0
    count: int = 0
    total: float = 0.0
    least: float = np.inf
    most: float = -np.inf
    outside: dict[Rule, int] = field(default_factory=dict)
    values: list[pa.Array] = field(default_factory=list)
    sample: list[NDArray[np.float64]] = field(default_factory=list)
    stride: int = 1
    """Every so manyth number is in the sample."""


def validate(
    batches: Iterable[pa.RecordBatch], rules: Sequence[Rule], facet: Facet | None = None
) -> dict[str, Any]:  # fmt: skip
    """Return the report of the rules over a table: rows, columns, rules, failures, outliers, verdict PASS or FAIL.

    Each rule becomes `{rule, kind, column, passed, observed, allowed, rows_failing}`. A table without a single row
    fails, as does every rule on a column that is missing, or that asks for values where there are none. `outliers`, see
    `outliers`, are those of the columns that a rule asks numbers of, binary ones aside. With a `facet`, `bias` is that of
    the labels: `{facet, metrics, unknown, left_out}`, the last the rows without a value of the facet or a label of 0 or 1.
    """
    rows = 0
    treated: Table = {}
    columns: list[str] = []
    seen: dict[str, _Seen] = {}
    wanted: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.column is not None and rule.kind in _VALUE_KINDS:
            wanted.setdefault(rule.column, []).append(rule)
    for batch in batches:
        rows += batch.num_rows
        columns = batch.schema.names
        for name in wanted.keys() & set(columns):
            _look(seen.setdefault(name, _Seen()), batch.column(name), wanted[name])
        if facet and {facet.column, facet.label} <= set(columns):
            treated = merge([treated, _treated(batch, facet)])
    judged = [_judge(rule, rows, columns, seen) for rule in rules]
    if rows == 0 and all(entry["kind"] != "row_count" or entry["passed"] for entry in judged):
        judged.append(_entry(Rule("row_count", minimum=1), passed=False, observed=0, failing=None))
    far = {name: outliers(np.concatenate(one.sample)) for name, one in sorted(seen.items()) if one.sample}
    report = _report(rows, columns, judged) | {"outliers": {name: found for name, found in far.items() if found}}
    if facet:
        left_out = rows - sum(int(cells.sum()) for cells in treated.values())
        report["bias"] = {"facet": facet.column, **pre_training(treated), "left_out": left_out}
    return report


def _treated(batch: pa.RecordBatch, facet: Facet) -> Table:
    """Return how many rows of each group have each label."""
    value, label = texts(batch.column(facet.column)), numbers(batch.column(facet.label)).values
    known = pc.fill_null(pc.not_equal(value, ""), False).to_numpy(zero_copy_only=False)  # noqa: FBT003 - a value, no flag
    group = pc.is_in(value, value_set=pa.array(facet.disadvantaged, pa.string())).to_numpy(zero_copy_only=False)
    binary = (label == 0) | (label == 1)
    labels = np.where(binary, label, 0)
    return count(labels, np.zeros(len(labels)), group & known & binary, ~group & known & binary)


def outliers(values: NDArray[np.float64]) -> dict[str, Any]:
    """Return which share of a column's values lies far out (DV-06): told, never dropped; empty for two values or fewer.

    `z`: abs(z) >= 3, by the population's standard deviation. `iqr`: outside Q1 - 1.5 IQR .. Q3 + 1.5 IQR. Each with its
    bounds `low` and `high`; `values` is how many were looked at: more than 20,000 are sampled, evenly by row.
    """
    ordered = np.sort(values)
    if not ordered.size or ((ordered == ordered[0]) | (ordered == ordered[-1])).all():
        return {}
    mean, reach = float(ordered.mean()), _FAR_Z * float(ordered.std())
    first, third = (_quantile(ordered, share) for share in (0.25, 0.75))
    low, high = first - _FAR_IQR * (third - first), third + _FAR_IQR * (third - first)
    far_z, far_iqr = np.abs(ordered - mean) >= reach, (ordered < low) | (ordered > high)
    return {
        "values": ordered.size,
        "z": {"share": float(far_z.mean()), "low": mean - reach, "high": mean + reach},
        "iqr": {"share": float(far_iqr.mean()), "low": low, "high": high},
    }


def _quantile(ordered: NDArray[np.float64], share: float) -> float:
    """Return numpy's default quantile of sorted values; its own first call in a process costs more than all the rest."""
    place, part = divmod(share * (ordered.size - 1), 1)
    below, above = ordered[int(place) : int(place) + 2][[0, -1]]
    return float(below + (above - below) * part)


def validate_files(
    sources: Sequence[Source], rules: Sequence[Rule], limits: Limits = DEFAULT_LIMITS, facet: Facet | None = None
) -> dict[str, Any]:  # fmt: skip
    """Return the validation report of files (DV-02); a file that cannot be read fails the rule `Readable` by name."""
    if not sources:
        return {**validate([], rules, facet), "files": []}
    try:
        text = {rule.column for rule in rules if rule.kind == "uniqueness"}  # 7 and 07 are two ids and one number
        text |= {facet.column} if facet else set()
        numeric = {str(rule.column) for rule in rules if _numeric(rule)} - text
        report = validate(read_table(sources, numeric=numeric, limits=limits), rules, facet)
    except DataError as error:
        unreadable = {
            "rule": "Readable", "kind": "readable", "column": None, "passed": False, "observed": str(error.what)[:200],
            "allowed": error.allowed, "rows_failing": None, "file": error.file, "where": error.where,
        }  # fmt: skip
        report = _report(None, [], [unreadable]) | {"outliers": {}}
        report["failures"] = [f"Readable: {error}"]
    return {**report, "files": [source.name for source in sources]}


def _look(seen: _Seen, column: pa.Array, rules: Sequence[Rule]) -> None:
    seen.present += len(column) - column.null_count
    found = numbers(column) if any(_numeric(rule) for rule in rules) else None
    if any(rule.kind == "uniqueness" for rule in rules):
        seen.values.append(column if pa.types.is_integer(column.type) else _whole(texts(column)))
    if found is None:
        return
    valid, text = found.valid, int(np.count_nonzero(found.invalid))
    seen.text += text
    least, most = (float(valid.min()), float(valid.max())) if valid.size else (np.inf, -np.inf)
    seen.least, seen.most = min(seen.least, least), max(seen.most, most)
    seen.total += float(valid.sum())
    _keep(seen, valid)
    seen.count += valid.size
    if any(rule.kind == "type" for rule in rules):
        seen.fractional += int(np.count_nonzero(valid != np.floor(valid)))
    for rule in rules:
        if rule.kind == "range":
            within = not valid.size or (rule.within(least) and rule.within(most))
            outside = 0 if within else _outside(rule, valid)
            seen.outside[rule] = seen.outside.get(rule, 0) + outside + text


def _keep(seen: _Seen, valid: NDArray[np.float64]) -> None:
    """Put every stride-th of the column's numbers into the sample; before it is twice too large, every second one goes."""
    while sum(part.size for part in seen.sample) + valid.size // seen.stride > 2 * _SAMPLE:
        seen.sample, seen.stride = [np.concatenate([np.empty(0), *seen.sample])[::2]], 2 * seen.stride
    seen.sample.append(valid[-seen.count % seen.stride :: seen.stride].copy())


def _numeric(rule: Rule) -> bool:
    """Say whether a rule asks for numbers; anything can be a string."""
    return rule.kind in ("range", "mean") or (rule.kind == "type" and rule.type != "string")


def _whole(column: pa.Array) -> pa.Array:
    """Return texts as integers where no two texts would become the same one: integers are told apart much faster."""
    if len(column) == column.null_count or not pc.all(pc.ascii_is_decimal(column)).as_py():
        return column
    length = pc.binary_length(column)
    padded = pc.and_(pc.starts_with(column, "0"), pc.greater(length, 1))
    if pc.max(length).as_py() > _DIGITS or pc.any(padded).as_py():
        return column
    return column.cast(pa.int64())


def _once(values: Sequence[pa.Array]) -> int:
    """Return how many values occur exactly once."""
    if all(pa.types.is_integer(part.type) for part in values):
        whole = np.sort(np.concatenate([part.drop_null().to_numpy() for part in values]))
        new = np.concatenate(([True], whole[1:] != whole[:-1], [True]))
        return int(np.count_nonzero(new[1:] & new[:-1]))
    counts = pc.value_counts(pa.chunked_array([texts(part) for part in values]).drop_null()).field("counts")
    return int(pc.sum(pc.equal(counts, 1)).as_py() or 0)


def _outside(rule: Rule, valid: NDArray[np.float64]) -> int:
    wrong = np.zeros(valid.size, dtype=bool)
    if rule.minimum is not None:
        wrong |= valid < rule.minimum
    if rule.maximum is not None:
        wrong |= valid > rule.maximum
    return int(np.count_nonzero(wrong))


def _judge(rule: Rule, rows: int, columns: Sequence[str], seen: Mapping[str, _Seen]) -> dict[str, Any]:
    if rule.kind == "row_count":
        return _entry(rule, passed=rule.within(rows), observed=rows, failing=None)
    if rule.kind == "schema":
        missing = [name for name in rule.columns if name not in columns]
        extra = [] if rule.extra else [name for name in columns if name not in rule.columns]
        observed = {"missing": missing[:_SHOWN], "extra": extra[:_SHOWN]}
        return _entry(rule, passed=not missing and not extra, observed=observed, failing=None)
    if rule.kind == "exists" and rule.column in columns:
        return _entry(rule, passed=True, observed="present", failing=0)
    column = seen.get(str(rule.column))
    if column is None:
        return _entry(rule, passed=False, observed="the column is missing", failing=None)
    if rule.kind in ("completeness", "not_null"):
        share = column.present / rows if rows else None
        passed = share is not None and (share > (rule.above or 0.0) if rule.kind == "completeness" else share == 1)
        return _entry(rule, passed=passed, observed=share, failing=rows - column.present)
    return _judge_values(rule, column)


def _judge_values(rule: Rule, column: _Seen) -> dict[str, Any]:
    observed: Any
    if not column.present:
        return _entry(rule, passed=False, observed="no values", failing=None)
    if rule.kind == "uniqueness":
        once = _once(column.values)
        share = once / column.present
        return _entry(rule, passed=share > (rule.above or 0.0), observed=share, failing=column.present - once)
    if rule.kind == "type":
        if not _numeric(rule):
            return _entry(rule, passed=True, observed={"string": column.present}, failing=0)
        wrong = {"integral": column.text + column.fractional, "fractional": column.text}[str(rule.type)]
        kinds = {"text": column.text, "fractional": column.fractional}
        kinds["integral"] = column.count - column.fractional
        observed = {kind: count for kind, count in kinds.items() if count}
        return _entry(rule, passed=wrong == 0, observed=observed, failing=wrong)
    if rule.kind == "range":
        wrong = column.outside[rule]
        observed = {"min": column.least, "max": column.most, "text": column.text} if column.count else "no numbers"
        return _entry(rule, passed=wrong == 0, observed=observed, failing=wrong)
    mean = column.total / column.count if column.count else float("nan")
    passed = not column.text and rule.within(mean)
    observed = mean if not column.text else f"{column.text} values are no numbers"
    return _entry(rule, passed=passed, observed=observed, failing=column.text or None)


def _entry(rule: Rule, *, passed: bool, observed: Any, failing: int | None) -> dict[str, Any]:
    return {
        "rule": rule.text, "kind": rule.kind, "column": rule.column, "passed": bool(passed),
        "observed": observed, "allowed": rule.allowed, "rows_failing": failing,
    }  # fmt: skip


def _report(rows: int | None, columns: Sequence[str], judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    failures = [
        f"{entry['rule']}: observed {_spell(entry['observed'])}"
        + (f" ({entry['rows_failing']} rows)" if entry["rows_failing"] else "")
        for entry in judged
        if not entry["passed"]
    ]
    return {
        "version": 1, "verdict": "FAIL" if failures else "PASS", "rows": rows, "columns": list(columns),
        "rules": list(judged), "failures": failures,
    }  # fmt: skip


def _spell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_spell(inner)}" for key, inner in value.items() if inner not in ([], 0)) or "nothing"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
