"""A call on its way through the guards; also what its handler sees (``tintype_tools.call.Call``)."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.errors import Cancelled, DeadlineExceeded
from tintype_studio.identity.keys import CACHE_SECONDS, Principal
from tintype_studio.studio import Studio
from tintype_tools.call import Dispatch, Outcome, Request, no_progress
from tintype_tools.local_files import LocalFiles
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, Quote, ToolSpec

SIGNED_URL_SECONDS = 3600

SMALLEST_BUDGET = 300
"""Tokens. Below this the mark that says what was cut would not fit."""

REST = "rest"
"""The door of the REST dialect. Its callers are programs: nobody is there to read a question, and an answer
that is cut has another shape.
"""

log = logging.getLogger("tintype")

AtCommit = Callable[[sa.Connection, Outcome], Outcome]
"""What a guard writes in the transaction that makes a call's changes true; may complete the outcome.

One with a classmethod ``many(connection, writes, outcomes)`` is written with those of its class of other
calls, see ``Settling``.
"""


@dataclass(slots=True)
class RunningCall:
    """Filled in by the guards, one after the other."""

    request: Request
    studio: Studio
    registry: Registry
    settings: Settings
    dispatch: Dispatch
    """Runs a further call on behalf of this one."""
    id: str = field(default_factory=clock.new_id)
    started_at: datetime = field(default_factory=clock.now)
    at_commit: list[AtCommit] = field(default_factory=list)
    """Written with the call's changes; the last one added, of the innermost guard, comes first."""
    recorded: bool = False
    """Whether the audit trail has this call's line."""
    _principal: Principal | None = None
    _spec: ToolSpec | None = None
    _args: Args | None = None
    _quote: Quote | None = None
    _quoted: bool = False
    _deadline: float = 0.0
    _checked_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        own = self.request.deadline_seconds
        seconds = self.settings.call_seconds if own is None else min(own, self.settings.call_seconds)
        self._deadline = self._checked_at + seconds

    @property
    def principal(self) -> Principal:
        """Set by the guard ``authenticate``."""
        if self._principal is None:
            raise RuntimeError("the call is not authenticated yet")
        return self._principal

    @principal.setter
    def principal(self, value: Principal) -> None:
        self._principal = value

    @property
    def known_principal(self) -> Principal | None:
        """The principal if the call came that far."""
        return self._principal

    @property
    def spec(self) -> ToolSpec:
        """Set by the guard ``resolve``."""
        if self._spec is None:
            raise RuntimeError("the tool is not resolved yet")
        return self._spec

    @spec.setter
    def spec(self, value: ToolSpec) -> None:
        self._spec = value

    @property
    def known_args(self) -> Args | None:
        """The arguments, once they were found to fit."""
        return self._args

    @property
    def known_spec(self) -> ToolSpec | None:
        """The tool if the call came that far."""
        return self._spec

    @property
    def args(self) -> Args:
        """Set by the guard ``validate``."""
        if self._args is None:
            raise RuntimeError("the arguments are not validated yet")
        return self._args

    @args.setter
    def args(self, value: Args) -> None:
        self._args = value

    @property
    def quote(self) -> Quote | None:
        """The exact price of this call; None when it is free. It stays what it was when first asked for."""
        if not self._quoted:
            quote = self.spec.quote(self.args, self) if self.spec.quote is not None else None
            self._quote = quote if quote is not None and quote.credits > 0 else None
            self._quoted = True
        return self._quote

    @property
    def files(self) -> LocalFiles:
        """Local paths that this call may touch."""
        return self.request.files

    @property
    def token_budget(self) -> int:
        """Response tokens; 0 for no cap. The key's own budget binds whatever an agent's call asks for."""
        if self.request.door == REST:
            return 0
        own = self.request.max_response_tokens
        budget = self.settings.max_response_tokens if own is None else own
        cap = self.principal.max_response_tokens
        if cap is not None:
            budget = min(budget, cap) if budget > 0 else cap
        return max(budget, SMALLEST_BUDGET) if budget > 0 else 0

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Report progress, and stop as ``check`` does."""
        self.check()
        self.request.progress(done, total, message)

    def check(self) -> None:
        """Stop if the caller went away, the call's time is up, or its key no longer works."""
        if self.request.cancelled.is_set():
            raise Cancelled("The call was cancelled.")
        now = time.monotonic()
        if now > self._deadline:
            raise DeadlineExceeded("The call took longer than it may; it was stopped.")
        if now - self._checked_at > CACHE_SECONDS:
            self._checked_at = now
            self.studio.keys.authenticate(self.request.api_key)

    def settle(self, connection: sa.Connection, outcome: Outcome) -> Outcome:
        """Write what the guards have to say, in the transaction of the call's changes."""
        for write in reversed(self.at_commit):
            outcome = write(connection, outcome)
        return outcome

    def rehearsal(self) -> RunningCall:
        """The same call as a rehearsal's handler sees it: it reports no progress."""
        return replace(self, request=replace(self.request, progress=no_progress), at_commit=[])

    def call_tool(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        dry_run: bool = False,
        approval_id: str | None = None,
        confirm_token: str | None = None,
        idempotency_key: str | None = None,
    ) -> Outcome:
        """Run a further call for the same caller, through all guards.

        It has the idempotency key given, or else one that follows from this call's: a repetition of this
        call, whose own answer a crash has lost, then does not do it twice.
        """
        self.check()
        own = self.request.idempotency_key
        if idempotency_key is None and own is not None and not dry_run:
            idempotency_key = f"inside-{hashlib.sha256(own.encode()).hexdigest()[:40]}"
        return self.dispatch(
            replace(
                self.request,
                deadline_seconds=self._deadline - time.monotonic(),
                tool=tool,
                arguments=arguments,
                dry_run=dry_run,
                approval_id=approval_id,
                confirm_token=confirm_token,
                idempotency_key=idempotency_key,
                nested=True,
            )
        )

    @property
    def base_url(self) -> str | None:
        """Absolute URL of this server, as set or as the caller reached it."""
        return self.settings.base_url or self.request.base_url

    def blob_url(self, sha256: str, *, mime_type: str, filename: str) -> str | None:
        """A signed URL of a blob, valid for an hour, if this server is reachable over HTTP."""
        base = self.base_url
        if base is None:
            return None
        token = self.studio.signer.token(
            {"op": "get", "sha": sha256, "ct": mime_type, "fn": filename}, SIGNED_URL_SECONDS
        )
        return f"{base}/_blob/{token}"


class Settling:
    """A call that is to be settled; a ``Joint`` piece of writing."""

    __slots__ = ("_call", "_outcome")

    def __init__(self, call: RunningCall, outcome: Outcome) -> None:
        self._call = call
        self._outcome = outcome

    def __call__(self, connection: sa.Connection) -> Outcome:
        """Settle it by itself."""
        return self._call.settle(connection, self._outcome)

    @classmethod
    def many(cls, connection: sa.Connection, pieces: Sequence[Settling]) -> list[Outcome]:
        """Settle several, guard by guard: what one guard has to say of all of them it may write at once."""
        outcomes = [piece._outcome for piece in pieces]
        left = [list(piece._call.at_commit) for piece in pieces]
        while any(left):
            shared: dict[Any, list[tuple[int, AtCommit]]] = {}
            for place, writes in enumerate(left):
                if not writes:
                    continue
                write = writes.pop()
                if hasattr(write, "many"):
                    shared.setdefault(type(write), []).append((place, write))
                else:
                    outcomes[place] = write(connection, outcomes[place])
            for kind, several in shared.items():
                done = kind.many(connection, [w for _, w in several], [outcomes[p] for p, _ in several])
                for (place, _), outcome in zip(several, done, strict=True):
                    outcomes[place] = outcome
        return outcomes


Next = Callable[[RunningCall], Outcome]
"""The rest of the guards."""

Guard = Callable[[RunningCall, Next], Outcome]
"""Looks at the call, and either raises or hands it on; it may act on the way back, too."""
