"""Answers of calls that carried an idempotency key, kept for 24 hours.

A key belongs to one API key and one tool. The first call with it runs; a second one with the same
arguments gets the stored answer, waiting for it while the first still runs; other arguments are a
conflict. A call whose process died is taken over by the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import IdempotencyConflict, InvalidInput, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.later import Later
from tintype_studio.storage.database import Database
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import idempotency_records as records
from tintype_studio.waiting import Waiters

WINDOW = timedelta(hours=24)
MAX_KEY_LENGTH = 255
WAIT_SECONDS = 25.0
"""How long a second caller waits for the first. Below the 30 s after which known clients send again."""
MAX_WAITERS = 16
"""Callers of one process that wait at a time; further ones are told to come again."""


_SELECT = Prepared(
    sa.select(records).where(
        records.c.api_key_id == sa.bindparam("p_api_key_id"),
        records.c.tool == sa.bindparam("p_tool"),
        records.c.key == sa.bindparam("p_key"),
    )
)
_STORE = Prepared(
    sa.update(records)
    .where(records.c.id == sa.bindparam("p_id"), records.c.call_id == sa.bindparam("p_call"))
    .values(result=sa.bindparam("p_answer", type_=sa.LargeBinary))
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to run a call under a key."""

    record_id: int
    call_id: str


class Idempotency:
    """Claims keys and keeps their answers."""

    def __init__(self, database: Database, liveness: Liveness, later: Later) -> None:
        self._db = database
        self._later = later
        self._liveness = liveness
        self._waiters = Waiters(MAX_WAITERS)
        self._insert = Prepared(
            database.insert_ignore(records).returning(records.c.id),
            columns=(
                "api_key_id",
                "tool",
                "key",
                "fingerprint",
                "call_id",
                "instance",
                "result",
                "created_at",
                "expires_at",
            ),
        )

    def claim(
        self,
        principal: Principal,
        *,
        tool: str,
        key: str,
        fingerprint: str,
        call_id: str,
        check: Callable[[], None] = lambda: None,
    ) -> Ticket | bytes:
        """A ticket when the caller must run the call, or the stored answer of an earlier one.

        ``check`` is called while waiting for an earlier call; it raises to stop.
        """
        _check_key(key)
        self._later.catch_up()

        def attempt() -> Ticket | bytes | None:
            return self._try_claim(principal, tool, key, fingerprint, call_id)

        claimed = cast("Ticket | bytes | None", self._waiters.until(attempt, WAIT_SECONDS, check))
        if claimed is None:
            raise Unavailable(
                "The first call with this idempotency key is still running.",
                code="call_in_flight",
                fix="Send the same call with the same key again in a few seconds.",
            )
        return claimed

    def _try_claim(
        self, principal: Principal, tool: str, key: str, fingerprint: str, call_id: str
    ) -> Ticket | bytes | None:
        now = clock.now()
        mine = {"api_key_id": principal.key_id, "tool": tool, "key": key}
        fresh = {
            "fingerprint": fingerprint,
            "call_id": call_id,
            "instance": self._liveness.instance,
            "result": None,
            "created_at": now,
            "expires_at": now + WINDOW,
        }
        with self._db.read() as connection:
            row = next(
                iter(_SELECT.all(connection, {f"p_{k}": v for k, v in mine.items()}, alone=True)), None
            )
        if row is not None and row["expires_at"] > now:
            running = row["result"] is None and not self._liveness.is_dead(row["instance"])
            if (running or row["result"] is not None) and row["fingerprint"] != fingerprint:
                raise IdempotencyConflict(
                    f"Idempotency key {key[:40]!r} was used for {tool} with other arguments."
                )
            if row["result"] is not None:
                return bytes(row["result"])
            if running:
                return None

        def take(connection: sa.Connection) -> int | None:
            if row is None:
                made = self._insert.run(connection, {**mine, **fresh}).first
                return made["id"] if made is not None else None
            return connection.execute(
                sa.update(records)
                .where(records.c.id == row["id"], records.c.call_id == row["call_id"])
                .values(**fresh)
                .returning(records.c.id)
            ).scalar()

        # Not durable: a claim means nothing without the process that runs the call.
        record_id = self._db.together(take, durable=False)
        return Ticket(int(record_id), call_id) if record_id is not None else None

    @staticmethod
    def store(connection: sa.Connection, ticket: Ticket, answer: bytes) -> None:
        """Keep the answer for later callers, in the transaction of what the call did.

        ``Unavailable`` when the key is no longer this call's: then somebody else runs it.
        """
        kept = _STORE.run(
            connection, {"p_id": ticket.record_id, "p_call": ticket.call_id, "p_answer": answer}
        ).changed
        if not kept:
            raise Unavailable(
                "Another call took over this idempotency key; nothing was changed.", code="claim_lost"
            )

    def forget_later(self, ticket: Ticket) -> None:
        """Give the key back now, or at the next chance; never raises."""
        self._later.do(lambda: self.forget(ticket))

    def forget(self, ticket: Ticket) -> None:
        """Give the key back: the call failed without effect and may be tried again."""
        with self._db.write(durable=False) as connection:
            connection.execute(
                sa.delete(records).where(
                    records.c.id == ticket.record_id, records.c.call_id == ticket.call_id
                )
            )

    def sweep(self) -> None:
        """Drop expired records."""
        with self._db.write() as connection:
            connection.execute(sa.delete(records).where(records.c.expires_at <= clock.now()))


def _check_key(key: str) -> None:
    if not key or len(key) > MAX_KEY_LENGTH or not key.isprintable() or not key.isascii():
        raise InvalidInput(
            f"An idempotency key is 1 to {MAX_KEY_LENGTH} printable ASCII characters.",
            code="invalid_idempotency_key",
            fix="Use a UUID.",
        )
