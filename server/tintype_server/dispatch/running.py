"""A call on its way through the guards; also what its handler sees (``tintype_tools.call.Call``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.errors import Cancelled
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_tools.call import Outcome, Request
from tintype_tools.local_files import LocalFiles
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, ToolSpec

SIGNED_URL_SECONDS = 3600

SMALLEST_BUDGET = 300
"""Tokens. Below this the mark that says what was cut would not fit."""

log = logging.getLogger("tintype")


@dataclass(slots=True)
class RunningCall:
    """Filled in by the guards, one after the other."""

    request: Request
    studio: Studio
    registry: Registry
    settings: Settings
    id: str = field(default_factory=clock.new_id)
    started_at: datetime = field(default_factory=clock.now)
    _principal: Principal | None = None
    _spec: ToolSpec | None = None
    _args: Args | None = None

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
    def files(self) -> LocalFiles:
        """Local paths that this call may touch."""
        return self.request.files

    @property
    def token_budget(self) -> int:
        """Response tokens; 0 for no cap."""
        own = self.request.max_response_tokens
        budget = self.settings.max_response_tokens if own is None else own
        return max(budget, SMALLEST_BUDGET) if budget > 0 else 0

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Report progress, and stop if the caller went away."""
        self.check()
        self.request.progress(done, total, message)

    def check(self) -> None:
        """Stop if the caller went away."""
        if self.request.cancelled.is_set():
            raise Cancelled("The call was cancelled.")

    def blob_url(self, sha256: str, *, mime_type: str, filename: str) -> str | None:
        """A signed URL of a blob, valid for an hour, if this server is reachable over HTTP."""
        base = self.settings.base_url or self.request.base_url
        if base is None:
            return None
        token = self.studio.signer.token(
            {"op": "get", "sha": sha256, "ct": mime_type, "fn": filename}, SIGNED_URL_SECONDS
        )
        return f"{base}/_blob/{token}"


Next = Callable[[RunningCall], Outcome]
"""The rest of the guards."""

Guard = Callable[[RunningCall, Next], Outcome]
"""Looks at the call, and either raises or hands it on; it may act on the way back, too."""

JsonObject = dict[str, Any]
