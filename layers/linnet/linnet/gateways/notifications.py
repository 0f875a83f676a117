"""One topic for people: every message says what, why, proof and next step; attributes let a subscriber filter (NO-02).

Those who answer for fair treatment have a topic of their own, which has the same messages, of bias alone (MO-07).
"""

from __future__ import annotations

import json
from typing import Any, Literal

from linnet.gateways.clients import client
from linnet.settings import settings

Kind = Literal[
    "onboarded", "offboarded", "quarantined", "run-finished", "run-failed", "decision-wanted", "decision-made",
    "release-started", "release-finished", "rolled-back", "release-held", "drift", "confirmation-wanted", "attention",
]  # fmt: skip
_SUBJECT_LIMIT = 100


def notify(
    kind: Kind,
    *,
    model: str,
    subject: str,
    what: str,
    why: str,
    proof: str,
    next_step: str,
    compliance: bool = False,
    **more: Any,
) -> None:
    """Publish one message about `model`, on the topic for `compliance` too where it concerns that.

    `more` goes into the message's JSON body under its own names.
    """
    body = {"kind": kind, "model": model, "what": what, "why": why, "proof": proof, "next_step": next_step} | more
    plain = "".join(c if 32 <= ord(c) < 127 else " " for c in subject)  # noqa: PLR2004 - SNS takes printable ASCII
    for topic in (settings().topic, *([settings().compliance_topic] if compliance else ())):
        client("sns").publish(
            TopicArn=topic,
            Subject=plain[:_SUBJECT_LIMIT],
            Message=json.dumps(body, indent=1, default=str),
            MessageAttributes={
                "kind": {"DataType": "String", "StringValue": kind},
                "model": {"DataType": "String", "StringValue": model},
            },
        )
