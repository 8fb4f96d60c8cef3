"""The dispatcher and its guards in order.

A guard is one function in one file, ``(call, proceed) -> Outcome``; the first one listed is the outermost.
A new guard is a file and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

from tintype_server.dispatch.guards.audit import audit
from tintype_server.dispatch.guards.authenticate import authenticate
from tintype_server.dispatch.guards.authorize import authorize
from tintype_server.dispatch.guards.commit import commit
from tintype_server.dispatch.guards.confirm import confirm
from tintype_server.dispatch.guards.credits import credits
from tintype_server.dispatch.guards.dry_run import dry_run
from tintype_server.dispatch.guards.idempotency import idempotency
from tintype_server.dispatch.guards.rate import rate
from tintype_server.dispatch.guards.resolve import resolve
from tintype_server.dispatch.guards.restore_point import restore_point
from tintype_server.dispatch.guards.run import run
from tintype_server.dispatch.guards.shape import shape
from tintype_server.dispatch.guards.validate import validate
from tintype_server.dispatch.guards.wait import wait
from tintype_server.dispatch.running import Guard, Next, RunningCall
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError
from tintype_studio.studio import Studio
from tintype_tools.call import Outcome, Request
from tintype_tools.registry import Registry

GUARDS: tuple[Guard, ...] = (
    audit,
    authenticate,
    rate,
    resolve,
    authorize,
    validate,
    shape,
    wait,
    dry_run,
    idempotency,
    confirm,
    credits,
    commit,
    restore_point,
)


class Dispatcher:
    """Runs calls. Thread-safe and synchronous; async doors call it from a worker thread."""

    def __init__(
        self, studio: Studio, registry: Registry, settings: Settings, *, around: Sequence[Guard] = ()
    ) -> None:
        """``around``: guards that stand outside all others, such as telemetry."""
        self._studio = studio
        self._registry = registry
        self._settings = settings
        innermost: Next = run
        self._chain: Next = reduce(
            lambda proceed, guard: partial(_step, guard, proceed), reversed((*around, *GUARDS)), innermost
        )

    def __call__(self, request: Request) -> Outcome:
        """Run one call; raises ``TintypeError`` when a guard or the tool refuses."""
        call = RunningCall(request, self._studio, self._registry, self._settings, self)
        try:
            return self._chain(call)
        except TintypeError as error:
            error.call_id = call.id
            raise


def _step(guard: Guard, proceed: Next, call: RunningCall) -> Outcome:
    return guard(call, proceed)
