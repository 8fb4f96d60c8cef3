"""What a door hands to the dispatcher, what a handler sees, and what comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pydantic import BaseModel

from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_tools.local_files import LocalFiles

Progress = Callable[[int, int | None, str], None]
"""Called with ``(done, total, message)`` from any thread."""


def no_progress(_done: int, _total: int | None, _message: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Request:
    """One tool call as it came in through a door."""

    tool: str
    arguments: dict[str, Any]
    api_key: str | None
    door: str
    """``stdio``, ``http``, ``sse``, ``dispatch``, ``rest``, ``toolkit`` or ``cli``."""
    files: LocalFiles
    agent: str | None = None
    """Name and version that the client gave of itself."""
    idempotency_key: str | None = None
    base_url: str | None = None
    """Absolute URL of this server as the caller reaches it; None when no HTTP server is there."""
    max_response_tokens: int | None = None
    """The caller's own response budget; None for the server's default, 0 or less for none."""
    progress: Progress = no_progress
    cancelled: threading.Event = field(default_factory=threading.Event)
    dry_run: bool = False
    """Tell what the call would do, and do nothing."""
    confirm_token: str | None = None
    """What a refused call got, to go on with it."""
    approval_id: str | None = None
    """An approval that a person gave."""
    session: str | None = None
    """What the caller counts this call to; ``undo_session`` takes back a session."""
    deadline_seconds: float | None = None
    """How long the call may take; the server's own limit holds as well."""
    nested: bool = False
    """Made by another call, which was counted and admitted."""
    trace: dict[str, str] | None = None
    """The caller's W3C trace context: ``traceparent`` and, if there is one, ``tracestate``."""
    toolsets: frozenset[str] | None = None
    """Toolsets that the caller limits itself to; None for all that are open to it."""
    read_only: bool = False
    """The caller wants nothing changed, whatever is called."""
    counted: bool = False
    """Counted into the key's hour at the door, which counts whatever comes in and not only calls."""

    def confirmed(self, token: str) -> Request:
        """The same call, made again with the answer to its question."""
        return replace(self, confirm_token=token, cancelled=threading.Event())


@dataclass(frozen=True, slots=True)
class Affected:
    """What a call would change, or changed: so many things of a kind."""

    kind: str
    """As in the change history: ``images.deleted``, ``annotations.saved`` …"""
    count: int
    dataset: str | None = None
    name: str | None = None
    detail: dict[str, int] = field(default_factory=dict)
    """Further counts, such as the images of a deleted dataset."""
    subject: str | None = None
    """UUID, when it is one thing."""
    digest: str | None = None
    """Stands for exactly which things, when they are many and a confirmation must mean these."""
    of_others: bool = False
    """Whether somebody else made them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call would do, found without doing it."""

    affected: tuple[Affected, ...] = ()
    undoable: bool = True


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture in an answer. Sizes in pixels."""

    data: bytes
    mime_type: str
    width: int
    height: int

    @property
    def tokens(self) -> int:
        """What the picture costs a vision model, by the common rule of 750 pixels per token."""
        return self.width * self.height // 750


@dataclass(frozen=True, slots=True)
class Output:
    """A handler's answer when it is more than its result model."""

    value: BaseModel
    pictures: tuple[Picture, ...] = ()
    credits: int | None = None
    """Actual price, if it is below the quoted one."""
    continues: tuple[str, int] | None = None
    """``(handle, offset)`` of a parked list that ``value.items`` reads on from."""
    job: str | None = None
    """The job that the call has started; it takes over what was set aside for the call."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished call: JSON-ready ``value``, pictures, and what it cost."""

    call_id: str
    value: dict[str, Any]
    pictures: tuple[Picture, ...] = ()
    credits: int = 0
    """Whole credits charged."""
    actual_credits: int | None = None
    """What the handler says the work was worth, if below the quote; the credits guard charges it."""
    replayed: bool = False
    dry_run: bool = False
    restore_point: str | None = None
    """A mark in the history from just before the call; set for deletions and bulk changes."""
    continues: tuple[str, int] | None = None
    job: str | None = None
    """The job that the call has started."""


class Call(Protocol):
    """A running call, as its handler sees it."""

    @property
    def id(self) -> str:
        """The call's id; every change it makes carries it."""

    @property
    def principal(self) -> Principal:
        """Who is calling."""

    @property
    def studio(self) -> Studio:
        """The platform."""

    @property
    def files(self) -> LocalFiles:
        """Local paths that this call may touch."""

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Report progress, and raise ``Cancelled`` if the caller went away."""

    def check(self) -> None:
        """Raise if the caller went away, the call's time is up, or its key no longer works."""

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
        """Run a further call for the same caller, through all guards."""

    @property
    def base_url(self) -> str | None:
        """Absolute URL of this server; None when no HTTP server is there."""

    def blob_url(self, sha256: str, *, mime_type: str, filename: str) -> str | None:
        """A signed, absolute, expiring URL of a blob; None when no HTTP server is there."""


class Dispatch(Protocol):
    """The one entry of every call, whatever door it came through."""

    def __call__(self, request: Request) -> Outcome:
        """Run the call through all guards; raises ``TintypeError``."""
