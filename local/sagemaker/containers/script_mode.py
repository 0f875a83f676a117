"""Script mode: runs the user's program with the hyperparameters as its arguments.

Source of the contract: aws/sagemaker-training-toolkit (environment.py, mapping.py, errors.py): a hyperparameter is JSON
where it can be read as JSON, `--name value` in the order of the names, `-n value` for a name of one letter.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the program; a failure is written to /opt/ml/output/failure."""
    config = Path(os.environ["SM_INPUT_CONFIG_DIR"]) / "hyperparameters.json"
    given = {name: _decoded(value) for name, value in json.loads(config.read_text(encoding="utf-8")).items()}
    parameters = {name: value for name, value in given.items() if not name.startswith("sagemaker_")}
    code = Path(os.environ["SM_MODULE_DIR"])
    submitted = str(given.get("sagemaker_submit_directory", ""))
    if submitted.startswith("/opt/ml/"):
        code = Path(os.environ["SM_MODEL_DIR"]).parent / Path(submitted).relative_to("/opt/ml")
    program = str(given.get("sagemaker_program", "train.py"))
    arguments = [part for name in sorted(parameters) for part in (_flag(name), _argument(parameters[name]))]
    os.environ.update(
        SM_HPS=json.dumps(parameters, sort_keys=True),
        SM_USER_ARGS=json.dumps(arguments),
        SM_USER_ENTRY_POINT=program,
        SM_MODULE_NAME=Path(program).stem,
        SM_MODULE_DIR=str(code),
        **{f"SM_HP_{name.upper()}": _written(value) for name, value in parameters.items()},
    )
    os.environ["SM_TRAINING_ENV"] = json.dumps({name: value for name, value in os.environ.items() if name[:3] == "SM_"})
    os.chdir(code)
    command = " ".join(["python3", program, *arguments])
    print(f"Invoking script with the following command: {command}", flush=True)
    status, words = _run(code / program, arguments)
    if status:
        failure = f'ExecuteUserScriptError:\nExitCode {status}\nErrorMessage "{words}"\nCommand "{command}"'
        (Path(os.environ["SM_OUTPUT_DIR"]) / "failure").write_text(failure, encoding="utf-8")
        print(f"Reporting training FAILURE\n{failure}", flush=True)
    sys.exit(status)


def _run(program: Path, arguments: list[str]) -> tuple[int, str]:
    """Run a program in this process (Python) or in one of its own (shell); return its exit code and last words."""
    if not program.is_file():
        return 1, f"there is no {program}"
    if program.suffix == ".sh":
        return subprocess.run(["/bin/sh", str(program), *arguments], check=False).returncode, ""
    sys.argv = [str(program), *arguments]
    sys.path.insert(0, str(program.parent))
    try:
        runpy.run_path(str(program), run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            return end.code or 0, ""
        print(end.code, flush=True)
        return 1, str(end.code)
    except Exception as error:
        traceback.print_exc()
        return 1, f"{type(error).__name__}: {error}"
    return 0, ""


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _flag(name: str) -> str:
    return f"--{name}" if len(name) > 1 else f"-{name}"


def _argument(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={each}" for name, each in sorted(value.items()))
    return "" if value is None else str(value)


def _written(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


if __name__ == "__main__":
    main()
