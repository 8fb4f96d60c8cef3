"""Money: hold the quoted price, run, then charge what it really cost or give it all back.

A call that starts a job hands the hold over to it; the job charges item by item.
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.errors import PaymentRequired
from tintype_tools.call import Outcome


def credits(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse before any work when balance or key cap do not cover the quote. Free tools pass."""
    quote = call.quote
    if quote is None:
        return proceed(call)
    ledger = call.studio.ledger
    try:
        ledger.hold(call.principal, call_id=call.id, operation=quote.operation, amount=quote.credits)
    except PaymentRequired as refused:
        refused.details["top_up"] = (
            "tintype keys update"
            if refused.code == "key_cap_reached"
            else call.settings.top_up_url or "tintype credits grant"
        )
        raise

    def charge(connection: sa.Connection, outcome: Outcome) -> Outcome:
        if outcome.job is not None:
            call.studio.jobs.take_hold(connection, outcome.job, call.id)
            return outcome
        actual = quote.credits if outcome.actual_credits is None else outcome.actual_credits
        charged = ledger.capture_in(connection, call.id, actual, description=call.spec.name)
        return replace(outcome, credits=charged)

    call.at_commit.append(charge)
    try:
        return proceed(call)
    except BaseException:
        ledger.release_later(call.id)
        raise
