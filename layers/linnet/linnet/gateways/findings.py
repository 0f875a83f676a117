"""What the monitors look at and what they find: capture files, result files, metrics, findings in the ledger."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import ClientError

from linnet.decisions import datasets, monitoring, schedules
from linnet.decisions.names import COLOURS, base
from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import inputs, ledger, notifications, s3, specs
from linnet.gateways.clients import client, error_code
from linnet.settings import settings

LARGEST_FILE = 32 * 1024 * 1024
LARGEST_DATA_FILE, LARGEST_DATA_SET = 400 * 1024 * 1024, 2 * 1024**3
"""Bytes of a data set's file, which the function's disk must hold, and of all of them."""
_METRICS_A_CALL = 500
MOST_WINDOWS = 1_000
"""Windows that a tick takes; the next tick takes the others. What a state machine hears of each together is at most 256 KiB."""

MOST_JOBS = 100
"""Of those, the ones that jobs look at: ten at a time, which must end with the execution and fit into its history."""


def due(at: str, *, model: str | None = None, again: bool = False, correlation_id: str = "") -> list[dict[str, str]]:
    """Return model, kind, start and end of every window that was over at `at` and that its monitor has not seen, oldest first.

    Looks back some hours: a lost tick or a failed look is made up for, but the tick takes a window only once in an hour of
    its age; so a look that takes long or a baseline that is gone does not start, and tell people, every five minutes.
    Who asks with the same `correlation_id`, or names the model, gets it. Models whose monitor or capture is off and models
    without champion are left out, and so are windows from before the champion. `again` looks again at the last.
    Those beyond `MOST_WINDOWS`, and for jobs beyond `MOST_JOBS`, are not taken: the next tick gets them.

    Raises:
        NotFoundError: `model` is named but not onboarded.
    """
    found: list[dict[str, str]] = []
    models = [model] if model else [str(row["model"]) for row in ledger.query("models")]
    for name in models:
        if len(found) >= MOST_WINDOWS:
            break
        spec, champion = specs.read(name), ledger.read(f"model/{name}", "champion")
        if spec is None and model:
            raise NotFoundError(f"model {model} is not onboarded")
        if spec is None or champion is None:
            continue
        for kind, wanted in monitoring.running(spec).items():
            if kind in monitoring.BY_JOB and sum(one["kind"] in monitoring.BY_JOB for one in found) >= MOST_JOBS:
                continue
            delay = schedules.delay(wanted)
            windows = schedules.windows(at, schedules.of(wanted), since=champion.get("at"), delay=delay)
            ready = (monitoring.parse_time(at) - delay).isoformat()
            found += [
                {"model": name, "kind": kind, "start": monitoring.stamp(start), "end": monitoring.stamp(end)}
                for start, end in _unseen(
                    name, kind, windows, ready, correlation_id=correlation_id, all_of=model is not None
                )
                + (windows[-1:] if again else [])
            ]
    return [one for number, one in enumerate(found) if one not in found[:number]]


def hand_out(windows: Sequence[Mapping[str, str]], execution: str, *, correlation_id: str) -> dict[str, Any]:
    """Write what functions look at as an array for the execution's Distributed Map; return where it is, and the rest.

    Each window has `correlation_id` and `work`, the prefix of keys below which its look may keep what later steps need: the
    children of a Distributed Map see no variables of their parent. Written again for the same execution, it is the same.
    `jobs` are the windows at which SageMaker jobs look (`monitoring.BY_JOB`).
    """
    each = [
        {**one, "correlation_id": correlation_id, "work": monitoring.work_folder(execution, one)} for one in windows
    ]
    jobs = [one for one in each if one["kind"] in monitoring.BY_JOB]
    others = [one for one in each if one["kind"] not in monitoring.BY_JOB]
    bucket, key = settings().data_bucket, f"{monitoring.work_folder(execution)}due.json"
    if others:
        s3.put(f"s3://{bucket}/{key}", json.dumps(others).encode())
    return {"count": len(others), "bucket": bucket, "key": key, "jobs": jobs}


def _unseen(
    model: str,
    kind: monitoring.Kind,
    windows: Sequence[schedules.Window],
    at: str,
    *,
    correlation_id: str,
    all_of: bool,
) -> list[schedules.Window]:
    """Return those of these windows that were not looked at to the end, each taken for this hour of its age at `at`."""
    partition, now, prefix = f"model/{model}", monitoring.parse_time(at), f"look#{kind}#"
    rows = {row["sk"]: row for row in ledger.query(partition, prefix, newest_first=True, limit=len(windows) or None)}
    once = " AND (#age <> :was OR #by = :who))"
    found = []
    for start, end in windows:
        key = f"{prefix}{monitoring.stamp(start)}"
        if rows.get(key, {}).get("done"):
            continue
        age = (now - end) // timedelta(hours=1)
        taken = ledger.change(
            partition, key, put={"by": correlation_id, "age": age},
            only_if="attribute_not_exists(pk) OR (attribute_not_exists(#done)" + (once if not all_of else ")"),
            given={"was": age, "who": correlation_id} if not all_of else {},
        )  # fmt: skip
        if taken:
            found.append((start, end))
    return found


def subject(model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a model's spec and its champion's row.

    Raises:
        NotFoundError: it is not onboarded, or nothing serves.
    """
    spec, champion = specs.read(model), ledger.read(f"model/{model}", "champion")
    if spec is None or champion is None:
        raise NotFoundError(f"model {model} has no {'spec' if spec is None else 'champion'}")
    return spec, champion


def baseline(uri: str, name: str) -> dict[str, Any]:
    """Return one of the two files of a baseline, a champion's own say (it follows the model: requirements 4.4 no. 13)."""
    return document(f"{_folder(uri)}/{name}")


def own_profile(uri: str, name: str) -> bytes | None:
    """Return Linnet's own profile of a baseline, None where somebody else made it."""
    try:
        return s3.read(f"{_folder(uri)}/{name}", limit=LARGEST_FILE)
    except NotFoundError:
        return None


def _folder(uri: str) -> str:
    return uri.rpartition("/")[0] if uri.endswith(".json") else uri.rstrip("/")


def document(uri: str) -> dict[str, Any]:
    """Return a JSON object of S3.

    Raises:
        NotFoundError: there is none.
        BadInputError: it is too large, or no JSON object; names it.
    """
    content = s3.read(uri, limit=LARGEST_FILE)
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadInputError(uri, content[:80], "a JSON object")
    return found


def largest_window() -> int:
    """Return how many bytes one function looks at; more capture is profiled in shards, more where labels join is refused."""
    return int(settings().largest_window)


def captured(model: str, champion: Mapping[str, Any], hours: Sequence[str]) -> list[s3.Object]:
    """Return the capture files of the configs that serve now, in the folders of these hours."""
    endpoint = base(settings().stack, model)
    return list(_listed(monitoring.capture_folders(_configs(endpoint, champion), endpoint, hours, COLOURS)))


def contents(uris: Iterable[str]) -> Iterator[IO[bytes]]:
    """Yield these files, each to be read before the next is asked for.

    Raises:
        NotFoundError: one is gone.
        BadInputError: one is larger than any that is read.
    """
    return (s3.stream(uri, limit=LARGEST_FILE) for uri in uris)


def _listed(folders: Sequence[str], wanted: frozenset[str] | None = None) -> Iterator[s3.Object]:
    """Yield the files of JSON lines below these prefixes, only those of the `wanted` hours."""
    for folder in folders:
        for found in s3.objects(f"s3://{settings().data_bucket}/{folder}"):
            hour = monitoring.hour_of(found.uri)
            if not found.uri.endswith(".jsonl") or (
                wanted is not None and (not hour or f"{hour:%Y/%m/%d/%H}" not in wanted)
            ):
                continue
            yield found


def _files(folders: Sequence[str], wanted: frozenset[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield URI and content of the JSON lines below these prefixes, only those of the `wanted` hours."""
    left = largest_window()
    for found in _listed(folders, wanted):
        left -= found.size
        if left < 0:
            folder = found.uri.rpartition("/")[0]
            raise BadInputError(folder, f"over {largest_window()} bytes", "less: lower endpoint.capture_percent")
        yield found.uri, s3.read(found.uri, limit=LARGEST_FILE)


def _configs(endpoint: str, champion: Mapping[str, Any]) -> list[str]:
    """Return the endpoint's config by the ledger and by SageMaker: between a ladder's steps they differ."""
    configs = [str(champion["config"])]
    try:
        configs.append(str(client("sagemaker").describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]))
    except ClientError as error:
        if error_code(error) != "ValidationException":  # there is no such endpoint: then there is no traffic either
            raise
    return [config for config in configs if config.startswith(f"{endpoint}-")]


def own_capture(model: str, champion: Mapping[str, Any], hours: Sequence[str]) -> Iterator[bytes]:
    """Yield the capture files of what the champion itself answered, on its own config and variant, in these folders.

    Answers of others are no evidence of its quality; so those that it gave on a ladder's common config are left out too.

    Raises:
        BadInputError: there is more than one look may read; says what to change.
    """
    endpoint = base(settings().stack, model)
    variants = [str(champion["variant"])] if champion.get("variant") else COLOURS
    folders = monitoring.capture_folders([str(champion["config"])], endpoint, hours, variants)
    return (content for _, content in _files(folders))


def truth(model: str, hours: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield URI and content of the files of ground truth that came in these hours (`yyyy/mm/dd/hh`), by their keys.

    Raises:
        BadInputError: there is more than one look may read.
    """
    days = list(dict.fromkeys(hour.rpartition("/")[0] for hour in hours))
    folders = monitoring.truth_folders(base(settings().stack, model), days)
    return _files(folders, wanted=frozenset(hours))


def evaluation(model: str, champion: Mapping[str, Any]) -> dict[str, Any]:
    """Return the evaluation.json of the run that made the champion.

    Raises:
        NotFoundError: there is none.
        BadInputError: it is no JSON object.
    """
    return document(inputs.results_uri(model, str(champion["run"]), "evaluation.json"))


def put_files(
    model: str, start: datetime, documents: Mapping[str, Any], kind: monitoring.Kind = monitoring.DATA_QUALITY
) -> str:
    """Write a window's result files; return their folder's URI."""
    return _put(monitoring.results_folder(base(settings().stack, model), start, kind), documents)


def _put(prefix: str, documents: Mapping[str, Any]) -> str:
    folder = f"s3://{settings().data_bucket}/{prefix}"
    for name, document in documents.items():
        s3.put(f"{folder}{name}", json.dumps(document).encode())
    return folder


def data_set(model: str, data: Any, at: str) -> dict[str, Any]:
    """Return what there is to look at when somebody asks for a data set to be compared at the time `at`.

    Raises:
        NotFoundError: the model is not onboarded, or nothing serves.
        BadInputError: `data` is no `{uri, name}` that may be read.
    """
    subject(model)
    asked = datasets.read(data, settings().data_bucket)
    when = monitoring.stamp(monitoring.parse_time(at))
    return {"model": model, "kind": monitoring.DATA_SET, "start": when, "end": when, "data": asked._asdict()}


def data_files(uri: str, passed_over: list[str]) -> Iterator[tuple[str, datasets.Format, Path]]:
    """Yield URI, format and content of the tables below a prefix; each is gone when the next is asked for.

    The keys of what is no table go into `passed_over`.

    Raises:
        BadInputError: there is no table, or one or all are larger than a look may read.
    """
    left, found = LARGEST_DATA_SET, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        for one in s3.objects(uri):
            kind = datasets.format_of(one.uri)
            if kind is None or not one.size:
                passed_over.append(one.uri)
                continue
            found, left = found + 1, left - one.size
            if one.size > LARGEST_DATA_FILE or left < 0:
                allowed = f"files of at most {LARGEST_DATA_FILE} bytes, together {LARGEST_DATA_SET}: name a part of it"
                raise BadInputError("data.uri", one.uri, allowed)
            bucket, key = s3.split(one.uri)
            client("s3").download_file(bucket, key, str(path))
            yield one.uri, kind, path
    if not found:
        raise BadInputError("data.uri", uri, "a prefix with at least one .csv, .parquet, .jsonl or .out file")


def put_data_set(model: str, name: str, documents: Mapping[str, Any]) -> str:
    """Write a data set's result files; return their folder's URI."""
    return _put(monitoring.data_set_folder(base(settings().stack, model), name), documents)


def put_report(folder: str, page: str) -> None:
    """Write a window's page for people beside its files."""
    s3.put(f"{folder}report.html", page.encode(), "text/html; charset=utf-8")


def links(model: str, champion: Mapping[str, Any]) -> dict[str, str]:
    """Return the ARNs of the executions that trained and released the champion, those that are known."""
    run = ledger.read(f"model/{model}", f"run#{champion['run']}") or {}
    release = ledger.read(f"model/{model}", f"release#{int(champion['fence']):06d}") if "fence" in champion else None
    retrain = settings().retrain_machine.replace(":stateMachine:", ":execution:")
    found = {
        "run": f"{retrain}:{run['execution']}" if run.get("execution") and retrain else "",
        "release": str((release or {}).get("owner") or ""),
    }
    return {name: arn for name, arn in found.items() if arn}


def beside(model: str, window: schedules.Window) -> list[dict[str, Any]]:
    """Return the findings of data quality of the windows that have a moment in common with this one, the latest first."""
    prefix, (start, end) = f"finding#{monitoring.DATA_QUALITY}#", (monitoring.stamp(one) for one in window)
    found = []
    for row in ledger.query(f"model/{model}", newest_first=True, before=f"{prefix}{end}"):
        if not row["sk"].startswith(prefix) or row["end"] <= start:
            break
        found.append(row)
    return found


def record(model: str, found: Mapping[str, Any], *, correlation_id: str) -> None:
    """Publish a look: its metrics, its row, its history entry, a message if it is worth one; note last that it is done.

    Looking again overwrites the row and adds to the metrics. They lie in the window's last minute, those of model quality so
    much later as labels were waited for: in the alarm's own period, and as late as may be, because what is more than a day
    old when it is put may take CloudWatch two days to show (API reference, PutMetricData).
    """
    kind: monitoring.Kind = found["kind"]
    when = monitoring.parse_time(found["at"]) - timedelta(minutes=1)
    data = [
        {
            "MetricName": name,
            "Dimensions": monitoring.dimensions(settings().stack, model, kind),
            "Timestamp": when,
            "Unit": "None",
            **({"StatisticValues": value} if isinstance(value, dict) else {"Value": value}),
        }
        for name, value in monitoring.metrics(found).items()
    ]
    for first in range(0, len(data), _METRICS_A_CALL):
        client("cloudwatch").put_metric_data(
            Namespace=monitoring.namespace(settings().metrics_prefix, kind),
            MetricData=data[first : first + _METRICS_A_CALL],
        )
    write(model, found, correlation_id=correlation_id)
    look, anyway = f"look#{kind}#{_moment(found)}", "attribute_not_exists(pk) OR attribute_exists(pk)"
    ledger.change(f"model/{model}", look, put={"done": True}, only_if=anyway)


def write(model: str, found: Mapping[str, Any], *, correlation_id: str, name: str = "") -> None:
    """Write a finding's row and its history entry, and tell people if it is worth it: the one path of all layers (MO-11).

    `name` is what was found of it, where a kind has several at a time. One result is told and entered once.
    """
    subject, kind, named = f"model/{model}", found["kind"], f"{name}#" if name else ""
    row = dict(found) | {"model": model, "correlation_id": correlation_id}
    finding = f"finding#{kind}#{named}{_moment(found)}"
    before = next(ledger.query(subject, newest_first=True, limit=1, before=finding), {})
    ledger.change(subject, finding, put=row, only_if="attribute_not_exists(pk) OR attribute_exists(pk)")
    kept = ("kind", "status", "severity", "class", "features", "rows", "start", "end", "uri", "correlation_id")
    key = f"{_moment(found)}#{found['status']}"
    key = key if kind == monitoring.DATA_QUALITY else f"{kind}#{named}{key}"
    known = monitoring.same_state(found, before) or ledger.told(subject, "finding", key)
    if monitoring.worth_telling(found) and not known:
        text = monitoring.message(model, found)
        about: notifications.Kind = "drift" if kind in (monitoring.DATA_QUALITY, monitoring.DATA_SET) else "attention"
        notifications.notify(
            about, model=model, proof=str(found["uri"]), correlation_id=correlation_id, severity=found["severity"],
            compliance=monitoring.non_compliant(found), **text,
        )  # fmt: skip
    ledger.append(subject, "finding", found["end"], {part: row[part] for part in kept}, key=key)


def _moment(found: Mapping[str, Any]) -> str:
    """Return what tells findings of a kind apart: when its window began, or the name of a data set, which has none."""
    return str(found["name"] if found["kind"] == monitoring.DATA_SET else found["start"])
