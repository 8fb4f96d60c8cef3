"""Which tool is meant."""

from __future__ import annotations

from tintype_server.dispatch.running import Next, RunningCall
from tintype_tools.call import Outcome


def resolve(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse an unknown name, with close matches."""
    call.spec = call.registry.get(call.request.tool)
    return proceed(call)
