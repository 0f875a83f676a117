"""One release at a time may change an endpoint: a lease with a fencing number that only grows (F43, I1, I3).

The owner is the ARN of an execution. The lease ends with its owner, not with a clock. Nobody simply takes what a dead one
holds: what it left on the endpoint would become the next release's way back, so `endings` ends it first. SageMaker cannot
check a fence: `require` is asked immediately before every call that changes the endpoint, and the config's name carries
the fence (F44).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linnet.errors import BusyError, ConflictError
from linnet.gateways import ledger


def take(endpoint: str, *, owner: str, at: str, handed: Mapping[str, Any] | None = None) -> int:
    """Take the lease and return its fence; the owner itself gets the same one again.

    `handed` is the lease `{owner, fence}` that a caller hands over while it waits for this owner.

    Raises:
        BusyError: another execution holds it.
        ConflictError: this owner had the lease before and it went on to somebody else (F52).
    """
    put = {"owner": owner, "since": at}
    before = ledger.read(_pk(endpoint), f"owner#{owner}")
    row = None
    if before is None:
        row = ledger.change(_pk(endpoint), "lease", put=put, add={"fence": 1}, only_if="attribute_not_exists(#owner)")
    held = row or ledger.read(_pk(endpoint), "lease") or {}
    if before is not None and (held.get("owner"), held.get("fence")) != (owner, before["fence"]):
        raise ConflictError(
            f"fence {before['fence']} of {endpoint} is over: the lease went on to {held.get('owner', 'nobody')}"
        )
    if held.get("owner") != owner:
        if "owner" not in held:
            raise BusyError(f"the lease of {endpoint} was freed just now")
        if handed is None or (held["owner"], held["fence"]) != (handed["owner"], handed["fence"]):
            raise BusyError(
                f"{held['owner']} holds the lease of {endpoint} since {held['since']}; if it runs no more, the reconciler "
                "ends what it left"
            )
        held = ledger.change(
            _pk(endpoint), "lease", put=put, add={"fence": 1}, only_if="#owner = :old AND #fence = :seen",
            given={"old": held["owner"], "seen": held["fence"]},
        ) or {}  # fmt: skip
        if not held:
            raise BusyError(f"somebody else took the lease of {endpoint} over")
    ledger.put_once(_pk(endpoint), f"owner#{owner}", {"fence": held["fence"]})
    return int(held["fence"])


def require(endpoint: str, *, owner: str, fence: int) -> None:
    """Check that the lease is still this owner's.

    Raises:
        ConflictError: it is not; the caller must not touch the endpoint any more.
    """
    held = ledger.read(_pk(endpoint), "lease") or {}
    if (held.get("owner"), held.get("fence")) != (owner, fence):
        raise ConflictError(
            f"fence {fence} of {endpoint} is over: {held.get('owner', 'nobody')} holds {held.get('fence')}"
        )


def holding(endpoint: str, *, owner: str, fence: int) -> dict[str, Any]:
    """Return a write that fails unless the lease is still this owner's, for `ledger.together`; it changes nothing."""
    return ledger.changed(
        _pk(endpoint), "lease", put={"owner": owner}, only_if="#owner = :owner AND #fence = :fence",
        given={"owner": owner, "fence": fence},
    )  # fmt: skip


def held_by(endpoint: str, owner: str) -> int | None:
    """Return the fence that an owner holds, or None."""
    held = ledger.read(_pk(endpoint), "lease") or {}
    return int(held["fence"]) if held.get("owner") == owner else None


def holder(endpoint: str) -> str | None:
    """Return who holds the lease, or None."""
    owner = (ledger.read(_pk(endpoint), "lease") or {}).get("owner")
    return None if owner is None else str(owner)


def free(endpoint: str, *, owner: str, fence: int) -> bool:
    """Give the lease back; say whether it was this owner's."""
    given = {"owner": owner, "fence": fence}
    condition = "#owner = :owner AND #fence = :fence"
    return ledger.change(_pk(endpoint), "lease", remove=("owner", "since"), only_if=condition, given=given) is not None


def _pk(endpoint: str) -> str:
    return f"endpoint/{endpoint}"
