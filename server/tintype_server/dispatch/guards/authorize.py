"""Whether this key may use this tool: its role and its toolsets."""

from __future__ import annotations

from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.errors import Forbidden
from tintype_tools.call import Outcome
from tintype_tools.snapshot import ALWAYS_OPEN


def authorize(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse a role that is too low, and a toolset that the key or this server leaves out."""
    spec, principal = call.spec, call.principal
    if not principal.role.covers(spec.required_role):
        raise Forbidden(
            f"{spec.name} needs the role {spec.required_role}; this key has {principal.role}.",
            code="role_required",
            fix=f"Use a key with the role {spec.required_role} or above, or leave this step to a person.",
            details={"required_role": spec.required_role.value, "role": principal.role.value},
        )
    open_toolsets = call.settings.offered_toolsets(principal.toolsets)
    if open_toolsets is not None and spec.toolset not in open_toolsets | ALWAYS_OPEN:
        raise Forbidden(
            f"The toolset {spec.toolset!r} is not open to this key.",
            code="toolset_required",
            fix="Use a key that includes this toolset.",
        )
    return proceed(call)
