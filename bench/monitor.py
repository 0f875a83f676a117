"""The data-quality monitor against those who do it by other means: a baseline of 1,000,000 x 20, a window of 200,000.

Each peer runs in a virtual environment of its own, each call in a fresh process (bench.monitor_candidates).
`LINNET_BENCH_ROWS` makes all of it smaller, `LINNET_BENCH_ROUNDS` asks less often. `work` is the time after the
imports, `cpu` the user and system time of all threads in it, `wall` the time of the whole process.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.monitor_candidates import CANDIDATES

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build" / "bench" / "monitor"
ROWS = int(os.environ.get("LINNET_BENCH_ROWS", "1000000"))
DATA = PEERS / f"data-{ROWS}"
ROUNDS = int(os.environ.get("LINNET_BENCH_ROUNDS", "3"))
LEAST = 6.0
"""So many seconds a candidate is called in each turn: a slow second of the machine must not decide."""
FIGURES = ("work", "cpu", "wall", "import")
BOUNDS = ("memory", "scan", "arrow_alone")
PROGRAM = Path(__file__).with_name("monitor_candidates.py")
_START = "import sys; sys.path.append(sys.argv[1]); from bench import monitor_candidates as m; m.main(*sys.argv[2:])"
"""A program that is given to Python by name is compiled again each time; a module is not, so no candidate pays for it."""
PEER_OF = {
    "evidently": "Evidently",
    "whylogs": "whylogs",
    "tfdv": "TFDV",
    "spark": "Spark (plain aggregates, for Deequ)",
}
GOALS: tuple[tuple[str, str, str, float], ...] = (  # task, peer, figure, at least so many times Linnet's
    ("window", "evidently", "wall", 50),
    ("window", "evidently", "work", 60),
    ("window", "tfdv", "wall", 10),
    ("baseline", "evidently", "work", 40),
    ("baseline", "whylogs", "work", 40),
    ("baseline", "spark", "work", 40),
    ("baseline", "tfdv", "work", 5),
)
MOST = {"import seconds": 0.35, "megabytes of a window": 300.0, "megabytes of a tenfold window, times": 1.1}
# On-demand prices of us-east-1 in dollars, first tier, free tiers left out (AWS's pricing pages of Lambda, Step
# Functions, CloudWatch, S3, DynamoDB and EventBridge, as read in November 2026).
PRICES = {
    "lambda_gigabyte_second": 0.0000166667,
    "lambda_request": 0.20e-6,
    "standard_transition": 0.025e-3,
    "express_request": 1.00e-6,
    "express_gigabyte_second": 0.00001667,
    "metric_a_month": 0.30,
    "alarm_a_month": 0.10,
    "put_metric_data": 0.01e-3,
    "s3_get": 0.0004e-3,
    "s3_put": 0.005e-3,  # and LIST
    "ledger_read": 0.125e-6,  # 4 kB
    "ledger_write": 0.625e-6,  # 1 kB
    "schedule": 1.00e-6,
}
HOURS_A_MONTH = 720
LISTING = 0.012  # seconds a model of list_monitored: three reads of the ledger, one after the other
LONGEST = 1800  # seconds that a candidate may take

# --- the measurement ---------------------------------------------------------------------------------------------


def _python(name: str) -> str:
    return str(PEERS / name / "bin" / "python") if name in PEER_OF else sys.executable


def _settings() -> dict[str, str]:
    """Return the environment that the template gives to every function and that changes NumPy and Arrow."""
    packaging = importlib.import_module("local.packaging")
    given = packaging.load_template(ROOT / "template.yaml")["Globals"]["Function"]["Environment"]["Variables"]
    return {name: str(value) for name, value in given.items() if not name.startswith(("LINNET_", "POWERTOOLS_"))}


def _call(task: str, name: str) -> dict[str, Any]:
    environment = {key: os.environ[key] for key in ("PATH", "JAVA_HOME") if key in os.environ} | {"HOME": str(PEERS)}
    if name not in PEER_OF:
        environment |= {"PYTHONPATH": f"{ROOT / 'layers' / 'linnet'}:{ROOT}", **_settings()}
    began = time.perf_counter()
    command = [_python(name), "-c", _START, str(ROOT), task, name, str(DATA)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{name} took more than {LONGEST} s") from None
    wall = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
    return {"wall": wall, **json.loads(done.stdout.splitlines()[-1])}


def _prepare() -> dict[str, str]:
    """Make the peers' environments and the data once for each version; return the peers that cannot be had, and why."""
    missing: dict[str, str] = {}
    for name in PEER_OF:
        pinned = ROOT / "requirements" / f"bench-monitor-{name}.txt"
        made, version = PEERS / name / "made", hashlib.sha256(pinned.read_bytes()).hexdigest()
        if name == "spark" and not shutil.which("java"):
            missing[name] = "there is no java; on Debian: apt-get install default-jre-headless"
            continue
        if made.exists() and made.read_text() == version:
            continue
        commands = (
            [sys.executable, "-m", "venv", "--clear", str(PEERS / name)],
            [_python(name), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(pinned)],
        )
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                missing[name] = f"{' '.join(command[1:4])}: {done.stderr.strip()[-500:]}"
                break
        else:
            made.write_text(version)
    made = DATA / "made"
    shifts = Path(__file__).parents[1] / "tests" / "monitoring" / "shifts.py"
    version = hashlib.sha256(PROGRAM.read_bytes() + shifts.read_bytes()).hexdigest()
    if not made.exists() or made.read_text() != version:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, str(PROGRAM), str(ROWS), str(DATA)], check=True, env=environment)
        made.write_text(version)
    return missing


def ways(machine: Mapping[str, Any], name: str | None = None) -> list[list[str]]:
    """Return the ways from a state (else the first) to an end on which nothing fails, as the states' names."""
    name = name or str(machine["StartAt"])
    state = machine["States"][name]
    after = [
        *(choice["Next"] for choice in state.get("Choices", ())),
        *(state[k] for k in ("Next", "Default") if k in state),
    ]
    if not after:
        return [] if state["Type"] == "Fail" else [[name]]
    return [[name, *rest] for one in after for rest in ways(machine, one)]


def cost(window: float, *, models: int = 1, files: int = 4) -> dict[str, Any]:
    """Return dollars of a window and of a month of hourly windows of data quality, each a cold start that takes `window` s.

    Counted from what is deployed: the machine's states, the functions' memory, the tick, the metrics and alarms of a model
    whose spec says nothing of monitors. One tick an hour goes the machine's longest way, the others its shortest. A window is
    an item of its first Map; an Express child of a Distributed Map counts as a request and a transition. It reads `files`
    capture files. Free tiers, volume discounts, KMS, logs and traces are left out.
    """
    price = PRICES
    packaging, monitoring, onboarding, spec = (
        importlib.import_module(name)
        for name in (
            "local.packaging",
            "linnet.decisions.monitoring",
            "linnet.decisions.onboarding",
            "linnet.events.spec",
        )
    )
    template = packaging.load_template(ROOT / "template.yaml")
    memory = {
        name: int(
            template["Resources"][name]["Properties"].get("MemorySize", template["Globals"]["Function"]["MemorySize"])
        )
        for name in ("MonitorWindowFunction", "ListMonitoredFunction")
    }
    machine = json.loads((ROOT / "statemachines" / "monitor.asl.json").read_text())
    way = max(ways(machine), key=len)
    states, idle = len(way), min(map(len, ways(machine)))
    processor = next(machine["States"][name] for name in way if machine["States"][name]["Type"] == "Map")[
        "ItemProcessor"
    ]
    express = processor["ProcessorConfig"].get("ExecutionType") == "EXPRESS"
    each = 1 if express else len(max(ways(processor), key=len))
    tick = int(re.findall(r"rate\((\d+) minutes\)", template["Parameters"]["MonitorSchedule"]["Default"])[0])
    found = {
        "kind": "data-quality", "status": "Completed", "scores": {"f": 0.0}, "rows": 1, "broken": 0, "coverage": 1.0,
        "lines": {"bad": 0}, "emit": True, "muted": [], "named": {},
    }  # fmt: skip
    metrics = len(monitoring.metrics(found))
    sample = importlib.import_module("models.diamonds.data").spec()
    sample.pop("monitors", None)
    alarms = len(onboarding.alarms("stack", spec.check_spec(sample), "topic"))

    def call(name: str, seconds: float) -> float:
        return seconds * memory[name] / 1024 * price["lambda_gigabyte_second"] + price["lambda_request"]

    one = {
        "lambda": call("MonitorWindowFunction", window),
        "transitions": each * price["standard_transition"],
        "express": express * (price["express_request"] + (window + 0.1) * 64 / 1024 * price["express_gigabyte_second"]),
        # The capture, profile.arrow and constraints.json; four folders are listed, four files written.
        "s3": (files + 2) * price["s3_get"] + 8 * price["s3_put"],
        # Spec, champion, run, release, told; the window taken and done, the entry of the history, a finding of 10 kB.
        "ledger": 5 * price["ledger_read"] + 14 * price["ledger_write"],
        "metrics_call": price["put_metric_data"],
    }
    ticks = HOURS_A_MONTH * 60 / tick
    listed = price["schedule"] + call("ListMonitoredFunction", LISTING * models) + 3 * models * price["ledger_read"]
    month = {
        "windows": models * HOURS_A_MONTH * sum(one.values()),
        "ticks": ticks * listed
        + (HOURS_A_MONTH * states + (ticks - HOURS_A_MONTH) * idle) * price["standard_transition"],
        "metrics": models * metrics * price["metric_a_month"],
        "alarms": models * alarms * price["alarm_a_month"],
    }
    return {
        "models": models, "window": one | {"sum": sum(one.values())}, "lambda_milliseconds": round(1000 * window),
        "transitions_a_window": each, "express_requests_a_window": int(express), "transitions_a_tick": [idle, states],
        "metrics": metrics, "alarms": alarms,
        "month": {k: round(v, 2) for k, v in month.items()} | {"sum": round(sum(month.values()), 2)},
    }  # fmt: skip


def _measure(missing: dict[str, str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Call the candidates in turn, so that a slow moment of the machine hits all alike; the first turn warms up."""
    raw: dict[str, dict[str, list[dict[str, Any]]]] = {task: {n: [] for n in c} for task, c in CANDIDATES.items()}
    for turn in range(ROUNDS + 1):
        for task, candidates in CANDIDATES.items():
            for name in candidates if turn else ("linnet",):
                if name in missing:
                    continue
                try:
                    found = _calls(task, name, LEAST if turn else 0.0)
                except RuntimeError as error:
                    if name not in PEER_OF:
                        raise
                    missing[name] = f"{task}: {error}"
                    continue
                if turn:
                    raw[task][name] += found
    return raw


def _calls(task: str, name: str, seconds: float) -> list[dict[str, Any]]:
    found = [_call(task, name)]
    while sum(one["wall"] for one in found) < seconds:
        found.append(_call(task, name))
    return found


def run() -> dict[str, Any]:
    """Measure all candidates, print ratios, judge the goals; a peer that is missing leaves its goals unmet."""
    missing = _prepare()
    raw = _measure(missing)
    shifted = importlib.import_module("tests.monitoring.shifts").SHIFTED
    median = {
        task: {
            name: {figure: statistics.median(one[figure] for one in calls) for figure in FIGURES}
            | {"megabytes": max(one["megabytes"] for one in calls), "least work": min(one["work"] for one in calls)}
            for name, calls in by.items()
            if calls
        }
        for task, by in raw.items()
    }
    ratios = {
        task: {n: {k: round(f[k] / by["linnet"][k], 2) for k in (*FIGURES[:3], "megabytes")} for n, f in by.items()}
        for task, by in median.items()
    }
    detected = {
        name: {"right": len(shifted & set(calls[-1]["found"])), "wrong": sorted(set(calls[-1]["found"]) - shifted)}
        for name, calls in raw["window"].items()
        if calls and name not in BOUNDS
    }
    for task, by in median.items():
        for name, f in sorted(by.items(), key=lambda item: item[1]["work"]):
            times = ratios[task][name]
            print(
                f"   {task:9} {name:12} work {f['work']:7.3f} s ({f['least work']:.3f} best), cpu {f['cpu']:7.3f} s, "
                f"wall {f['wall']:7.3f} s, {f['megabytes']:6.0f} MB; times Linnet's: {times['work']:7.2f} work "
                f"{times['cpu']:7.2f} cpu {times['wall']:7.2f} wall {times['megabytes']:5.2f} memory"
            )
    for name, reason in missing.items():
        print(f"   NOT MEASURED: {PEER_OF[name]}, so its goals are missed. {reason}")
    print(f"   of {len(shifted)} true shifts told right, and what was told wrongly: {detected}")

    ours = median["window"]["linnet"]
    seen = {
        "import seconds": ours["import"],
        "megabytes of a window": ours["megabytes"],
        "megabytes of a tenfold window, times": median["tenfold"]["linnet"]["megabytes"] / ours["megabytes"],
    }
    size = sum(file.stat().st_size for file in (DATA / "window").iterdir())
    bounds = {
        f"percent of {name}": round(100 * median[task][bound]["work"] / median[task]["linnet"]["work"], 1)
        for name, task, bound in (
            ("one pass over the window's bytes in memory", "window", "memory"),
            ("reading and counting the window's lines", "window", "scan"),
            ("Arrow's reader on the window", "window", "arrow_alone"),
            ("Arrow's Parquet reader on the baseline", "baseline", "arrow_alone"),
        )
    } | {
        f"gigabytes a second{of}": round(size / 1e9 / median["window"][name]["work"], 3)
        for of, name in (
            ("", "linnet"),
            (" in memory", "memory"),
            (" read and counted", "scan"),
            (" by Arrow", "arrow_alone"),
        )
    }
    files = len(list((DATA / "window").iterdir()))
    costs = [cost(ours["wall"], models=models, files=files) for models in (1, 1000)]
    goals = {
        f"{task} {figure} at least {least:g}x {peer}": ratios[task].get(peer, {}).get(figure, 0.0) >= least
        for task, peer, figure, least in GOALS
    } | {f"{name} at most {most:g}": seen[name] <= most for name, most in MOST.items()}
    print(f"   {seen}\n   {bounds}")
    one, many = costs
    print(
        f"   a window: ${one['window']['sum']:.7f}, {one['lambda_milliseconds']} ms of Lambda, {one['transitions_a_window']} "
        f"transitions, {one['express_requests_a_window']} Express requests; transitions of a tick of all models without and "
        f"with windows: {one['transitions_a_tick']}; a model: {one['metrics']} metrics and {one['alarms']} alarms"
    )
    for costed in (one, many):
        print(f"   {costed['models']} models hourly, dollars a month: {costed['month']}")
    for goal, met in goals.items():
        print(f"   {'met   ' if met else 'MISSED'} {goal}")
    return {
        "peer": f"{', '.join(sorted(PEER_OF.values()))}, each by requirements/bench-monitor-*.txt",
        "rows": {"baseline": ROWS, "window": ROWS // 5}, "window_megabytes": round(size / 1e6, 1), "missing": missing,
        "median": median, "ratios": ratios, "detected": detected, "limits": seen, "bounds": bounds, "cost": costs,
        "prices": PRICES, "settings": _settings(), "goals": goals, "raw": raw,
        "goal": "; ".join(goals), "within_goal": not missing and all(goals.values()),
    }  # fmt: skip
