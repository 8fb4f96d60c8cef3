"""The table of methods: what a handler is, and where it is written down.

Each ``rpc_<area>.py`` decorates its handlers with ``@method("dataset.list")``; forms with ``@form``. A handler
translates: it reads ids out of ``params``, calls a tool through the door, and shapes what came of it. It
returns what goes into ``result`` (never None: clients take that for no answer), or ``Binary``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request

from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_tools.call import Outcome

if TYPE_CHECKING:
    from tintype_server.pictograph.door import RestDoor

T = TypeVar("T")

METHODS: dict[str, Method] = {}
FORMS: dict[str, FormMethod] = {}


@dataclass(frozen=True, slots=True)
class Binary:
    """A file as the answer: bytes in pieces, and their number where it is known."""

    chunks: Iterator[bytes]
    size: int | None = None
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file that came in a form: its name as sent, which may hold slashes, and where it lies meanwhile."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Rpc:
    """What a handler is given."""

    door: RestDoor
    request: Request
    method: str

    @property
    def studio(self) -> Studio:
        """The platform, for reads."""
        return self.door.studio

    @property
    def base_url(self) -> str:
        """Absolute address of this server, without a slash at the end; links begin with it."""
        return self.door.base_url(self.request)

    async def call(self, tool: str, **arguments: Any) -> Outcome:
        """Call a tool through all guards; ``Outcome.value`` is its result as JSON. None is left out."""
        return await self.door.call(self.request, tool, arguments)

    async def read(self, work: Callable[[Studio, Principal], T]) -> T:
        """Look something up in a worker thread, as whoever calls."""
        studio = self.studio
        return await self.door.read(self.request, lambda principal: work(studio, principal))


Method = Callable[[Rpc, dict[str, Any]], Awaitable[Any]]
"""``params`` is an object: an absent one is empty."""

FormMethod = Callable[[Rpc, Mapping[str, str], list[FormFile]], Awaitable[Any]]
"""Fields as text, and files."""


def method(name: str) -> Callable[[Method], Method]:
    """Register a handler of JSON-RPC."""

    def add(handler: Method) -> Method:
        if name in METHODS:
            raise ValueError(f"{name} is handled twice")
        METHODS[name] = handler
        return handler

    return add


def form(name: str) -> Callable[[FormMethod], FormMethod]:
    """Register a handler of forms, ``POST /api?method=name``."""

    def add(handler: FormMethod) -> FormMethod:
        if name in FORMS:
            raise ValueError(f"{name} is handled twice")
        FORMS[name] = handler
        return handler

    return add
