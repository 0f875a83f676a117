"""What the application relies on in the emulator's other services; where a patch is needed, both are compared."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.exceptions
import pytest

from tests.stack.conftest import Bench, until


def put(bench: Bench, key: str, body: bytes = b"x") -> str:
    return str(bench.s3.put_object(Bucket=bench.outputs["Bucket"], Key=key, Body=body)["VersionId"])


def events_of(bench: Bench, prefix: str) -> str:
    return bench.listen({"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": prefix}]}}})


def test_object_events_name_the_version(ours: Bench, published: Bench) -> None:
    def details(bench: Bench) -> tuple[str, dict[str, Any], dict[str, Any]]:
        queue, key = events_of(bench, "named/"), "named/a b+c.csv"
        version = put(bench, key)
        created = json.loads(bench.messages(queue)[0]["Body"])
        bench.s3.delete_object(Bucket=bench.outputs["Bucket"], Key=key)
        return version, created, json.loads(bench.messages(queue)[0]["Body"])

    version, created, deleted = details(ours)
    detail = created["detail"]
    assert (created["source"], created["detail-type"], detail["reason"]) == ("aws.s3", "Object Created", "PutObject")
    assert created["resources"] == [f"arn:aws:s3:::{ours.outputs['Bucket']}"]
    assert detail["object"]["key"] == "named/a b+c.csv"
    assert (detail["object"]["version-id"], detail["object"]["size"]) == (version, 1)
    assert len(detail["object"]["sequencer"]) >= 16
    assert created["time"].endswith("Z")
    assert deleted["detail-type"] == "Object Deleted"
    assert deleted["detail"]["deletion-type"] == "Delete Marker Created"
    assert deleted["detail"]["object"]["version-id"] not in {"", version}
    assert deleted["detail"]["object"]["sequencer"] > detail["object"]["sequencer"]
    assert "version-id" not in details(published)[1]["detail"]["object"]


def test_every_put_of_a_burst_is_an_event(ours: Bench) -> None:
    queue = events_of(ours, "burst/")
    for number in range(30):
        put(ours, f"burst/{number}")
    keys = {json.loads(message["Body"])["detail"]["object"]["key"] for message in ours.messages(queue, 30)}
    assert len(keys) == 30


def test_s3_refuses_a_conditional_write_over_an_existing_object(ours: Bench) -> None:
    bucket = ours.outputs["Bucket"]
    ours.s3.put_object(Bucket=bucket, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        ours.s3.put_object(Bucket=bucket, Key="once", Body=b"2", IfNoneMatch="*")
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"


def test_a_workflow_writes_an_object(ours: Bench, published: Bench) -> None:
    def write(bench: Bench) -> dict[str, Any]:
        arguments = {
            "Bucket": bench.outputs["Bucket"],
            "Key": "by/workflow.json",
            "Body": {"a": 1},
            "ContentType": "application/json",
        }
        return bench.run(bench.task("arn:aws:states:::aws-sdk:s3:putObject", arguments))

    ended = write(ours)
    assert set(json.loads(ended["output"])) >= {"ETag", "VersionId"}
    body = ours.s3.get_object(Bucket=ours.outputs["Bucket"], Key="by/workflow.json")["Body"].read()
    assert json.loads(body) == {"a": 1}
    assert write(published)["error"] == "States.Runtime"


def item(key: str, **fields: dict[str, str]) -> dict[str, Any]:
    return {"pk": {"S": key}, "sk": {"S": "row"}, **fields}


def test_a_failed_condition_can_answer_with_the_item(ours: Bench) -> None:
    table = ours.outputs["Table"]
    ours.dynamodb.put_item(TableName=table, Item=item("held", owner={"S": "a"}))
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        ours.dynamodb.put_item(
            TableName=table, Item=item("held", owner={"S": "b"}), ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )  # fmt: skip
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    response: dict[str, Any] = {**refused.value.response}
    assert response["Item"]["owner"] == {"S": "a"}


def test_a_transaction_happens_as_a_whole_or_not_and_says_which_condition_failed(ours: Bench) -> None:
    table = ours.outputs["Table"]
    ours.dynamodb.put_item(TableName=table, Item=item("one"))
    first = {"Put": {"TableName": table, "Item": item("two")}}
    held = {"Put": {"TableName": table, "Item": item("one"), "ConditionExpression": "attribute_not_exists(pk)"}}
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        ours.dynamodb.transact_write_items(TransactItems=[first, held])
    assert [reason["Code"] for reason in refused.value.response["CancellationReasons"]] == [
        "None",
        "ConditionalCheckFailed",
    ]
    assert "Item" not in ours.dynamodb.get_item(TableName=table, Key=item("two"))
    ours.dynamodb.transact_write_items(TransactItems=[first], ClientRequestToken="t" * 36)
    ours.dynamodb.transact_write_items(TransactItems=[first], ClientRequestToken="t" * 36)
    assert "Item" in ours.dynamodb.get_item(TableName=table, Key=item("two"))


def test_only_one_of_many_conditional_updates_wins(ours: Bench) -> None:
    table = ours.outputs["Table"]

    def take(number: int) -> bool:
        try:
            ours.dynamodb.update_item(
                TableName=table, Key=item("slot"), UpdateExpression="SET holder = :me",
                ConditionExpression="attribute_not_exists(holder)",
                ExpressionAttributeValues={":me": {"N": str(number)}},
            )  # fmt: skip
        except botocore.exceptions.ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(40))) == 1


def test_a_topic_filters_by_attribute_and_by_body(ours: Bench) -> None:
    topic = ours.sns.create_topic(Name=ours.name())["TopicArn"]
    by_attribute, by_body = ours.queue(), ours.queue()
    for queue, where, policy in (
        (by_attribute, "MessageAttributes", {"severity": ["high"]}),
        (by_body, "MessageBody", {"model": ["a"]}),
    ):
        attributes = {"FilterPolicy": json.dumps(policy), "FilterPolicyScope": where, "RawMessageDelivery": "true"}
        ours.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=ours.arn(queue), Attributes=attributes)
    for model, severity in (("b", "high"), ("a", "low"), ("b", "low")):
        graded = {"severity": {"DataType": "String", "StringValue": severity}}
        ours.sns.publish(TopicArn=topic, Message=json.dumps({"model": model}), MessageAttributes=graded)
    assert [json.loads(message["Body"]) for message in ours.messages(by_attribute)] == [{"model": "b"}]
    assert [json.loads(message["Body"]) for message in ours.messages(by_body)] == [{"model": "a"}]


def test_a_queue_feeds_a_function_and_keeps_what_it_could_not_handle(ours: Bench) -> None:
    functions = ours.__getattr__("lambda")
    dead = ours.queue()
    source = ours.sqs.create_queue(
        QueueName=ours.name(),
        Attributes={
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": ours.arn(dead), "maxReceiveCount": "1"}),
            "VisibilityTimeout": "5",
        },
    )["QueueUrl"]
    mapping = functions.create_event_source_mapping(
        FunctionName="t-queue",
        EventSourceArn=ours.arn(source),
        BatchSize=1,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    ours.sqs.send_message(QueueUrl=source, MessageBody=json.dumps({"send": "fed"}))
    ours.sqs.send_message(QueueUrl=source, MessageBody=json.dumps({"fail": "no"}))
    assert ours.messages(ours.outputs["Queue"])[0]["Body"] == "fed"
    assert json.loads(ours.messages(dead)[0]["Body"]) == {"fail": "no"}
    functions.delete_event_source_mapping(UUID=mapping["UUID"])


def test_events_of_ours_cannot_pretend_to_come_from_aws(ours: Bench) -> None:
    answer = ours.events.put_events(Entries=[{"Source": "aws.sagemaker", "DetailType": "x", "Detail": "{}"}])
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


def test_an_archived_event_is_replayed_to_the_rules(ours: Bench) -> None:
    source = ours.name()
    queue = ours.listen({"source": [source]})
    bus = "arn:aws:events:us-east-1:000000000000:event-bus/default"
    archive = ours.events.create_archive(
        ArchiveName=ours.name(), EventSourceArn=bus, EventPattern=json.dumps({"source": [source]})
    )
    ours.events.put_events(Entries=[{"Source": source, "DetailType": "x", "Detail": "{}"}])
    ours.messages(queue)
    now = ours.stack.clock.now()
    ours.events.start_replay(
        ReplayName=ours.name(), EventSourceArn=archive["ArchiveArn"], Destination={"Arn": bus},
        EventStartTime=now.timestamp() - 3600, EventEndTime=now.timestamp() + 60,
    )  # fmt: skip
    assert json.loads(ours.messages(queue)[0]["Body"])["source"] == source


def test_a_functions_clients_find_the_stack(ours: Bench) -> None:
    ours.invoke({"send": "from the handler"})
    until(lambda: "from the handler" in [message["Body"] for message in ours.messages(ours.outputs["Queue"])])


def test_a_message_stays_hidden_for_its_timeout_in_real_seconds(ours: Bench) -> None:
    """Work must fit into it: at 60 times real time, 2 wall-clock seconds would be over in 33 ms."""
    queue = ours.queue()
    ours.sqs.send_message(QueueUrl=queue, MessageBody="x")
    assert ours.sqs.receive_message(QueueUrl=queue, VisibilityTimeout=2)["Messages"]
    assert not ours.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20).get("Messages")
    until(lambda: ours.sqs.receive_message(QueueUrl=queue).get("Messages"), 10)
