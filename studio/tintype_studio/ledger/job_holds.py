"""The hold of a job: it outlives the process that made it, and is spent item by item.

A call's hold belongs to its process and is freed when that dies. When the call starts a job, the hold is
handed over to the job in the transaction that makes the job true. From then on each commit of finished items
turns a part of it into a charge, in the same transaction, and the end of the job frees the rest.

A job has one entry in the ledger for each commit (see ``jobs.run``), named by ``job:<id>:<n>`` in
``reference``, so that none can be written twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, PaymentRequired, Unavailable
from tintype_studio.ledger import statements
from tintype_studio.ledger.statements import OF_A_JOB
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import accounts, holds, ledger_entries


def hand_over(connection: sa.Connection, call_id: str) -> int:
    """Make a call's hold a job's. Returns what it holds; ``Unavailable`` when it is gone."""
    amount = connection.execute(
        sa.update(holds).where(holds.c.call_id == call_id).values(instance=OF_A_JOB).returning(holds.c.amount)
    ).scalar()
    if amount is None:
        raise Unavailable(
            "The credits that were set aside for this call are gone; nothing was started.",
            code="hold_lost",
            fix="Send the call again.",
        )
    return int(amount)


def capture_part(
    connection: sa.Connection, call_id: str, amount: int, *, reference: str, description: str
) -> None:
    """Charge a part of a job's hold. ``amount`` is in whole credits, 1 or more.

    Raises ``PaymentRequired`` (``hold_spent``) when the hold does not cover it: a job never charges more than
    it was quoted.
    """
    mine = sa.and_(holds.c.call_id == call_id, holds.c.instance == OF_A_JOB)
    hold = (
        connection.execute(
            sa.update(holds)
            .where(mine, holds.c.amount > amount)
            .values(amount=holds.c.amount - amount)
            .returning(holds)
        )
        .mappings()
        .first()
    )
    if hold is None:
        hold = (
            connection.execute(sa.delete(holds).where(mine, holds.c.amount == amount).returning(holds))
            .mappings()
            .first()
        )
    if hold is None:
        raise hold_spent(amount, left(connection, call_id))
    now = clock.now()
    values = {
        "p_organization": hold["organization_id"],
        "p_key": hold["api_key_id"],
        "p_held": amount,
        "p_amount": amount,
        "p_now": now,
        **statements.day_of(now),
    }
    connection.execute(
        sa.insert(ledger_entries).from_select(
            [
                "uuid",
                "organization_id",
                "api_key_id",
                "operation",
                "amount",
                "balance_after",
                "from_allowance",
                "description",
                "reference",
                "created_at",
            ],
            sa.select(
                sa.literal(clock.new_id()),
                accounts.c.organization_id,
                sa.literal(hold["api_key_id"], sa.BigInteger),
                sa.literal(hold["operation"]),
                sa.literal(-amount, sa.BigInteger),
                accounts.c.balance - amount,
                statements.smaller(accounts.c.allowance_left, sa.literal(amount, sa.BigInteger)),
                sa.literal(description[:200]),
                sa.literal(reference),
                sa.literal(now, ledger_entries.c.created_at.type),
            ).where(accounts.c.organization_id == hold["organization_id"]),
        )
    )
    statements.CHARGE_KEY.run(connection, values)
    statements.SETTLE_ACCOUNT.run(connection, values)


def release_rest(connection: sa.Connection, call_id: str) -> int:
    """Free what is left of a job's hold; returns how much that was. Freeing twice does nothing."""
    hold = (
        connection.execute(
            sa.delete(holds)
            .where(holds.c.call_id == call_id, holds.c.instance == OF_A_JOB)
            .returning(holds.c.organization_id, holds.c.amount)
        )
        .mappings()
        .first()
    )
    if hold is None:
        return 0
    statements.SETTLE_ACCOUNT.run(
        connection,
        {"p_organization": hold["organization_id"], "p_held": hold["amount"], "p_amount": 0},
    )
    return int(hold["amount"])


def charge_of_job(connection: sa.Connection, organization_id: int, call_id: str) -> Mapping[str, Any] | None:
    """What the job of a call was charged, as one charge: for a refund. None when it was charged nothing.

    Raises ``Conflict`` while the job may still charge.
    """
    job = connection.execute(
        sa.select(jobs.c.uuid, jobs.c.finished_at).where(
            jobs.c.call_id == call_id, jobs.c.organization_id == organization_id, jobs.c.charges > 0
        )
    ).first()
    if job is None:
        return None
    if job.finished_at is None:
        raise Conflict(
            "The job of this call is not over.",
            code="job_running",
            fix="Cancel it, or wait for its end, and refund it then.",
        )
    rows = connection.execute(
        sa.select(ledger_entries)
        .where(
            ledger_entries.c.organization_id == organization_id,
            ledger_entries.c.reference.startswith(f"job:{job.uuid}:", autoescape=True),
        )
        .order_by(ledger_entries.c.id)
    ).mappings()
    entries = [dict(row) for row in rows]
    return {
        # The first one stands for all: it can be refunded once, and a day's cap gets back what was spent on a
        # day that it shares with the beginning of the job.
        **entries[0],
        "amount": sum(entry["amount"] for entry in entries),
        "from_allowance": sum(entry["from_allowance"] or 0 for entry in entries),
    }


def left(connection: sa.Connection, call_id: str) -> int:
    """Credits that a job's hold still has."""
    amount = connection.execute(
        sa.select(holds.c.amount).where(holds.c.call_id == call_id, holds.c.instance == OF_A_JOB)
    ).scalar()
    return int(amount or 0)


def hold_spent(amount: int, available: int) -> PaymentRequired:
    """The refusal of what a job's hold does not cover."""
    return PaymentRequired(
        "What was set aside for the job is spent.",
        required=amount,
        remaining=max(0, available),
        code="hold_spent",
        fix="Start another job for the rest.",
    )
