"""Who hears of which model by e-mail: subscriptions of the stack's topic, filtered by model (NO-02)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from linnet.decisions import onboarding
from linnet.gateways import ledger
from linnet.gateways.clients import client
from linnet.settings import settings


def renew(addresses: Iterable[str]) -> None:
    """Make each address hear of exactly the onboarded models whose specs name it.

    A topic has one subscription an address, so its filter names all of the address's models. An address without any
    keeps a subscription that lets nothing pass: AWS cannot delete one that its owner has not confirmed.
    """
    wanted: dict[str, list[str]] = {email: [] for email in addresses}
    for row in ledger.query("models") if wanted else ():
        spec = ledger.read(f"model/{row['model']}", "spec") or {}
        for email in wanted.keys() & emails(spec):
            wanted[email].append(str(row["model"]))
    sns = client("sns")
    for email, models in sorted(wanted.items()):
        # Without attributes the call also returns the ARN of a subscription that exists.
        arn = sns.subscribe(
            TopicArn=settings().topic, Protocol="email", Endpoint=email, ReturnSubscriptionArn=True
        )["SubscriptionArn"]  # fmt: skip
        sns.set_subscription_attributes(
            SubscriptionArn=arn,
            AttributeName="FilterPolicy",
            AttributeValue=onboarding.filter_policy(models or ["_nothing"]),
        )


def emails(row: dict[str, Any]) -> set[str]:
    """Return the addresses that a spec's row names."""
    return set(row.get("spec", {}).get("notifications", {}).get("emails", []))
