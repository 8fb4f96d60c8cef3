"""Approvals: a call that destroys or spends much is asked about once and goes on once.

An approval is bound to the key that called, the tool, the exact arguments with what they stand for, and
the quoted price. It is given by the token that the caller got (repeated on a second call, or carried
through an MCP elicitation), or by a person in the queue; it is used by one call and ends by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.approvals.approval import Approval, Asked, Status, approval_of, shown
from tintype_studio.errors import ApprovalDenied, Conflict, Forbidden, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.permissions import require
from tintype_studio.identity.roles import Role
from tintype_studio.later import Later
from tintype_studio.names import printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import approvals
from tintype_studio.waiting import Waiters

PREFIX = "cft_"
TOKEN_TTL = timedelta(minutes=15)
"""How long a token goes."""
QUEUE_TTL = timedelta(hours=24)
"""How long a person may take to decide, and how long a decision stands."""
MAX_WAITERS = 8


class Approvals:
    """Approvals of every organization; each principal sees its own organization's."""

    def __init__(self, database: Database, signer: Signer, liveness: Liveness, later: Later) -> None:
        self._db = database
        self._signer = signer
        self._liveness = liveness
        self._later = later
        self._waiters = Waiters(MAX_WAITERS)

    def ask(self, principal: Principal, asked: Asked) -> tuple[Approval, str]:
        """Put a call into the queue; returns the approval and its token, which is kept only as a hash.

        Asking again for the same call renews the one that is pending, so that a caller that repeats
        itself does not flood the queue.
        """
        token = PREFIX + secrets.token_urlsafe(24)
        now = clock.now()
        fresh = {
            "token_hash": self._signer.hash_key(token),
            "created_at": now,
            "expires_at": now + QUEUE_TTL,
            "call_id": asked.call_id,
            "summary": asked.summary,
            "credits": asked.credits,
            "idempotency_key": asked.idempotency_key,
            "by_human": asked.by_human,
        }
        with self._db.write() as connection:
            row_id = connection.execute(
                sa.update(approvals)
                .where(
                    approvals.c.api_key_id == principal.key_id,
                    approvals.c.fingerprint == asked.fingerprint,
                    approvals.c.status == Status.PENDING.value,
                )
                .values(**fresh)
                .returning(approvals.c.id)
            ).scalar()
            if row_id is None:
                row_id = connection.execute(
                    sa.insert(approvals)
                    .values(
                        uuid=clock.new_id(),
                        organization_id=principal.organization_id,
                        api_key_id=principal.key_id,
                        tool=asked.tool,
                        required_role=asked.required_role.value,
                        fingerprint=asked.fingerprint,
                        arguments=self._signer.seal(orjson.dumps(asked.arguments)),
                        status=Status.PENDING.value,
                        agent=asked.agent,
                        **fresh,
                    )
                    .returning(approvals.c.id)
                ).scalar_one()
            row = connection.execute(shown().where(approvals.c.id == row_id)).mappings().one()
        return approval_of(row), token

    def claim(
        self,
        principal: Principal,
        *,
        fingerprint: str,
        credits: int,
        call_id: str,
        token: str | None = None,
        approval_id: str | None = None,
    ) -> int | None:
        """Use an approval for a call; returns its row for ``give_back``, or None when there is none.

        With a token or an id, a wrong one is an error: forged or another key's (``Forbidden``), used,
        expired, or for another call (``Conflict``). Without, one that a person gave is looked for. One
        whose price has moved gives None, so that the caller asks again. ``ApprovalDenied`` when a person
        said no. It is used for good once the call commits (``finish``); one whose process died before that
        may be used again.
        """
        self._later.catch_up()
        with self._db.write(durable=False) as connection:
            row = self._usable(connection, principal, fingerprint, token, approval_id)
            if row is None or row["credits"] != credits:
                return None
            used = connection.execute(
                sa.update(approvals)
                .where(
                    approvals.c.id == row["id"],
                    approvals.c.status == row["status"],
                    approvals.c.used_by.is_not_distinct_from(row["used_by"]),
                )
                .values(status=Status.USED.value, used_by=call_id, instance=self._liveness.instance)
            ).rowcount
            if not used:
                raise _used(row["used_by"])
            return int(row["id"])

    def check(
        self,
        principal: Principal,
        *,
        fingerprint: str,
        token: str | None = None,
        approval_id: str | None = None,
    ) -> None:
        """Raise what ``claim`` would raise, and use nothing."""
        with self._db.read() as connection:
            self._usable(connection, principal, fingerprint, token, approval_id)

    def _usable(
        self,
        connection: sa.Connection,
        principal: Principal,
        fingerprint: str,
        token: str | None,
        approval_id: str | None,
    ) -> sa.RowMapping | None:
        row = self._find(connection, principal, fingerprint, token, approval_id)
        if row is not None:
            _require_usable(row, self._status(row), fingerprint, by_token=token is not None)
        return row

    def _status(self, row: sa.RowMapping) -> Status:
        """Where an approval stands, not counting a use whose process died before it came to anything."""
        status = Status(row["status"])
        if status is Status.USED and row["instance"] and self._liveness.is_dead(row["instance"]):
            return Status.APPROVED if row["decided_at"] is not None else Status.PENDING
        return status

    @staticmethod
    def finish(connection: sa.Connection, row_id: int, call_id: str) -> None:
        """The call commits in this transaction: its approval is used for good."""
        kept = connection.execute(
            sa.update(approvals)
            .where(approvals.c.id == row_id, approvals.c.used_by == call_id)
            .values(instance=None)
        ).rowcount
        if not kept:
            raise _used(None)

    def give_back_later(self, row_id: int, call_id: str) -> None:
        """Give an approval back now, or at the next chance; never raises."""
        self._later.do(lambda: self.give_back(row_id, call_id))

    def give_back(self, row_id: int, call_id: str) -> None:
        """The call failed without effect: its approval may be used again."""
        with self._db.write(durable=False) as connection:
            connection.execute(
                sa.update(approvals)
                .where(approvals.c.id == row_id, approvals.c.used_by == call_id)
                .values(
                    used_by=None,
                    instance=None,
                    status=sa.case(
                        (approvals.c.decided_at.is_not(None), Status.APPROVED.value),
                        else_=Status.PENDING.value,
                    ),
                )
            )

    def withdraw(self, token: str) -> None:
        """The person at the caller's side said no: take the question out of the queue."""
        with self._db.write(durable=False) as connection:
            connection.execute(
                sa.update(approvals)
                .where(
                    approvals.c.token_hash == self._signer.hash_key(token),
                    approvals.c.status == Status.PENDING.value,
                )
                .values(expires_at=clock.now())
            )

    def take_back(self, principal: Principal, approval_id: str) -> None:
        """End one of the principal's own questions unused; neither its token nor a person's yes goes on.

        Raises ``Conflict`` (``confirmation_used``) when its call has been made, or is being made.
        """
        with self._db.write() as connection:
            mine = sa.and_(approvals.c.uuid == approval_id, approvals.c.api_key_id == principal.key_id)
            row = connection.execute(sa.select(approvals).where(mine)).mappings().first()
            if row is None:
                raise _not_found(approval_id)
            if self._status(row) is Status.USED:
                raise _used(row["used_by"])
            now = clock.now()
            connection.execute(
                sa.update(approvals)
                .where(mine, approvals.c.expires_at > now)
                .values(expires_at=now, instance=None, used_by=None, status=self._status(row).value)
            )

    def get(self, principal: Principal, approval_id: str) -> Approval:
        """One approval of the organization."""
        with self._db.read() as connection:
            row = (
                connection.execute(
                    shown().where(
                        approvals.c.uuid == approval_id,
                        approvals.c.organization_id == principal.organization_id,
                    )
                )
                .mappings()
                .first()
            )
        if row is None:
            raise _not_found(approval_id)
        return approval_of(row)

    def stored_call(
        self, principal: Principal, approval_id: str
    ) -> tuple[Approval, dict[str, Any], str | None]:
        """The approval of one of the principal's own calls, with its arguments and idempotency key."""
        with self._db.read() as connection:
            row = (
                connection.execute(
                    shown(approvals.c.arguments, approvals.c.idempotency_key).where(
                        approvals.c.uuid == approval_id, approvals.c.api_key_id == principal.key_id
                    )
                )
                .mappings()
                .first()
            )
        if row is None:
            raise _not_found(approval_id)
        arguments: dict[str, Any] = orjson.loads(self._signer.unseal(bytes(row["arguments"])))
        return approval_of(row), arguments, row["idempotency_key"]

    def list(
        self, principal: Principal, *, status: Status | None = Status.PENDING, limit: int = 100
    ) -> list[Approval]:
        """The organization's approvals, newest first; a role below admin sees its own key's."""
        query = (
            shown()
            .where(approvals.c.organization_id == principal.organization_id)
            .order_by(approvals.c.id.desc())
        )
        if not principal.role.covers(Role.ADMIN):
            query = query.where(approvals.c.api_key_id == principal.key_id)
        if status is Status.EXPIRED:
            query = query.where(
                approvals.c.expires_at <= clock.now(),
                approvals.c.status.in_([Status.PENDING.value, Status.APPROVED.value]),
            )
        elif status is not None:
            query = query.where(approvals.c.status == status.value)
            if status in {Status.PENDING, Status.APPROVED}:
                query = query.where(approvals.c.expires_at > clock.now())
        with self._db.read() as connection:
            return [approval_of(row) for row in connection.execute(query.limit(limit)).mappings()]

    def decide(self, principal: Principal, approval_id: str, *, approve: bool) -> Approval:
        """Say yes or no, and change one's mind until it is used.

        Needs the role admin, and the role that the tool itself needs. A key that is itself held to a
        person's word gives none, and where a person's word is needed, the key that asked gives none.
        """
        require(principal, "approvals.decide")
        approval = self.get(principal, approval_id)
        if principal.confirm_by == "human" or (approval.by_human and approval.key_id == principal.key_id):
            raise Forbidden(
                "This key's own calls need a person's word; it cannot give one.",
                code="needs_a_person",
                fix="Decide with another key, and let the agent use one of its own (`tintype keys create`).",
            )
        if approve and not principal.role.covers(approval.required_role):
            raise Forbidden(
                f"{approval.tool} needs the role {approval.required_role}; this key has {principal.role}.",
                code="role_required",
                fix=f"Decide with a key of the role {approval.required_role} or above.",
            )
        now = clock.now()
        with self._db.write() as connection:
            decided = connection.execute(
                sa.update(approvals)
                .where(
                    approvals.c.id == approval.row_id,
                    approvals.c.status.in_(
                        [Status.PENDING.value, Status.APPROVED.value, Status.DENIED.value]
                    ),
                    approvals.c.expires_at > now,
                )
                .values(
                    status=(Status.APPROVED if approve else Status.DENIED).value,
                    decided_by=principal.key_uuid,
                    decided_at=now,
                    expires_at=now + QUEUE_TTL,
                )
            ).rowcount
        decision = self.get(principal, approval_id)
        if not decided:
            raise Conflict(
                f"This approval is {decision.status} and can no longer be decided.",
                code=f"approval_{decision.status}",
                fix="Let the agent send its call again to ask anew.",
            )
        return decision

    def wait(
        self, principal: Principal, approval_id: str, seconds: float, check: Callable[[], None]
    ) -> Approval:
        """The approval once it is no longer pending, or as it stands after ``seconds``."""

        def decided() -> Approval | None:
            approval = self.get(principal, approval_id)
            return approval if approval.status is not Status.PENDING else None

        return self._waiters.until(decided, seconds, check) or self.get(principal, approval_id)

    def sweep(self) -> None:
        """Drop approvals that ended a while ago; the audit trail keeps what came of them."""
        with self._db.write(durable=False) as connection:
            connection.execute(sa.delete(approvals).where(approvals.c.expires_at < clock.now() - QUEUE_TTL))

    def _find(
        self,
        connection: sa.Connection,
        principal: Principal,
        fingerprint: str,
        token: str | None,
        approval_id: str | None,
    ) -> sa.RowMapping | None:
        query = sa.select(approvals).where(approvals.c.api_key_id == principal.key_id)
        if token is not None:
            query = query.where(approvals.c.token_hash == self._signer.hash_key(token))
        elif approval_id is not None:
            query = query.where(approvals.c.uuid == approval_id)
        else:
            query = query.where(
                approvals.c.fingerprint == fingerprint,
                sa.or_(
                    approvals.c.status.in_([Status.APPROVED.value, Status.DENIED.value]),
                    # A use that its process did not live to finish.
                    sa.and_(approvals.c.instance.is_not(None), approvals.c.decided_at.is_not(None)),
                ),
                approvals.c.expires_at > clock.now(),
            ).order_by(approvals.c.id.desc())
        row = connection.execute(query.limit(1)).mappings().first()
        if row is None and (token is not None or approval_id is not None):
            raise Forbidden(
                "This confirmation is unknown, or belongs to another key.",
                code="invalid_confirmation",
                fix="Send the call without it to be asked anew.",
            )
        return row


def _require_usable(row: sa.RowMapping, status: Status, fingerprint: str, *, by_token: bool) -> None:
    now = clock.now()
    if status is Status.DENIED:
        raise ApprovalDenied(f"A person refused this call to {row['tool']}.")
    if status is Status.USED:
        raise _used(row["used_by"])
    if row["expires_at"] <= now or (by_token and row["created_at"] + TOKEN_TTL <= now):
        raise Conflict(
            "This confirmation has expired; nothing was changed.",
            code="confirmation_expired",
            fix="Send the call without it to be asked anew.",
        )
    if status is Status.PENDING and not by_token:
        raise Conflict(
            "Nobody has decided about this call yet.",
            code="approval_pending",
            fix="Wait for a person's word: call confirm_call with wait_seconds.",
            retryable=True,
        )
    if row["fingerprint"] != fingerprint:
        raise Conflict(
            "This confirmation was given for another call, or what the call is about has changed.",
            code="confirmation_mismatch",
            fix="Send the call without it to be asked anew.",
        )


def _used(call_id: str | None) -> Conflict:
    return Conflict(
        "This confirmation was used; it goes for one call.",
        code="confirmation_used",
        fix="Send the call without it to be asked anew, if it is to happen again.",
        details={"call_id": call_id} if call_id else None,
    )


def _not_found(approval_id: str) -> NotFound:
    return NotFound(
        f"There is no approval {printable(approval_id[:40])!r}.",
        code="approval_not_found",
        fix="List them with `tintype approvals list`, or send the call again to ask anew.",
    )
