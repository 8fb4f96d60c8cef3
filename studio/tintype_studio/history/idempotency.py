"""Answers of calls that carried an idempotency key, kept for 24 hours.

A key belongs to one API key and one tool. The first call with it runs; a second one with the same
arguments gets the stored answer, waiting for it while the first still runs; other arguments are a
conflict. A call whose process died is taken over by the next attempt.

What an atomic call does is one transaction, so its key needs no row before that: callers of this process
wait for each other in memory, and of several processes the first to commit wins, the others find their
work taken back and its answer there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple, cast

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import IdempotencyConflict, InvalidInput, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.later import Later
from tintype_studio.storage.database import Database
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.prepared import Prepared, Row
from tintype_studio.storage.tables import idempotency_records as records
from tintype_studio.waiting import Waiters

WINDOW = timedelta(hours=24)
MAX_KEY_LENGTH = 255
WAIT_SECONDS = 25.0
"""How long a second caller waits for the first. Below the 30 s after which known clients send again."""
MAX_WAITERS = 16
"""Callers of one process that wait at a time; further ones are told to come again."""
IN_FLIGHT = "call_in_flight"
"""Code of the error that tells a caller to come again."""


_SELECT = Prepared(
    sa.select(
        records.c.id,
        records.c.fingerprint,
        records.c.call_id,
        records.c.instance,
        records.c.result,
        records.c.expires_at,
    ).where(
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

_COLUMNS = (
    "api_key_id",
    "tool",
    "key",
    "fingerprint",
    "call_id",
    "instance",
    "result",
    "created_at",
    "expires_at",
)


Place = tuple[int, str, str]
"""API key, tool and idempotency key."""


class Ticket(NamedTuple):
    """The right to run a call under a key."""

    record_id: int | None
    """The claim's row; None for an atomic call, which has none before it commits."""
    call_id: str
    place: Place
    fingerprint: str


class Idempotency:
    """Claims keys and keeps their answers."""

    def __init__(self, database: Database, liveness: Liveness, later: Later) -> None:
        self._db = database
        self._later = later
        self._liveness = liveness
        self._waiters = Waiters(MAX_WAITERS)
        self._running: dict[Place, Ticket] = {}
        """This process's atomic calls. No lock: what is done to it are single operations of a dict."""
        self._insert = Prepared(database.insert_ignore(records).returning(records.c.id), columns=_COLUMNS)
        self._insert_answered = Prepared(database.insert_ignore(records), columns=_COLUMNS)

    def claim(
        self,
        principal: Principal,
        *,
        tool: str,
        key: str,
        fingerprint: str,
        call_id: str,
        atomic: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> Ticket | bytes:
        """A ticket when the caller must run the call, or the stored answer of an earlier one.

        ``atomic``: all that the call does is in the transaction in which its answer will be stored.
        ``check`` is called while waiting for an earlier call; it raises to stop.
        """
        _check_key(key)
        self._later.catch_up()
        ticket = Ticket(None, call_id, (principal.key_id, tool, key), fingerprint)
        attempt = self._try_to_run if atomic else self._try_claim
        claimed = attempt(ticket)
        if claimed is None:
            claimed = cast(
                "Ticket | bytes | None", self._waiters.until(lambda: attempt(ticket), WAIT_SECONDS, check)
            )
        if claimed is None:
            raise Unavailable(
                "The first call with this idempotency key is still running.",
                code=IN_FLIGHT,
                fix="Send the same call with the same key again in a few seconds.",
            )
        return claimed

    def _try_to_run(self, ticket: Ticket) -> Ticket | bytes | None:
        running = self._running.setdefault(ticket.place, ticket)
        if running is not ticket:
            if running.fingerprint != ticket.fingerprint:
                raise _conflict(ticket.place)
            return None
        run = False
        try:
            run = self._row(ticket.place) is None
            return ticket if run else self._try_claim(ticket)
        finally:
            if not run:
                self._leave(ticket)

    def _leave(self, ticket: Ticket) -> None:
        self._running.pop(ticket.place, None)

    def _row(self, place: Place) -> Row | None:
        key_id, tool, key = place
        found = self._db.glance(_SELECT, {"p_api_key_id": key_id, "p_tool": tool, "p_key": key})
        return found[0] if found else None

    def answer(self, ticket: Ticket) -> bytes | None:
        """The answer that another process stored meanwhile under the ticket's key, if one did.

        ``IdempotencyConflict`` when it was a call with other arguments.
        """
        row = self._row(ticket.place)
        if row is None or row["result"] is None:
            return None
        if row["fingerprint"] != ticket.fingerprint:
            raise _conflict(ticket.place)
        return bytes(row["result"])

    def _try_claim(self, ticket: Ticket) -> Ticket | bytes | None:
        row, now = self._row(ticket.place), clock.now()
        if row is not None and row["expires_at"] > now:
            running = row["result"] is None and not self._liveness.is_dead(row["instance"])
            if (running or row["result"] is not None) and row["fingerprint"] != ticket.fingerprint:
                raise _conflict(ticket.place)
            if row["result"] is not None:
                return bytes(row["result"])
            if running:
                return None
        fresh = self._fresh(ticket, None)

        def take(connection: sa.Connection) -> int | None:
            if row is None:
                made = self._insert.run(connection, fresh).first
                return made["id"] if made is not None else None
            return connection.execute(
                sa.update(records)
                .where(records.c.id == row["id"], records.c.call_id == row["call_id"])
                .values(**fresh)
                .returning(records.c.id)
            ).scalar()

        # Not durable: a claim means nothing without the process that runs the call.
        record_id = self._db.together(take, durable=False)
        return ticket._replace(record_id=int(record_id)) if record_id is not None else None

    def _fresh(self, ticket: Ticket, answer: bytes | None) -> dict[str, object]:
        key_id, tool, key = ticket.place
        now = clock.now()
        return {
            "api_key_id": key_id,
            "tool": tool,
            "key": key,
            "fingerprint": ticket.fingerprint,
            "call_id": ticket.call_id,
            "instance": self._liveness.instance,
            "result": answer,
            "created_at": now,
            "expires_at": now + WINDOW,
        }

    def store(self, connection: sa.Connection, ticket: Ticket, answer: bytes) -> None:
        """Keep the answer for later callers, in the transaction of what the call did.

        ``Unavailable`` when the key is no longer this call's: then somebody else runs it.
        """
        if ticket.record_id is None:
            kept = self._insert_answered.run(connection, self._fresh(ticket, answer)).changed > 0
        else:
            values = {"p_id": ticket.record_id, "p_call": ticket.call_id, "p_answer": answer}
            kept = _STORE.run(connection, values).changed > 0
        if not kept:
            raise Unavailable(
                "Another call took over this idempotency key; nothing was changed.", code="claim_lost"
            )

    def done(self, ticket: Ticket) -> None:
        """The call's transaction is over; whoever waits for it looks for its answer."""
        if ticket.record_id is None:
            self._leave(ticket)

    def forget_later(self, ticket: Ticket) -> None:
        """Give the key back now, or at the next chance; never raises."""
        if ticket.record_id is None:
            self._leave(ticket)
        else:
            self._later.do(lambda: self.forget(ticket))

    def forget(self, ticket: Ticket) -> None:
        """Give the key back: the call failed without effect and may be tried again."""
        if ticket.record_id is None:
            self._leave(ticket)
            return
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


def _conflict(place: Place) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"Idempotency key {place[2][:40]!r} was used for {place[1]} with other arguments."
    )


def _check_key(key: str) -> None:
    if not key or len(key) > MAX_KEY_LENGTH or not key.isprintable() or not key.isascii():
        raise InvalidInput(
            f"An idempotency key is 1 to {MAX_KEY_LENGTH} printable ASCII characters.",
            code="invalid_idempotency_key",
            fix="Use a UUID.",
        )
