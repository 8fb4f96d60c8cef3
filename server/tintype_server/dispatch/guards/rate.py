"""How much a key may call: so often in an hour, so many at a time."""

from __future__ import annotations

from tintype_server.dispatch.running import Next, RunningCall
from tintype_tools.call import Outcome


def rate(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse a key that is over its limits. What a call makes in turn was counted with it."""
    if call.request.nested:
        return proceed(call)
    with call.studio.concurrency.slot(call.principal):
        if not call.request.counted:
            call.studio.rate_limits.admit(call.principal)
        return proceed(call)
