"""A mark in the history before anything is deleted or changed in bulk."""

from __future__ import annotations

from dataclasses import replace

from tintype_server.dispatch.running import Next, RunningCall
from tintype_tools.call import Outcome
from tintype_tools.spec import Effect


def restore_point(call: RunningCall, proceed: Next) -> Outcome:
    """Set a restore point; ``undo_session`` goes back to it."""
    if call.spec.effect is not Effect.DESTROY and not call.spec.bulk:
        return proceed(call)
    changes = call.studio.changes
    point = changes.mark(call.principal, call.spec.name)
    try:
        return replace(proceed(call), restore_point=point)
    except BaseException:
        # Nothing to go back from; inside a unit of work the mark is taken back with all else.
        if not call.spec.atomic and not changes.of_call(call.principal, call.id):
            changes.unmark(point)
        raise
