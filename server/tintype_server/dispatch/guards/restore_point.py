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
    point = call.studio.changes.mark(call.principal, call.spec.name)
    return replace(proceed(call), restore_point=point)
