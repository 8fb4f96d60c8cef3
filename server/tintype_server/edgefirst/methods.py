"""The table of methods: what a handler is, and where it is written down.

Each ``rpc_<area>.py`` decorates its handlers with ``@method("dataset.list")``, forms with ``@form``,
addresses of files with ``@get``. A handler translates: it reads ids out of ``params``, calls a tool through
the door, and shapes what came of it. It returns what goes into ``result`` (never None: clients take that for
no answer), or ``Binary``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request

from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_tools.call import Outcome
from tintype_tools.local_files import LocalFiles

if TYPE_CHECKING:
    from tintype_server.pictograph.door import RestDoor

T = TypeVar("T")

METHODS: dict[str, Method] = {}
FORMS: dict[str, FormMethod] = {}
GETS: dict[str, GetMethod] = {}


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

    async def call(self, tool: str, /, **arguments: Any) -> Outcome:
        """Call a tool through all guards; ``Outcome.value`` is its result as JSON. None is left out."""
        return await self.door.call(self.request, tool, arguments)

    async def call_with_files(
        self, form_files: Sequence[FormFile], tool: str, /, **arguments: Any
    ) -> Outcome:
        """The same; the tool may read the files of the form that is handled, which arguments name by path."""
        allowed = LocalFiles.under(*{file.path.parent for file in form_files})
        return await self.door.call(self.request, tool, arguments, files=allowed)

    async def read(self, work: Callable[[Studio, Principal], T]) -> T:
        """Look something up in a worker thread, as whoever calls."""
        studio = self.studio
        return await self.door.read(self.request, lambda principal: work(studio, principal))


Method = Callable[[Rpc, dict[str, Any]], Awaitable[Any]]
"""``params`` is an object: an absent one is empty."""

FormMethod = Callable[[Rpc, Mapping[str, str], list[FormFile]], Awaitable[Any]]
"""Fields as text, and files."""

GetMethod = Callable[[Rpc, Mapping[str, str]], Awaitable[Binary]]
"""What stands in the address after ``?``, as text."""


_TOOLSETS = {
    "samples": ("project", "annset", "label", "groups", "image", "samples", "annotation"),
    "datasets": ("dataset",),
    "snapshots": ("snapshots",),
    "versions": ("version", "tags"),
    "history": ("recycle",),
    "sessions": (
        *("trainer", "validate", "val", "cloud", "task", "docker", "status", "job"),
        *("download_model", "download_checkpoint"),
    ),
    "organization": ("org",),
    "credits": ("accounting",),
}
_OF_AREA = {area: toolset for toolset, areas in _TOOLSETS.items() for area in areas}
OPEN_TO_ALL = frozenset({"version", "auth.login", "auth.refresh", "auth.verify_token", "auth.logout"})


def toolset_of(name: str) -> str | None:
    """The toolset that a method belongs to; None for those about the server and the token itself.

    What a handler reads is no call of a tool, so a key's toolsets are asked for here, before it begins.
    """
    return None if name in OPEN_TO_ALL else _OF_AREA[name.partition(".")[0]]


def method(name: str) -> Callable[[Method], Method]:
    """Register a handler of JSON-RPC."""
    toolset_of(name)  # one of no area would be open to nobody

    def add(handler: Method) -> Method:
        if name in METHODS:
            raise ValueError(f"{name} is handled twice")
        METHODS[name] = handler
        return handler

    return add


def form(name: str) -> Callable[[FormMethod], FormMethod]:
    """Register a handler of forms, ``POST /api?method=name``."""
    toolset_of(name)

    def add(handler: FormMethod) -> FormMethod:
        if name in FORMS:
            raise ValueError(f"{name} is handled twice")
        FORMS[name] = handler
        return handler

    return add


def get(name: str) -> Callable[[GetMethod], GetMethod]:
    """Register a handler of ``GET /name``, whose file is the answer; errors are statuses there."""
    toolset_of(name)

    def add(handler: GetMethod) -> GetMethod:
        if name in GETS:
            raise ValueError(f"{name} is handled twice")
        GETS[name] = handler
        return handler

    return add
