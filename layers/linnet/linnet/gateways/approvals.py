"""Decisions that wait for a person: asked once, answered once, and the answer brought to the workflow that waits.

The row `decision/<id>` holds the workflow's task token; no log line, message or history entry ever does (I12). The
row `model/<m> / decision#<id>` says the same without the token, so that the open questions of a model can be listed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from botocore.exceptions import ClientError

from linnet.decisions import names
from linnet.errors import BadInputError, NotFoundError
from linnet.gateways import ledger
from linnet.gateways.clients import client, error_code

Word = Literal["approve", "reject"]
STATES: dict[str, str] = {"approve": "APPROVED", "reject": "REJECTED"}
_STATUS = {"APPROVED": "Approved", "REJECTED": "Rejected"}
_CLOSED = ("TaskDoesNotExist", "TaskTimedOut", "InvalidToken")
_COMMENT_LIMIT = 1000


def decision_id(model: str, kind: str, about: str) -> str:
    """Return the id of the decision of a kind about one thing, such as a package's ARN or an execution."""
    return "d" + names.digest(model, kind, about)


def open_decision(
    *,
    model: str,
    kind: str,
    about: str,
    token: str,
    at: str,
    timeout_seconds: int,
    correlation_id: str,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Open a decision, or adopt it when it is open: a repeated task brings a new token, and the last one counts.

    When it was decided meanwhile, the new token is answered at once; an empty token is nobody's. `more` is shown with
    the decision: what the person needs to know. Returns the row without its token; `notified` in it says whether people
    were told.
    """
    found = decision_id(model, kind, about)
    row = {
        "decision_id": found, "state": "OPEN", "model": model, "kind": kind, "about": about, "at": at,
        "expires_at": _after(at, timeout_seconds), "correlation_id": correlation_id, "version": None, **(more or {}),
    }  # fmt: skip
    if not ledger.put_once(_pk(found), "decision", row | {"token": token}):
        reopened = ledger.change(
            _pk(found), "decision", put={"token": token}, only_if="#state = :open", given={"open": "OPEN"}
        )
        if reopened is None:
            _bring(dict(read(found)) | {"token": token})
        row = reopened or read(found)
    _show(row)
    ledger.append(
        f"model/{model}", "decision", at, _public(row) | {"correlation_id": correlation_id}, key=f"{found}#asked"
    )
    return _public(row)


def told(decision: str) -> None:
    """Remember that people were told of a decision, so that a repeated task does not tell them again."""
    ledger.change(_pk(decision), "decision", put={"notified": True})


def read(decision: str) -> dict[str, Any]:
    """Return a decision's row, its token included.

    Raises:
        NotFoundError: there is no such decision.
    """
    row = ledger.read(_pk(decision), "decision")
    if row is None:
        raise NotFoundError(f"decision {decision} does not exist")
    return row


def find(model: str, kind: str, about: str) -> dict[str, Any] | None:
    """Return the row of the decision of a kind about one thing, its token included, or None where nobody was asked."""
    return ledger.read(_pk(decision_id(model, kind, about)), "decision")


def over(decision: str, at: str) -> bool:
    """Say whether an open decision's time is over."""
    row = read(decision)
    return row["state"] == "OPEN" and datetime.fromisoformat(at) >= datetime.fromisoformat(str(row["expires_at"]))


def waiting(model: str, about: str | None = None) -> list[dict[str, Any]]:
    """Return the model's open decisions, those about one thing if it is named."""
    rows = [row for row in ledger.query(f"model/{model}", "decision#") if row["state"] == "OPEN"]
    return [row for row in rows if about is None or row["about"] == about]


def decide(decision: str, word: str, *, decided_by: str, comment: str, at: str) -> dict[str, Any]:
    """Answer a decision: the first word wins, a second one is shown the first one's result (F37).

    Returns `{decision_id, state, decided_by, comment, decided_at, accepted, why}`; `accepted` says whether this word
    is the one that counts and the workflow heard it.

    Raises:
        BadInputError: the word is neither approve nor reject, or nobody signs it.
        NotFoundError: there is no such decision.
    """
    if word not in STATES:
        raise BadInputError("decision", word, " or ".join(STATES))
    if not isinstance(decided_by, str) or not decided_by.strip():
        raise BadInputError("decided_by", decided_by, "who decides, for example an e-mail address (RG-02)")
    said = {"state": STATES[word], "decided_by": decided_by, "comment": comment[:_COMMENT_LIMIT], "decided_at": at}
    won = ledger.change(_pk(decision), "decision", put=said, only_if="#state = :open", given={"open": "OPEN"})
    row = won or read(decision)
    mine = all(row.get(name) == said[name] for name in ("state", "decided_by"))
    if row["state"] in _STATUS:
        # Also when somebody else won: it mends a crash between their word and the workflow.
        row = _bring(row)
    _show(row)
    if row["state"] in _STATUS:
        ledger.append(
            f"model/{row['model']}", "decision", str(row["decided_at"]), _public(row), key=f"{decision}#decided"
        )
    heard = bool(row.get("applied"))
    return _public(row) | {"accepted": mine and heard, "why": _why(row, mine=mine, heard=heard)}


def _why(row: Mapping[str, Any], *, mine: bool, heard: bool) -> str:
    if mine and heard:
        return "taken"
    if row["state"] in _STATUS and heard:
        return f"no longer open: {row['decided_by']} {row['state'].lower()} it at {row['decided_at']}"
    return f"no longer open: it is {row['state']} and nobody waits for it any more"


def _bring(row: dict[str, Any]) -> dict[str, Any]:
    """Tell the waiting workflow the recorded answer, once; a workflow that waits no more is not an error (F40, F41)."""
    if row.get("applied"):
        return row
    if not row["token"]:  # no workflow waits: the one who asked acts on the answer
        return applied(str(row["decision_id"])) or row
    output = {
        "approval_status": _STATUS.get(str(row["state"]), "Rejected"),
        "decision": "approve" if row["state"] == "APPROVED" else "reject",
        "decided_by": row.get("decided_by", "nobody"),
        "comment": row.get("comment", ""),
    }
    try:
        client("stepfunctions").send_task_success(taskToken=row["token"], output=json.dumps(output))
    except ClientError as error:
        if error_code(error) not in _CLOSED:
            raise
        # Either the time is over or an answer of ours was applied and its receipt lost; the workflow's next call of
        # `applied` or `expire` says which.
        return read(str(row["decision_id"]))
    return applied(str(row["decision_id"])) or row


def applied(decision: str) -> dict[str, Any] | None:
    """Remember that the workflow heard the answer; from now on it never changes (I5)."""
    decided = "#state IN (:approved, :rejected)"
    row = ledger.change(
        _pk(decision), "decision", put={"applied": True}, only_if=decided,
        given={"approved": "APPROVED", "rejected": "REJECTED"},
    )  # fmt: skip
    if row is not None:
        _show(row)
    return row


def expire(decision: str, *, at: str, why: str = "nobody decided in time") -> dict[str, Any]:
    """Close a decision whose workflow waits no more; an answer that the workflow heard stays. Returns the public row."""
    unheard = "#state = :open OR (attribute_not_exists(#applied) AND #state <> :expired)"
    put = {"state": "EXPIRED", "decided_by": "nobody", "comment": why, "decided_at": at}
    row = ledger.change(
        _pk(decision), "decision", put=put, only_if=f"attribute_exists(pk) AND ({unheard})",
        given={"open": "OPEN", "expired": "EXPIRED"},
    ) or read(decision)  # fmt: skip
    _show(row)
    if row["state"] == "EXPIRED":
        ledger.append(f"model/{row['model']}", "decision", at, _public(row), key=f"{decision}#expired")
    return _public(row)


def _pk(decision: str) -> str:
    return f"decision/{decision}"


def _show(row: Mapping[str, Any]) -> None:
    shown = _public(row)
    # A slow answer to the opening must not show a decided question as open again.
    condition = "attribute_not_exists(pk) OR #state = :open" if row["state"] == "OPEN" else ""
    given = {"open": "OPEN"} if condition else {}
    always = "attribute_not_exists(pk) OR attribute_exists(pk)"
    ledger.change(
        f"model/{row['model']}", f"decision#{row['decision_id']}", put=shown, only_if=condition or always, given=given
    )


def _public(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("token", "pk", "sk")}


def _after(at: str, seconds: int) -> str:
    return (datetime.fromisoformat(at) + timedelta(seconds=seconds)).isoformat()
