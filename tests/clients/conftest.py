"""One stack with Linnet in it, and an environment of its own for every client."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.sagemaker.executor import sandbox
from local.stack import ROOT, Stack

HERE = Path(__file__).parent
STACK = "linnet"
ACCOUNT = "000000000000"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
CLIENTS = ("boto3", "awscli", "sagemaker")
_SECONDS = 600.0
_CLOSED = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack.start(rate=60, state=tmp_path_factory.mktemp("clients") / "stack.json") as started:
        started.deploy(ROOT / "template.yaml", STACK)
        yield started


def interpreter(client: str) -> Path:
    """Return the Python of a client's environment, made from its pinned requirements when it is not there yet.

    boto3 is the project's own. The files list all that is needed, so nothing else is installed (`--no-deps`).
    """
    if client == "boto3":
        return Path(sys.executable)
    pinned, folder = ROOT / "requirements" / f"client-{client}.txt", ROOT / "build" / "clients" / client
    wanted = hashlib.sha256(pinned.read_bytes() + sys.version.encode()).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / "installed"
        if not mark.exists() or mark.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
            subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", pinned], check=True)
            mark.write_text(wanted)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def told(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return what lets a client play the story, once, and returns its facts by chapter.

    Its environment has the stack's address and credentials, an empty home, and a proxy that refuses: a client that
    asked anybody but the stack would fail.
    """
    outputs = stack.outputs(STACK)

    @functools.cache
    def played(client: str) -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp(client)
        case = {
            "client": client,
            "account": ACCOUNT,
            "bucket": f"of-{client}",
            "image": IMAGE,
            "role": outputs["SageMakerRoleArn"],
            "stack": STACK,
            "ledger": outputs["LedgerTable"],
            "isolated": sandbox.available(),
        }
        (folder / "case.json").write_text(json.dumps(case))
        (folder / "home").mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "AWS_ENDPOINT_URL": stack.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HTTP_PROXY": _CLOSED,
            "HTTPS_PROXY": _CLOSED,
            "NO_PROXY": "127.0.0.1,localhost",
        }
        done = subprocess.run(
            [interpreter(client), HERE / f"story_{client}.py", folder / "case.json", folder / "facts.json"],
            env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS,
        )  # fmt: skip
        return folder / "facts.json", "" if done.returncode == 0 else f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"

    def facts(client: str) -> dict[str, Any]:
        report, trouble = played(client)
        if trouble:
            pytest.fail(trouble)
        found: dict[str, Any] = json.loads(report.read_text())
        return found

    return facts
