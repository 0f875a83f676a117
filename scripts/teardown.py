"""Lists what Linnet made at run time in an account, and deletes it after a question: make teardown STACK=linnet.

What CloudFormation made goes with its stack; the ledger, the data bucket and their key are kept by it. Only what is
named `<stack>-...` and tagged project=linnet is deleted; the rest of that name is shown and left alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from linnet.errors import BusyError
from linnet.gateways.clients import client
from linnet.gateways.removal import Kind, Thing, delete


class Found(NamedTuple):
    """A thing by its ARN, and whether Linnet's tag says that it is ours."""

    thing: Thing
    arn: str
    ours: bool


def find(stack: str) -> list[Found]:
    """Return everything named `<stack>-...`, in the order in which it can be deleted."""
    sagemaker, prefix = client("sagemaker"), f"{stack}-"
    listings: tuple[tuple[Kind, str, str, str, str], ...] = (
        ("endpoint", "list_endpoints", "Endpoints", "EndpointName", "EndpointArn"),
        ("endpoint config", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", "EndpointConfigArn"),
        ("model", "list_models", "Models", "ModelName", "ModelArn"),
    )
    found = [
        Found(Thing(kind, item[name]), item[arn], _tagged(item[arn]))
        for kind, call, field, name, arn in listings
        for item in _pages(getattr(sagemaker, call), field, NameContains=prefix)
        if item[name].startswith(prefix)
    ]
    made_by_stack = _stack_resources(stack)
    for alarm in _pages(client("cloudwatch").describe_alarms, "MetricAlarms", AlarmNamePrefix=prefix):
        if alarm["AlarmName"] not in made_by_stack:
            tags = client("cloudwatch").list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
            found.append(Found(Thing("alarm", alarm["AlarmName"]), alarm["AlarmArn"], _is_linnet(tags)))
    for item in _pages(sagemaker.list_experiments, "ExperimentSummaries"):
        name, arn = item["ExperimentName"], item["ExperimentArn"]
        if name.startswith(prefix):
            ours = _tagged(arn)
            trials = _pages(sagemaker.list_trials, "TrialSummaries", ExperimentName=name)
            found += [Found(Thing("trial", trial["TrialName"]), trial["TrialArn"], ours) for trial in trials]
            found.append(Found(Thing("experiment", name), arn, ours))
    for group in _pages(sagemaker.list_model_package_groups, "ModelPackageGroupSummaryList", NameContains=prefix):
        name, arn = group["ModelPackageGroupName"], group["ModelPackageGroupArn"]
        if name.startswith(prefix):
            ours = _tagged(arn)
            for package in _pages(sagemaker.list_model_packages, "ModelPackageSummaryList", ModelPackageGroupName=name):
                # A version has no tags of its own: its group speaks for it.
                one = package["ModelPackageArn"]
                found.append(Found(Thing("model package", one), one, ours))
            found.append(Found(Thing("model package group", name), arn, ours))
    return found


def running_jobs(stack: str) -> list[tuple[str, str]]:
    """Return kind and name of the stack's jobs that still run: they are stopped; AWS keeps ended jobs for ever."""
    sagemaker = client("sagemaker")
    return [
        (kind, item[name])
        for kind, call, field, name in (
            ("training job", sagemaker.list_training_jobs, "TrainingJobSummaries", "TrainingJobName"),
            ("transform job", sagemaker.list_transform_jobs, "TransformJobSummaries", "TransformJobName"),
        )
        for item in _pages(call, field, NameContains=f"{stack}-", StatusEquals="InProgress")
        if item[name].startswith(f"{stack}-")
    ]


def _pages(call: Callable[..., dict[str, Any]], field: str, **given: Any) -> Iterator[dict[str, Any]]:
    while True:
        page = call(**given)
        yield from page.get(field, [])
        if not page.get("NextToken"):
            return
        given["NextToken"] = page["NextToken"]


def _stack_resources(stack: str) -> set[str]:
    """Return the physical ids of what CloudFormation made, or nothing when the stack is gone."""
    try:
        pages = _pages(client("cloudformation").list_stack_resources, "StackResourceSummaries", StackName=stack)
        return {str(resource.get("PhysicalResourceId", "")) for resource in pages}
    except ClientError:
        return set()


def _tagged(arn: str) -> bool:
    return _is_linnet(client("sagemaker").list_tags(ResourceArn=arn)["Tags"])


def _is_linnet(tags: list[dict[str, str]]) -> bool:
    return {"Key": "project", "Value": "linnet"} in [{"Key": t["Key"], "Value": t["Value"]} for t in tags]


def carry_out(found: list[Found], jobs: list[tuple[str, str]], wait: float) -> int:
    """Stop the jobs and delete what is ours; return how many things could not be deleted."""
    for kind, name in jobs:
        sagemaker = client("sagemaker")
        if kind == "training job":
            sagemaker.stop_training_job(TrainingJobName=name)
        else:
            sagemaker.stop_transform_job(TransformJobName=name)
        print(f"stopped {kind} {name}")
    failed = 0
    for thing in (f.thing for f in found if f.ours):
        try:
            _delete_and_wait(thing, wait)
            print(f"deleted {thing.kind} {thing.name}")
        except (ClientError, BusyError) as error:
            failed += 1
            print(f"NOT deleted {thing.kind} {thing.name}: {error}", file=sys.stderr)
    return failed


def _delete_and_wait(thing: Thing, wait: float) -> None:
    until = time.monotonic() + wait
    while True:
        try:
            delete(thing)
        except BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(min(10.0, wait / 10))
        else:
            return


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when nothing is left to delete, or nothing was to be deleted; 1 when something could not be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", default="linnet")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--yes", action="store_true", help="delete without asking")
    what.add_argument("--list", action="store_true", help="only list; the default where nobody can be asked")
    parser.add_argument("--wait", type=float, default=900.0, help="seconds to wait for an endpoint to go")
    given = parser.parse_args(arguments)
    try:
        found, jobs = find(given.stack), running_jobs(given.stack)
    except BotoCoreError as error:  # no region, no credentials, no way there
        print(f"AWS cannot be asked: {error}", file=sys.stderr)
        return 1
    for kind, name in jobs:
        print(f"would stop    {kind:20} {name}")
    for one in found:
        fate = "would delete" if one.ours else "left alone: no tag project=linnet:"
        print(f"{fate}  {one.thing.kind:20} {one.thing.name}")
    count = len(jobs) + sum(one.ours for one in found)
    if not count:
        print(f"Nothing that Linnet made at run time is left of the stack {given.stack}.")
        return 0
    if given.list or not (given.yes or sys.stdin.isatty()):
        print(f"{count} to delete; nothing was deleted. Type: make teardown STACK={given.stack} ARGS=--yes")
        return 0
    if not given.yes and input(f"Delete these {count} for good? Type the stack's name: ").strip() != given.stack:
        print("Nothing was deleted.")
        return 0
    return 1 if carry_out(found, jobs, given.wait) else 0


if __name__ == "__main__":
    sys.exit(main())
