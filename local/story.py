"""The phases of the demo, in the order in which they happen to a team."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from local.demo import ENDPOINT, GROUP, MODEL, RATE, ROOT, STACK, Callers, ExpectationError, Phase, Story, spec
from local.stack import Stack
from models.flights import data as flights

# What ticks every few minutes ticks every few seconds here; on a busy machine more often than it can be answered.
PARAMETERS = {
    "MonitorSchedule": "rate(5 minutes)", "ReconcileSchedule": "rate(15 minutes)", "WatchSchedule": "rate(60 minutes)",
}  # fmt: skip
WATCH = {"data_quality": {"window_minutes": 5, "minimum_rows": 60, "retrain_windows": 1}}
QUICK = {"cooldown_seconds": 0, "daily_limit": 20}
FEW_CALLERS = flights.spec()["rollout"]


def tell() -> int:
    """Play the story on this terminal; return the exit status."""
    return play(Story(Console(highlight=False, width=None if sys.stdout.isatty() else 150)))


def play(story: Story) -> int:
    """Play all phases; write the report; return 0 only if every expectation held."""
    story.console.rule("[bold]Linnet: the loop, on this machine")
    story.console.print(
        f"Waiting runs x{RATE} (a five-minute bake takes five seconds); training and serving are real.\n"
    )
    callers: Callers | None = None
    failure = ""
    try:
        with story.progress:
            start_the_stack(story)
            onboard(story)
            first = first_run(story)
            first_release(story, first)
            callers = Callers(story.runtime, flights.requests(season="winter"))
            quiet_traffic(story, callers)
            new_data(story)
            drifted_traffic(story, callers)
            second = drift_run(story)
            ladder(story, callers, second)
            bad_release(story, callers)
            bad_data(story)
            weaker_candidate(story)
            history(story)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        if not isinstance(error, ExpectationError):
            story.console.print_exception()
    finally:
        if callers:
            callers.halt()
        seen = {phase: dict(counted) for phase, counted in callers.seen.items()} if callers else {}
        work = _work(story) if story.out else {}
        if hasattr(story, "stack"):
            story.stack.stop()
    return report(story, seen, work, failure)


def _work(story: Story) -> dict[str, float]:
    """Return the real seconds that containers worked: jobs by their own account, serving by ModelLatency."""
    training = [
        story.sagemaker.describe_training_job(TrainingJobName=j["TrainingJobName"]).get("TrainingTimeInSeconds", 0)
        for j in story.sagemaker.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    ]
    now = story.stack.clock.now()
    found = [
        datum["Sum"]
        for colour in ("blue", "green")
        for datum in story.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName="ModelLatency", Period=86400, Statistics=["Sum"],
            StartTime=now - timedelta(days=1), EndTime=now + timedelta(days=1),
            Dimensions=[{"Name": "EndpointName", "Value": ENDPOINT}, {"Name": "VariantName", "Value": colour}],
        )["Datapoints"]
    ]  # fmt: skip
    return {"training": round(sum(training), 1), "serving": round(sum(found) / 1e6, 1)}


def start_the_stack(story: Story) -> None:
    """Start the emulator and deploy the real template through CloudFormation and the SAM transform."""
    with story.phase("Deploy template.yaml to the local stack") as phase:
        story.stack = Stack.start(rate=RATE, state=ROOT / "build" / "demo" / "stack.json", permissions=True)
        story.stack.deploy(ROOT / "template.yaml", STACK, PARAMETERS)
        story.out = story.stack.outputs(STACK)
        story.connect()
        story.subscribe()
        phase.ids = {"endpoint_url": story.stack.endpoint, "outputs": len(story.out)}
        phase.result = f"{len(story.out)} outputs at {story.stack.endpoint}"


def _put_spec(story: Story, known: set[str], **changes: Any) -> dict[str, Any]:
    story.put(f"specs/{MODEL}.yaml", json.dumps(spec(**changes)))
    return story.execution("onboard", known)


def onboard(story: Story) -> None:
    """Put the spec file: that is all it takes to onboard a model."""
    with story.phase("Onboard the model flights by its spec") as phase:
        ended = _put_spec(story, story.known("onboard"), monitors=WATCH, retraining=QUICK)
        phase.expect("onboarding succeeds", ended["status"] == "SUCCEEDED", ended.get("error"))
        group = story.sagemaker.describe_model_package_group(ModelPackageGroupName=GROUP)
        alarms = story.cloudwatch.describe_alarms(AlarmNamePrefix=f"{ENDPOINT}-drift")["MetricAlarms"]
        phase.expect("the model has its drift alarms", len(alarms) >= 2, [a["AlarmName"] for a in alarms])
        phase.ids = {"execution": ended["executionArn"], "group": group["ModelPackageGroupArn"]}


def _put_batch(story: Story, batch: str, files: dict[str, bytes]) -> None:
    """Upload a batch, its manifest last."""
    for name in sorted(files, key=lambda n: n == "_MANIFEST.json"):
        story.put(f"raw-data/{MODEL}/{batch}/{name}", files[name])


def _run_row(story: Story, execution: dict[str, Any]) -> dict[str, Any]:
    rows = story.rows(f"model/{MODEL}", "run#")
    return next(row for row in rows if row["execution"] == execution["name"])


def _evaluation(story: Story, run: str) -> dict[str, Any]:
    return dict(json.loads(story.get(f"results/{MODEL}/{run}/evaluation.json")))


def _auc(evaluation: dict[str, Any]) -> float:
    return float(evaluation["classification_metrics"]["auc"]["value"])


def first_run(story: Story) -> dict[str, Any]:
    """Data arrives: it is validated, trained on, judged and registered, and its tier decides."""
    with story.phase("Data arrives: validate, train, judge, register, decide") as phase:
        known = story.known("retrain")
        _put_batch(story, "2013-q1", flights.batch(season="winter", rows=6000, part=0))
        ended = story.execution("retrain", known)
        phase.expect("the run succeeds", ended["status"] == "SUCCEEDED", ended.get("cause"))
        run = str(_run_row(story, ended)["run"])
        verdict = json.loads(story.get(f"results/{MODEL}/{run}/validation_report.json"))
        phase.expect("the data passes its rules", verdict["verdict"] == "PASS", verdict.get("failures"))
        job = story.sagemaker.describe_training_job(TrainingJobName=f"{ENDPOINT}-{run}")
        phase.expect("a real training job completed", job["TrainingJobStatus"] == "Completed", job)
        auc = _auc(_evaluation(story, run))
        phase.expect("its AUC is in the automatic tier", auc >= 0.90, auc)
        package = story.sagemaker.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"][0]
        phase.expect("it is registered and approved", package["ModelApprovalStatus"] == "Approved", package)
        phase.ids = {"execution": ended["executionArn"], "run": run, "package": package["ModelPackageArn"]}
        phase.result = f"AUC {auc:.4f} on held-out rows: approved by its tier"
        return phase.ids


def first_release(story: Story, first: dict[str, Any]) -> None:
    """The approval event starts the release that creates the endpoint."""
    with story.phase("First release: the endpoint is created, probed and promoted") as phase:
        ended = story.execution("release", set())
        phase.expect("the release succeeds", ended["status"] == "SUCCEEDED", ended.get("cause"))
        endpoint = story.endpoint()
        phase.expect("the endpoint is in service", endpoint["EndpointStatus"] == "InService", endpoint)
        champion = story.rows(f"model/{MODEL}", "champion")[0]
        phase.expect("the ledger names it champion", champion["run"] == first["run"], champion)
        phase.ids = {"execution": ended["executionArn"], "config": endpoint["EndpointConfigName"]}
        phase.result = f"{ENDPOINT} serves {endpoint['EndpointConfigName']}"


def quiet_traffic(story: Story, callers: Callers) -> None:
    """Callers call; what they ask is captured; a quiet hour is not drift."""
    with story.phase("Live traffic flows and is captured; no drift is found in it") as phase:
        captured = story.wait("captured requests", lambda: _captured(story))
        finding = story.wait("a finding of a window with traffic", lambda: _finding(story, "quiet"))
        phase.expect("an undrifted window is Completed", finding["status"] == "Completed", finding)
        counted = callers.seen[callers.phase]
        phase.expect("callers see no error", not counted["errors"], dict(counted))
        phase.ids = {"capture": captured[0]}
        phase.result = f"{counted['answered']} answers, {len(captured)} capture files, window Completed"


def _captured(story: Story) -> list[str]:
    page = story.s3.list_objects_v2(Bucket=story.out["DataBucket"], Prefix="data-capture/")
    return [found["Key"] for found in page.get("Contents", [])]


def _finding(story: Story, want: str) -> dict[str, Any] | None:
    rows = story.rows(f"model/{MODEL}", "finding#data-quality#")
    status = {"quiet": ("Completed",), "drift": ("CompletedWithViolations",)}[want]
    return next((r for r in reversed(rows) if r["status"] in status), None)


def new_data(story: Story) -> None:
    """Newer labelled data arrives and waits: the team retrains on drift, and wants a person to decide from now on."""
    with story.phase("Summer data arrives and waits; from now on a person decides") as phase:
        ended = _put_spec(
            story, story.known("onboard"), monitors=WATCH,
            retraining=QUICK | {"signals": ["drift", "manual"]},
            approval={"require_person": True}, rollout=FEW_CALLERS | {"strategy": "stepped"},
        )  # fmt: skip
        phase.expect("the changed spec is onboarded", ended["status"] == "SUCCEEDED", ended.get("error"))
        known = story.known("retrain")
        _put_batch(story, "2013-q3", flights.batch(season="summer", rows=6000, part=0))
        batch = story.wait("the closed batch", lambda: _batch(story, "2013-q3"))
        phase.expect("data alone starts no run any more", story.known("retrain") == known)
        phase.result = f"batch 2013-q3 is {batch['state']} and waits for a reason"


def _batch(story: Story, name: str) -> dict[str, Any] | None:
    rows = story.rows(f"model/{MODEL}", f"batch#{name}")
    return next((r for r in rows if r["state"] != "open"), None)


def drifted_traffic(story: Story, callers: Callers) -> None:
    """Summer comes: callers ask other questions, and the monitor sees it."""
    with story.phase("Traffic drifts; the monitor finds it and the alarm goes off") as phase:
        callers.phase = "drifted traffic"
        callers.send(flights.requests(season="summer"))
        finding = story.wait("a finding of drift", lambda: _finding(story, "drift"))
        alarm = story.wait("the drift alarm", lambda: _alarm(story))
        phase.ids = {"finding": finding["sk"], "alarm": alarm["AlarmArn"]}
        worst = max(finding["scores"].items(), key=lambda item: item[1])
        phase.result = f"{worst[0]} drifted by {float(worst[1]):.2f}; alarm {alarm['AlarmName']}"


def _alarm(story: Story) -> dict[str, Any] | None:
    found = story.cloudwatch.describe_alarms(AlarmNames=[f"{ENDPOINT}-drift"])["MetricAlarms"]
    return next((a for a in found if a["StateValue"] == "ALARM"), None)


def drift_run(story: Story) -> dict[str, Any]:
    """The alarm starts a run; its better candidate waits for a person, who approves through the task token."""
    with story.phase("The alarm starts a run; a person approves the better candidate") as phase:
        arn = story.wait("the run of the alarm", lambda: _running(story, "retrain"))
        released = story.known("release")
        asked: list[str] = []

        def answer() -> None:
            found = None if asked else _open_decision(story)
            if not found:
                return
            asked.append(found)
            phase.expect("the run waits for a person", _status(story, arn) == "RUNNING")
            said = story.functions.invoke(
                FunctionName=story.out["DecideCandidateFunction"],
                Payload=json.dumps(
                    {
                        "decision_id": found,
                        "decision": "approve",
                        "decided_by": "ada@example.org",
                        "comment": "fits summer",
                    }
                ),
            )
            phase.expect("the answer is taken", "FunctionError" not in said, said["Payload"].read())
            story.note(f"ada@example.org approves {found}")

        ended = story.follow(arn, look=answer)
        phase.expect("the run succeeds", ended["status"] == "SUCCEEDED", ended.get("cause"))
        row = _run_row(story, ended)
        reason = row["trigger"]["TriggerReason"]
        phase.expect("the run says that drift was its reason", reason == "DataDriftDetected", reason)
        run = str(row["run"])
        judged = json.loads(story.get(f"results/{MODEL}/{run}/evaluation.json"))
        champion = judged["champion"]["metrics"]["auc"]
        phase.expect("the candidate beats the champion on the newest data", _auc(judged) > champion, (judged, champion))
        phase.ids = {"execution": arn, "run": run, "decision": asked[0], "released_before": sorted(released)}
        phase.result = f"AUC {_auc(judged):.4f} against the champion's {champion:.4f}; approved by ada@example.org"
        return phase.ids


def _running(story: Story, machine: str) -> str | None:
    arn = story.out[f"{machine.capitalize()}MachineArn"]
    found = story.stepfunctions.list_executions(stateMachineArn=arn, statusFilter="RUNNING")["executions"]
    return found[0]["executionArn"] if found else None


def _status(story: Story, arn: str) -> str:
    return str(story.stepfunctions.describe_execution(executionArn=arn)["status"])


def _open_decision(story: Story) -> str | None:
    rows = story.rows(f"model/{MODEL}", "decision#")
    return next((str(r["decision_id"]) for r in rows if r["state"] == "OPEN"), None)


def ladder(story: Story, callers: Callers, second: dict[str, Any]) -> None:
    """The approved candidate climbs the ladder; the weights are read back from the endpoint at each step."""
    with story.phase("The ladder: 5, 10, 25, 50, 100 %, judged at every step") as phase:
        callers.phase = "ladder"
        arn = story.execution("release", set(second["released_before"]), follow=False)["executionArn"]
        told = story.wait("the message that the release begins", lambda: story.messages("release-started"))[-1]
        phase.expect("it is told before the start how long it takes", told["expected"]["minutes"], told)
        story.note(told["what"])
        seen: list[dict[str, float]] = []
        looked = ""

        def read_back() -> None:
            nonlocal looked
            weights = story.weights()
            if len(weights) > 1 and (not seen or seen[-1] != weights):
                seen.append(weights)
                story.note(f"weights read back from the endpoint: {weights}")
            found = str(story.rows(f"model/{MODEL}", "release#")[-1].get("looked", ""))
            if found != looked:
                looked = found
                story.note(f"a look: {found}")

        ended = story.follow(arn, 300, read_back)
        phase.expect("the release succeeds", ended["status"] == "SUCCEEDED", ended.get("cause"))
        challenger = next(iter(story.weights()))
        shares = [w.get(challenger, 0.0) for w in seen]
        climbed = [s for s in (5.0, 10.0, 25.0, 50.0, 100.0) if s in shares]
        phase.expect("every step was read back", climbed == [5.0, 10.0, 25.0, 50.0, 100.0], shares)
        phase.expect("it began at no traffic", shares[0] == 0.0, shares)
        counted = callers.seen["ladder"]
        phase.expect("callers see no error", not counted["errors"], dict(counted))
        phase.ids = {"execution": arn, "config": story.endpoint()["EndpointConfigName"]}
        phase.result = f"{' '.join(f'{s:.0f}%' for s in climbed)} of traffic; {counted['answered']} answers, no error"


def bad_release(story: Story, callers: Callers) -> None:
    """Somebody approves a broken package in the registry; SageMaker's canary and Linnet's alarms take it back."""
    with story.phase("A broken candidate is approved in the registry: rolled back at the first step") as phase:
        ended = _put_spec(
            story, story.known("onboard"), monitors=WATCH,
            retraining=QUICK | {"signals": ["drift", "manual"]}, rollout=FEW_CALLERS | {"strategy": "canary"},
        )  # fmt: skip
        phase.expect("the changed spec is onboarded", ended["status"] == "SUCCEEDED", ended.get("error"))
        before = story.endpoint()["EndpointConfigName"]
        good = story.sagemaker.list_model_packages(
            ModelPackageGroupName=GROUP, ModelApprovalStatus="Approved", SortBy="CreationTime", SortOrder="Descending"
        )["ModelPackageSummaryList"][0]
        described = story.sagemaker.describe_model_package(ModelPackageName=good["ModelPackageArn"])
        container = described["InferenceSpecification"]["Containers"][0]
        key = f"models/{MODEL}/by-hand/model.tar.gz"
        story.put(key, flights.broken_model())
        released = story.known("release")
        callers.phase = "broken candidate"
        package = story.sagemaker.create_model_package(
            ModelPackageGroupName=GROUP,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [
                    {
                        "Image": container["Image"],
                        "ModelDataUrl": f"s3://{story.out['DataBucket']}/{key}",
                        "Environment": flights.BROKEN_ENVIRONMENT,
                    }
                ],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )["ModelPackageArn"]
        story.sagemaker.update_model_package(
            ModelPackageArn=package, ModelApprovalStatus="Approved", ApprovalDescription="works on my machine"
        )
        ended = story.execution("release", released)
        phase.expect("the release fails honestly", ended["status"] == "FAILED", ended["states"])
        told = story.wait("the message that it was rolled back", lambda: story.messages("rolled-back"))[-1]
        phase.expect("the message has the verdict and its numbers", told["verdict"]["evidence"]["failures"], told)
        story.note(told["why"])
        after = story.endpoint()
        phase.expect("the old config serves again", after["EndpointConfigName"] == before, after["EndpointConfigName"])
        phase.expect("the endpoint is in service", after["EndpointStatus"] == "InService", after["EndpointStatus"])
        counted = callers.seen["broken candidate"]
        total = counted["answered"] + counted["errors"]
        share = counted["errors"] / total
        phase.expect("callers did see the canary", counted["errors"] > 0, dict(counted))
        percent = FEW_CALLERS["canary_percent"]
        seen = f"{share:.3f} of {total}"
        phase.expect(f"errors stay within the canary's share of {percent} %", share <= percent / 100, seen)
        callers.phase = "after the rollback"
        phase.ids = {"execution": ended["executionArn"], "package": package, "config": before}
        phase.result = f"rolled back; {counted['errors']} errors in {total} calls ({share:.1%})"


def bad_data(story: Story) -> None:
    """Damaged data is refused before training, and the failing rule is named."""
    with story.phase("Damaged data is refused before training") as phase:
        jobs = len(story.sagemaker.list_training_jobs(MaxResults=100)["TrainingJobSummaries"])
        known = story.known("retrain")
        _put_batch(story, "2013-q4", flights.batch(season="summer", rows=3000, part=1, damaged=True))
        story.wait("the closed batch", lambda: _batch(story, "2013-q4"))
        _ask_for_run(story, "use the new batch")
        ended = story.execution("retrain", known)
        phase.expect("the run is refused", ended["status"] == "FAILED" and ended["error"] == "DataRefused", ended)
        phase.expect("the failing rule is named", "Completeness" in ended["cause"], ended["cause"])
        after = len(story.sagemaker.list_training_jobs(MaxResults=100)["TrainingJobSummaries"])
        phase.expect("no training job was created", after == jobs, after - jobs)
        phase.ids = {"execution": ended["executionArn"]}
        phase.result = ended["cause"][:110]


def _ask_for_run(story: Story, why: str) -> None:
    story.events.put_events(
        Entries=[
            {
                "EventBusName": story.out["BusName"],
                "Source": "linnet.person",
                "DetailType": "Retraining Requested",
                "Detail": json.dumps({"model": MODEL, "requested_by": "ada@example.org", "reason": why}),
            }
        ]
    )


def weaker_candidate(story: Story) -> None:
    """Somebody tries a much smaller model: it is judged on the same rows as the champion and stays where it is."""
    with story.phase("A weaker candidate is not promoted") as phase:
        ended = _put_spec(
            story, story.known("onboard"), monitors=WATCH, retraining=QUICK | {"signals": ["drift", "manual"]},
            training={"hyperparameters": {"objective": "binary:logistic", "num_round": 6, "max_depth": 2}},
        )  # fmt: skip
        phase.expect("the changed spec is onboarded", ended["status"] == "SUCCEEDED", ended.get("error"))
        known, before = story.known("retrain"), story.endpoint()["EndpointConfigName"]
        packages = len(story.sagemaker.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"])
        _ask_for_run(story, "try a smaller model")
        ended = story.execution("retrain", known)
        phase.expect("the run says it is not good enough", ended["error"] in ("NotBetter", "ModelRejected"), ended)
        after = len(story.sagemaker.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"])
        phase.expect("no version was registered", after == packages, after - packages)
        phase.expect("the champion still serves", story.endpoint()["EndpointConfigName"] == before)
        phase.ids = {"execution": ended["executionArn"]}
        phase.result = f"{ended['error']}: {ended['cause'][:100]}"


def history(story: Story) -> None:
    """The ledger tells the whole story again: what served when, who decided, on what data, and why."""
    with story.phase("The ledger tells what served when, who decided and why") as phase:
        entries = story.rows(f"model/{MODEL}#history")
        kinds = {str(e["kind"]) for e in entries}
        phase.expect("signals, runs, candidates, decisions and releases are there", len(entries) >= 12, sorted(kinds))
        ids = {e["detail"].get("correlation_id") for e in entries if isinstance(e.get("detail"), dict)}
        followed = _followed(story, next(e for e in entries if e["kind"] == "candidate")["detail"]["correlation_id"])
        wanted = {"OnSignal", "TakeSlot", "RegisterCandidate", "OnPackageStatus", "TakeLease", "ConcludeRelease"}
        phase.expect("one id leads through the logs from signal to release", wanted <= followed, sorted(followed))
        phase.ids = {"entries": len(entries), "kinds": sorted(kinds), "stories": len(ids - {None})}
        phase.result = f"{len(entries)} entries: {', '.join(sorted(kinds))}"


def _followed(story: Story, correlation_id: str) -> set[str]:
    """Return the functions that logged under an id."""
    pages = story.stack.client("logs").get_paginator("filter_log_events").paginate(
        logGroupName=f"/linnet/{STACK}", filterPattern=f'{{ $.correlation_id = "{correlation_id}" }}'
    )  # fmt: skip
    lines = [e["message"] for page in pages for e in page["events"] if e["message"].startswith("{")]
    return {
        str(line["function"]).split("-")[1].removesuffix("Function") for line in map(json.loads, lines)
        if line.get("correlation_id") == correlation_id and "function" in line
    }  # fmt: skip


def report(story: Story, seen: dict[str, Any], work: dict[str, float], failure: str) -> int:
    """Write build/demo/report.json and print one screen of summary."""
    phases: list[Phase] = story.phases
    claims = [e for p in phases for e in p.expectations]
    held = not failure and all(e["held"] for e in claims)
    total = time.monotonic() - story.began
    out = ROOT / "build" / "demo" / "report.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        json.dumps(
            {
                "result": "as told" if held else "failed",
                "failure": failure,
                "seconds": round(total, 1),
                "rate": RATE,
                "work_seconds": work,
                "phases": [p.row() for p in phases],
                "callers": seen,
            },
            indent=1,
            default=str,
        )
    )
    table = Table(title="What happened", title_justify="left", show_edge=False)
    table.add_column("seconds", justify="right", min_width=7)
    table.add_column("phase", no_wrap=True, min_width=60)
    table.add_column("result", no_wrap=True, overflow="ellipsis")
    for p in phases:
        table.add_row(f"{p.end - p.start:.1f}", p.name, p.result)
    story.console.print(table)
    for name, counted in seen.items():
        story.console.print(
            f"callers, {name}: {counted.get('answered', 0)} answered, {counted.get('errors', 0)} errors"
        )
    verdict = "[green]every expectation held" if held else f"[red]the story broke: {failure}"
    story.console.print(f"\n{verdict}[/] - {len(claims)} claims, {total:.0f} s; build/demo/report.json has all ids")
    return 0 if held else 1
