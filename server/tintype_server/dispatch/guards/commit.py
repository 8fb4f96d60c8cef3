"""What a call changes, what it costs, its stored answer and its audit line become true together."""

from __future__ import annotations

from tintype_server.dispatch.running import Next, RunningCall
from tintype_tools.call import Outcome
from tintype_tools.spec import Effect


def commit(call: RunningCall, proceed: Next) -> Outcome:
    """Run the rest in one transaction, and let the guards write into it before it commits.

    A caller who went away meanwhile gets nothing changed and nothing charged. A tool that is not atomic
    has committed its work by then; only the guards' own writes share a transaction.
    """
    if call.spec.effect is Effect.READ:
        return proceed(call)
    database = call.studio.database
    if not call.spec.atomic:
        outcome = _finish(call, proceed(call))
    else:
        with database.unit_of_work():
            outcome = _finish(call, proceed(call))
    call.recorded = True
    return outcome


def _finish(call: RunningCall, outcome: Outcome) -> Outcome:
    call.check()  # an answer that nobody waits for is not charged
    with call.studio.database.write() as connection:
        return call.settle(connection, outcome)
