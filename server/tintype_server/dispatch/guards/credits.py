"""Money: hold the quoted price, run, then charge what it really cost or give it all back."""

from __future__ import annotations

from dataclasses import replace

from tintype_server.dispatch.running import Next, RunningCall
from tintype_tools.call import Outcome


def credits(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse before any work when balance or key cap do not cover the quote. Free tools pass."""
    if call.spec.quote is None:
        return proceed(call)
    quote = call.spec.quote(call.args)
    if quote.credits == 0:
        return proceed(call)
    ledger = call.studio.ledger
    ledger.hold(call.principal, call_id=call.id, operation=quote.operation, amount=quote.credits)
    try:
        outcome = proceed(call)
        call.check()  # an answer that nobody waits for is not charged
        actual = quote.credits if outcome.actual_credits is None else outcome.actual_credits
        charged = ledger.capture(call.id, actual, description=call.spec.name)
    except BaseException:
        ledger.release_later(call.id)
        raise
    return replace(outcome, credits=charged)
