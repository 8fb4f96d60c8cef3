"""What a call changes, what it costs, its stored answer and its audit line become true together."""

from __future__ import annotations

from tintype_server.dispatch.running import Next, RunningCall, Settling
from tintype_tools.call import Outcome
from tintype_tools.spec import Effect


def commit(call: RunningCall, proceed: Next) -> Outcome:
    """Run the rest in one transaction, and let the guards write into it before it commits.

    A caller who went away meanwhile gets nothing changed and nothing charged. A tool that is not atomic
    has committed its work by then: it is charged and its answer kept, whoever still waits for it.
    """
    if call.spec.effect is Effect.READ:
        return proceed(call)
    database, settled = call.studio.database, False
    if call.spec.atomic:
        with database.unit_of_work() as unit:
            outcome = proceed(call)
            call.check()  # an answer that nobody waits for is not charged
            if unit.begun:
                outcome = call.settle(unit.connection(), outcome)
                settled = True
    else:
        outcome = proceed(call)
    if not settled:
        outcome = database.together(Settling(call, outcome))
    call.recorded = True
    return outcome
