"""Invokes every function of `sam build` with its sample of events/ and holds the answer against events/answers.yaml.

    python scripts/sam_invoke.py --sam PATH [--image NAME]      each by `sam local invoke`, in a container
    python scripts/sam_invoke.py --sam PATH --bare              without containers, under the runtime interface emulator

`scripts/sam-check` makes what this needs. Prints a line a function; exits 1 when an answer is another than the one told.
"""

from __future__ import annotations

import argparse
import fnmatch
import ipaddress
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from boto3.dynamodb.types import TypeSerializer

from local.packaging import load_template
from local.stack import REGION, ROOT, Stack
from models.flights import data as flights

STACK, ACCOUNT, BUCKET, MODEL, RUN = "linnet", "000000000000", "linnet-data", "flights", "r0123456789"
BUILT = ROOT / ".aws-sam" / "build"
SAMPLES = {"account": "123456789012", "version": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"}
"""What the samples say and a stack names itself."""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
_AT_ONCE = 2
_SECONDS = 180.0
Invoke = Callable[[str, Path], str]


def main() -> int:
    """Start a stack, invoke all, compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", required=True, help="the SAM CLI")
    parser.add_argument("--image", default="", help="the base image of functions; AWS's public one unless given")
    parser.add_argument("--bare", action="store_true", help="the runtime interface emulator without containers")
    options = parser.parse_args()
    answers = yaml.safe_load((ROOT / "events" / "answers.yaml").read_text())
    bridge = "" if options.bare else _bridge()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with Stack.start(rate=1, state=work / "stack.json", also=bridge) as stack:
            stack.deploy(ROOT / "template.yaml", STACK)
            variables = _variables(stack, bridge)
            table = next(iter(variables.values()))["LINNET_TABLE"]
            version = _furnish(stack, table)
            invoke = (
                _bare(options.sam, variables)
                if options.bare
                else _container(options.sam, options.image, variables, work)
            )
            wrong = _play(answers["before_a_release"], invoke, version, work)
            _serve(stack, table)
            wrong += _play(answers["while_a_model_serves"], invoke, version, work)
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    print(f"count: {len({name for stage in answers.values() for group in stage for name in group})} functions")
    return int(bool(wrong))


def _bridge() -> str:
    """Return the address under which containers of Docker's default network see this machine.

    An engine that has not run a container yet names the network only: the bridge takes its first address.
    """
    command = ["docker", "network", "inspect", "bridge", "--format", "{{json (index .IPAM.Config 0)}}"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return str(found.get("Gateway") or ipaddress.ip_network(found["Subnet"])[1])


def _variables(stack: Stack, bridge: str) -> dict[str, dict[str, str]]:
    """Return the environment of each function, by logical id: as deployed, with the stack's address and the samples' bucket."""
    address = stack.endpoint.replace("127.0.0.1", bridge or "127.0.0.1")
    functions, found = stack.client("lambda"), {}
    pages = stack.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
    for resource in (r for page in pages for r in page["StackResourceSummaries"]):
        if resource["ResourceType"] == "AWS::Lambda::Function":
            deployed = functions.get_function_configuration(FunctionName=resource["PhysicalResourceId"])
            given = dict(deployed["Environment"]["Variables"])
            given |= {"AWS_ENDPOINT_URL": address, "LINNET_DATA_BUCKET": BUCKET, "POWERTOOLS_LOG_LEVEL": "WARNING"}
            found[resource["LogicalResourceId"]] = given
    return found


def _furnish(stack: Stack, table: str) -> str:
    """Put what the samples tell of into the stack; return the version of the spec's object.

    The stack's own rules are off: what is invoked here by hand must not be done by an event besides.
    """
    events, s3 = stack.client("events"), stack.client("s3")
    for bus in ("default", STACK):
        for rule in events.list_rules(EventBusName=bus)["Rules"]:
            events.disable_rule(Name=rule["Name"], EventBusName=bus)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    put = _into(stack)
    files = flights.batch(season="winter", rows=3000)
    objects = [put(f"raw-data/{MODEL}/2013-01/{name}", body) for name, body in files.items() if name.endswith(".csv")]
    sample = json.loads((ROOT / "events" / "validate_data.json").read_text())
    listed = put(f"processed-data/{MODEL}/batches/2013-01.json", json.dumps(objects).encode())["uri"]
    batch: dict[str, Any] = {"batch": "2013-01", "state": "closed", "digest": "d"}
    closed = batch | {"closed_at": "2026-11-21T02:00:00Z", "list_uri": listed}
    _row(stack, table, f"model/{MODEL}", "batch#2013-01", closed)
    batch |= {"objects": objects, "newest": True}
    inputs = {"batches": [batch], "labelled": {"capture": [], "truth": []}, "snapshot": "s", "spec": sample["spec"]}
    put(f"results/{MODEL}/{RUN}/inputs.json", json.dumps(inputs).encode())
    put(f"models/{MODEL}/{RUN}/linnet-{MODEL}-{RUN}/output/model.tar.gz", flights.broken_model())
    put(f"processed-data/{MODEL}/{RUN}/test/labels.csv", b"0,newest\n1,newest\n" * 300)
    put(f"results/{MODEL}/{RUN}/predictions/candidate/features.csv.out", b"0.25\n0.75\n" * 300)
    asked = {
        "decision_id": "d0123456789ab",
        "state": "OPEN",
        "kind": "retraining",
        "model": MODEL,
        "about": "r",
        "token": "",
    }
    asked |= {"at": "2026-11-21T02:00:00Z", "expires_at": "2100-01-01T00:00:00Z", "correlation_id": "sam-check"}
    _row(stack, table, f"decision/{asked['decision_id']}", "decision", asked | {"applied": False})
    spec = put(f"specs/{MODEL}.yaml", (ROOT / "models" / MODEL / f"{MODEL}.yaml").read_bytes())
    return str(spec["version"])


def _serve(stack: Stack, table: str) -> None:
    """Make the model's version 1 its champion, with an hour of captured requests and a plan to read them in shards."""
    _capture(_into(stack))
    baseline = f"s3://{BUCKET}/baselines/{MODEL}/{RUN}"
    package = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/linnet-{MODEL}/1"
    champion = {"version": 1, "run": RUN, "config": f"linnet-{MODEL}-v1-f1", "baseline": baseline, "fence": 1}
    champion |= {"package_arn": package, "model_name": f"linnet-{MODEL}-{RUN}", "at": "2026-11-21T09:00:00Z"}
    _row(stack, table, f"model/{MODEL}", "champion", champion)
    sample = json.loads((ROOT / "events" / "profile_shard.json").read_text())
    columns = {"columns": list(flights.FEATURES), "kinds": dict.fromkeys(flights.FEATURES, "number")}
    plan = columns | {"start": "2026-11-21T09:00:00Z", "end": "2026-11-21T10:00:00Z", "champion": []}
    _into(stack)(f"{sample['work']}plan.json", json.dumps(plan).encode())


def _into(stack: Stack) -> Callable[[str, bytes], dict[str, Any]]:
    s3 = stack.client("s3")

    def put(key: str, body: bytes) -> dict[str, Any]:
        made = s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return {"uri": f"s3://{BUCKET}/{key}", "version": made["VersionId"], "size": len(body)}

    return put


def _row(stack: Stack, table: str, pk: str, sk: str, row: dict[str, Any]) -> None:
    """Put a row of the ledger."""
    item = {name: TypeSerializer().serialize(value) for name, value in ({"pk": pk, "sk": sk} | row).items()}
    stack.client("dynamodb").put_item(TableName=table, Item=item)


def _capture(put: Callable[[str, bytes], Any]) -> None:
    """Put an hour of what callers sent, as SageMaker captures it."""
    lines = []
    for number, row in enumerate(flights.requests(season="winter", count=300)):
        asked = {"observedContentType": "text/csv", "mode": "INPUT", "data": row, "encoding": "CSV"}
        told = {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "0.1", "encoding": "CSV"}
        when = {"eventId": f"e{number}", "inferenceTime": f"2026-11-21T09:{number % 60:02d}:00Z"}
        line = {
            "captureData": {"endpointInput": asked, "endpointOutput": told},
            "eventMetadata": when,
            "eventVersion": "0",
        }
        lines.append(json.dumps(line))
    where = f"data-capture/linnet-{MODEL}-v1-f1/linnet-{MODEL}/blue/2026/11/21/09/00-00-000-blue.jsonl"
    put(where, "\n".join(lines).encode() + b"\n")


def _play(groups: list[dict[str, dict[str, Any]]], invoke: Invoke, version: str, work: Path) -> list[str]:
    """Invoke the functions group by group, some of a group at once; return what went wrong."""

    def one(name: str, told: dict[str, Any]) -> str:
        event = work / f"{told['event']}.json"
        text = (ROOT / "events" / event.name).read_text()
        event.write_text(text.replace(SAMPLES["account"], ACCOUNT).replace(SAMPLES["version"], version))
        began = time.monotonic()
        said = invoke(name, event)
        why = _differs(told, said)
        print(f"{'WRONG' if why else 'ok':5}  {name:26} {time.monotonic() - began:5.1f} s  {said[:150]}", flush=True)
        return f"{name} with events/{event.name}: {why}\n  it said {said[:2000]}" if why else ""

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [line for group in groups for line in pool.map(one, group, group.values()) if line]


def _differs(told: dict[str, Any], said: str) -> str:
    """Return why an answer is another than the one told; an empty text if it is the same."""
    try:
        answer = json.loads(said)
    except json.JSONDecodeError:
        return "its answer is no JSON"
    failed = isinstance(answer, dict) and "errorType" in answer
    if "raises" in told:
        if not failed or answer["errorType"] != told["raises"]:
            return f"told: {told['raises']}"
        return "" if fnmatch.fnmatchcase(answer["errorMessage"], told["says"]) else f"told: {told['says']}"
    return f"told: {told['gives']}" if failed or not _within(told["gives"], answer) else ""


def _within(told: Any, found: Any) -> bool:
    """Say whether all that is told is found; a `*` in a text stands for any text."""
    if isinstance(told, dict):
        return isinstance(found, dict) and all(
            key in found and _within(value, found[key]) for key, value in told.items()
        )
    if isinstance(told, str):
        return isinstance(found, str) and fnmatch.fnmatchcase(found, told)
    return bool(told == found)


def _container(sam: str, image: str, variables: dict[str, dict[str, str]], work: Path) -> Invoke:
    """Return what invokes a function by `sam local invoke`.

    SAM passes no variable that the template does not declare, so a copy of the built template declares them. It makes the
    image of a function's layers anew at each call: the first that it has made serves all functions with these layers.
    """
    built = load_template(BUILT / "template.yaml")
    common = built["Globals"]["Function"]
    kept = ("CodeUri", "Handler", "Runtime", "Architectures", "Timeout", "MemorySize")
    functions = {name: common | built["Resources"][name]["Properties"] for name in variables}
    layers = {name: common["Layers"] + built["Resources"][name]["Properties"].get("Layers", []) for name in variables}

    def cut(name: str, suffix: str, *, layered: bool) -> Path:
        """Write a template that has the functions, and the layers of this one."""
        resources = {}
        for other, properties in functions.items():
            given = {key: properties[key] for key in kept} | {"Environment": {"Variables": variables[other]}}
            given |= {"Layers": layers[name]} if layered and other == name else {}
            resources[other] = {"Type": "AWS::Serverless::Function", "Properties": given}
        for layer in [one["Ref"] for one in layers[name]] if layered else []:
            resources[layer] = built["Resources"][layer] | {"Metadata": {}}
        path = BUILT / f"sam-check-{suffix}.json"
        path.write_text(json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": resources}, default=str))
        return path

    def call(name: str, event: Path, template: Path, *more: str) -> str:
        command: list[str | Path] = [
            sam,
            "local",
            "invoke",
            name,
            "-t",
            template,
            "-e",
            event,
            "--region",
            REGION,
            *more,
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd=work,
            env=os.environ | CREDENTIALS | {"SAM_CLI_TELEMETRY": "0"},
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        return lines[-1] if lines else f"(nothing) {done.stderr[-1500:]}"

    bare = cut(next(iter(functions)), "bare", layered=False)
    images: dict[str, str] = {}
    making = threading.Lock()

    def invoke(name: str, event: Path) -> str:
        kind = "-".join(one["Ref"].lower() for one in layers[name])
        with making:
            if kind not in images:
                _untag()
                own = ["--invoke-image", image, "--skip-pull-image"] if image else []
                said = call(name, event, cut(name, kind, layered=True), *own)
                (made,) = _images()
                images[kind] = f"linnet/{kind}:built"
                subprocess.run(["docker", "tag", made, images[kind]], check=True)
                return said
        return call(name, event, bare, "--invoke-image", images[kind], "--skip-pull-image")

    return invoke


def _images() -> list[str]:
    """Return the names of the images that SAM has made of layers."""
    command = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "samcli/lambda-python"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def _untag() -> None:
    for image in _images():
        subprocess.run(["docker", "rmi", image], check=True, capture_output=True)


def _bare(sam: str, variables: dict[str, dict[str, str]]) -> Invoke:
    """Return what invokes a function under the emulator that the SAM CLI brings, on this machine's Python.

    Its packages are the local stack's, since those of the layers are for Lambda's own Python.
    """
    tools = Path(sam).parent / "python"
    found = "import samcli.local, sys; print(samcli.local.__path__[0])"
    brought = subprocess.run([tools, "-c", found], check=True, capture_output=True, text=True).stdout.strip()
    architecture = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    emulator = Path(brought) / "rapid" / f"aws-lambda-rie-{architecture}"
    emulator.chmod(0o755)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    functions = load_template(ROOT / "template.yaml")["Resources"]

    def invoke(name: str, event: Path) -> str:
        code = ROOT / functions[name]["Properties"]["CodeUri"]
        ours, runtimes = _free_port(), _free_port()
        environment = variables[name] | CREDENTIALS | {
            "PATH": os.environ["PATH"], "_HANDLER": "app.handler", "LAMBDA_TASK_ROOT": str(code), "AWS_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(_SECONDS)),
            "PYTHONPATH": os.pathsep.join([str(code), str(ROOT / "layers" / "linnet"), *packages]),
        }  # fmt: skip
        here = [
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{ours}",
            "--runtime-api-address",
            f"127.0.0.1:{runtimes}",
        ]
        command: list[str | Path] = [
            emulator,
            "--log-level",
            "error",
            *here,
            tools,
            "-m",
            "awslambdaric",
            "app.handler",
        ]
        with subprocess.Popen(
            command,
            cwd=code,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                return _post(f"http://127.0.0.1:{ours}/2015-03-31/functions/function/invocations", event.read_bytes())
            finally:
                os.killpg(process.pid, signal.SIGKILL)

    return invoke


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _post(url: str, body: bytes) -> str:
    """Return the answer to a POST, once somebody listens there."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, body, timeout=_SECONDS) as answer:  # noqa: S310 - loopback # nosec B310
                return str(answer.read().decode())
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
