"""Checks the state machines as they are deployed, their substitutions filled in: statelint, asl-validator, Linnet's rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session

from linnet.errors import LinnetError
from linnet.monitoring import tables
from scripts.asl.rules import Known, check

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What a `${Name}` is filled with, by how the name ends.
SUBSTITUTES = {
    "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:name",
    "MachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:name",
    "TopicArn": "arn:aws:sns:us-east-1:123456789012:name",
    "Bucket": "bucket",
}


def _named(root: type[Exception]) -> set[str]:
    return {root.__name__}.union(*(_named(below) for below in root.__subclasses__()))


def _sagemaker() -> set[str]:
    """Return what Step Functions calls SageMaker's errors: the API's own names, some with `Exception` behind them.

    The optimised integration uses the first SDK for Java: what the API does not declare arrives as AmazonSageMakerException.
    """
    shapes = botocore.session.get_session().get_service_model("sagemaker").error_shapes
    names = {shape.name for shape in shapes} | {"AmazonSageMakerException", "ThrottlingException"}
    return {f"SageMaker.{name}" for name in names | {f"{name}Exception" for name in names}}


KNOWN = Known(
    errors=frozenset(_named(LinnetError) | {tables.DataError.__name__} | _sagemaker()),
    closing=frozenset(
        {"CloseRunFunctionArn", "ConcludeReleaseFunctionArn", "RollbackMachineArn", "KeepModelFunctionArn", "TopicArn"}
    ),
    excused={
        "intake/Close the batch if it is quiet": "holds nothing; the batch stays open and the reconciler closes it",
        "watch/Judge the release": "holds nothing; who waits for it holds the lease and takes the release back",
        "retrain/Take the run slot": "without a run there is nothing to close; the end-of-execution rule frees a slot",
        "rollback/Release that version": "holds nothing yet; that release gives back its own lease and tells people",
    },
    bounds={
        # The champion and the candidate.
        ("retrain", "Let both answer the held-out rows", ""): 2,
        # Twice: the plan that it goes on with has no `on_demand`.
        ("retrain", "May it go on on demand?", ""): 2,
        # The data is read once, and `made` is its request only until then.
        ("retrain", "Which job was adopted?", "Validate the data"): 1,
        # `large` is cut to so many.
        ("monitor", "Look at each large window", ""): 200,
        # findings.MOST_JOBS.
        ("monitor", "Explain each sample", ""): 100,
        # `watch` says `wait` after 700 looks of 30 s or more, and the machine ends after 90 days.
        ("release", "What comes next?", "Watch the release"): 370,
        # progress.py: the phases `creating` and `entering` are probed, and come once.
        ("release", "What comes next?", "Probe the new fleet"): 2,
        # A ladder has at most 20 steps, each asked for at most four times.
        ("release", "What comes next?", "Shift the traffic"): 80,
        # From the shadow to traffic, and from the ladder to the challenger alone.
        ("release", "What comes next?", "Make the next update"): 2,
        # As above; this machine ends after two days.
        ("rollback", "Does the old config serve?", "Watch the endpoint"): 8,
    },
    proven={
        # `$plan.request` is still what the first state assigned: the job that read the data was throttled.
        ("retrain", "Which job was it?", "Check and prepare the data in a job"): frozenset({"reading"}),
        # `$plan.request` is a plan, which is made of what was prepared.
        ("retrain", "Which job was it?", "Are hyperparameters tuned?"): frozenset({"prepared"}),
        # Likewise: `made` is the plan's request where it does not read the data.
        ("retrain", "Which job was adopted?", "Plan the evaluation"): frozenset({"prepared"}),
        # Only that plan has `on_demand`.
        ("retrain", "May it go on on demand?", "Train the model"): frozenset({"prepared"}),
    },
)


def filled(text: str) -> str:
    """Return a definition with an ARN or a name in place of every `${Name}`.

    Raises:
        StopIteration: nothing is known to stand for a name.
    """

    def one(match: re.Match[str]) -> str:
        return next(value for end, value in SUBSTITUTES.items() if match[1].endswith(end))

    return re.sub(r"\$\{(\w+)\}", one, text)


def statelint(text: str, at: Path) -> str:
    """Return what statelint finds in a filled definition; `at` is where it is put for it."""
    # statelint 3.1 does not know this required field, nor that a JSONata state may compute the two others.
    text = text.replace('"ReaderConfig": { "InputType": "JSON" },', "")
    at.write_text(re.sub(r'("(?:TimeoutSeconds|Seconds)": )"\{%[^"]*%\}"', r"\g<1>60", text))
    command = [str(Path(sys.executable).parent / "statelint"), "--ignore=URI,FLOAT", str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip() or ("" if done.returncode == 0 else f"exit status {done.returncode}")


def validator(paths: list[Path]) -> str | None:
    """Return what asl-validator finds in filled definitions; None where Node is missing."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        return None
    tools = ROOT / ".tools" / "asl"
    program = tools / "node_modules" / ".bin" / "asl-validator"
    if not program.exists():
        tools.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, tools / name)
        subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=tools, check=True)
    arguments = [argument for path in paths for argument in ("--json-path", str(path))]
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def main() -> int:
    """Check every machine; print what was found to stderr and what was counted to stdout; return the exit status."""
    folder = ROOT / "build" / "asl"
    folder.mkdir(parents=True, exist_ok=True)
    found: list[str] = []
    paths = []
    for source in sorted((ROOT / "statemachines").glob("*.asl.json")):
        name = source.name.removesuffix(".asl.json")
        text = filled(source.read_text())
        paths.append(folder / source.name)
        paths[-1].write_text(text)
        definition: dict[str, Any] = json.loads(source.read_text())
        found += check(name, definition, KNOWN)
        said = statelint(text, folder / f"{name}.statelint.json")
        found += [f"statelint: {name}: {line}" for line in said.splitlines()]
    refused = validator(paths)
    if refused is None:
        sys.stderr.write("asl-validator was NOT run: it needs Node and npm (apt-get install npm); the other two were\n")
    found += refused.splitlines() if refused else []
    sys.stderr.writelines(f"{one}\n" for one in found)
    sys.stdout.write(f"count: {len(paths)} machines\n")
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
