"""One suite for three real clients at the stack's one address: boto3, the AWS CLI and the SageMaker SDK v3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from local.stack import Stack
from tests.clients.cases import CASES, Case
from tests.clients.conftest import ACCOUNT, CLIENTS, IMAGE, STACK

Told = Callable[[str], dict[str, Any]]
every_client = pytest.mark.parametrize("client", CLIENTS)


@pytest.mark.parametrize("client", ["boto3", "awscli"])
def test_every_service_of_linnet_answers_a_client_at_the_one_address(stack: Stack, told: Told, client: str) -> None:
    facts = told(client)["neighbours"]
    assert facts["account"] == ACCOUNT
    assert facts["read back"]
    assert facts["keys"] == ["code/sourcedir.tar.gz", "questions/question.csv", "train/rows.csv"]
    assert facts["ledger"] == ["ACTIVE", ["pk", "sk"]]
    machines = ["intake", "monitor", "offboard", "onboard", "release", "retrain", "rollback", "watch"]
    assert facts["machines"] == [f"{STACK}-{machine}" for machine in machines]
    assert facts["functions"] > 20
    assert facts["answer"] == [0, []]
    assert f"{STACK}-dead-letters" in facts["alarms"]
    assert f"/linnet/{STACK}" in facts["log groups"]
    assert facts["stack"] == "CREATE_COMPLETE"
    assert facts["outputs"] == stack.outputs(STACK)
    assert facts["delivered"] == ["by rule", "by topic"]


@pytest.mark.parametrize("client", ["boto3", "awscli"])
def test_an_unknown_name_is_refused_with_each_services_own_code(told: Told, client: str) -> None:
    assert told(client)["neighbours"]["unknown names"] == {
        "dynamodb": "ResourceNotFoundException",
        "s3": "NoSuchBucket",
        "lambda": "ResourceNotFoundException",
        "stepfunctions": "StateMachineDoesNotExist",
        "sqs": "AWS.SimpleQueueService.NonExistentQueue",
        "events": "ResourceNotFoundException",
    }


def test_the_sdks_session_uses_its_default_bucket_and_knows_the_image(told: Told) -> None:
    facts = told("sagemaker")["neighbours"]
    keys = ["code/sourcedir.tar.gz", "questions/question.csv", "train/rows.csv"]
    assert facts == {"read back": True, "keys": keys, "image": IMAGE}


@every_client
def test_a_job_in_script_mode_trains_and_is_described_and_listed(told: Told, client: str) -> None:
    facts = told(client)["training"]
    assert facts["metrics"].pop("accuracy") > 0.9
    assert facts == {
        "status": "Completed",
        "artifacts": f"s3://of-{client}/models/{client}-job/output/model.tar.gz",
        "metrics": {},
        "steps": ["Starting", "Downloading", "Training", "Uploading", "Completed"],
        "listed": [f"{client}-job"],
        "tags": {"client": client},
    }


@every_client
def test_a_model_is_registered_and_approved(told: Told, client: str) -> None:
    arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/{client}-group/1"
    assert told(client)["registry"] == {
        "arn": arn,
        "version": 1,
        "approval": ["PendingManualApproval", "Approved", "good"],
        "listed": [arn],
    }


@every_client
def test_an_endpoint_serves_the_registered_model_and_follows_its_weights(told: Told, client: str) -> None:
    facts = told(client)["endpoint"]
    answers = [(variant, [float(line) for line in body.split()]) for variant, body in facts.pop("answers")]
    assert answers == [("blue", [1.0, 0.0]), ("green", [1.0, 0.0])]
    assert facts == {
        "begun": "Creating",
        "weights": {"blue": 0.0, "green": 1.0},
        "listed": [f"{client}-endpoint"],
        "afterwards": ["ValidationException", "ValidationException"],
    }


@every_client
def test_a_list_of_several_pages_is_whole_and_in_order(told: Told, client: str) -> None:
    assert told(client)["pages"] == {"names": [f"{client}-page-{number:02}" for number in reversed(range(12))]}


@every_client
def test_the_clients_own_waiters_see_jobs_end_and_give_up_on_what_is_not_there(told: Told, client: str) -> None:
    assert told(client)["jobs"] == {
        "statuses": {"processing_job": "Completed", "transform_job": "Completed"},
        "answers": 2,
        "in vain": True,
    }


@every_client
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name.replace(" ", "-")) for case in CASES])
def test_what_is_wrong_is_refused_with_the_code_and_the_words_of_aws(told: Told, client: str, case: Case) -> None:
    code, words = told(client)["errors"][case.name]
    expected, more, _ = case.expected(client, ACCOUNT).partition("*")
    assert code == case.code
    assert words.startswith(expected) if more or not case.words else words == expected


def test_the_sdks_model_trainer_runs_its_own_entry_point(told: Told) -> None:
    facts = told("sagemaker")["trainer"]
    if not facts:
        pytest.skip("no mount namespace is allowed on this machine, and ModelTrainer's script names /opt/ml")
    assert facts["status"] == "Completed"
    assert facts["artifacts"].startswith("s3://of-sagemaker/models/sagemaker-trainer-")
