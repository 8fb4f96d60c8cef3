"""Money: hold the quoted price, run, then charge what it really cost or give it all back.

A call that starts a job hands the hold over to it; the job charges item by item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.errors import PaymentRequired
from tintype_studio.ledger.crowd import Charge
from tintype_tools.call import Outcome
from tintype_tools.spec import Quote


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

    call.at_commit.append(_Settle(call, quote))
    try:
        return proceed(call)
    except BaseException:
        ledger.release_later(call.id)
        raise


@dataclass(frozen=True, slots=True)
class _Settle:
    """Charges a call, or hands its hold over to the job that it started; those of a crowd together."""

    call: RunningCall
    quote: Quote

    def __call__(self, connection: sa.Connection, outcome: Outcome) -> Outcome:
        if outcome.job is not None:
            self.call.studio.jobs.take_hold(connection, outcome.job, self.call.id)
            return outcome
        charge = self._charge(outcome)
        charged = self.call.studio.ledger.capture_in(
            connection, charge.call_id, charge.amount, description=charge.description
        )
        return replace(outcome, credits=charged)

    @classmethod
    def many(
        cls, connection: sa.Connection, writes: Sequence[_Settle], outcomes: Sequence[Outcome]
    ) -> list[Outcome]:
        if any(outcome.job is not None for outcome in outcomes):
            return [write(connection, outcome) for write, outcome in zip(writes, outcomes, strict=True)]
        charges = [write._charge(outcome) for write, outcome in zip(writes, outcomes, strict=True)]
        charged = writes[0].call.studio.ledger.capture_all_in(connection, charges)
        return [replace(outcome, credits=n) for outcome, n in zip(outcomes, charged, strict=True)]

    def _charge(self, outcome: Outcome) -> Charge:
        actual = self.quote.credits if outcome.actual_credits is None else outcome.actual_credits
        return Charge(self.call.id, actual, self.call.spec.name)
