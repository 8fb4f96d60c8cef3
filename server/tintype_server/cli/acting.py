"""Opens the workspace for an administrative command: as whom, and on record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tintype_server.settings import Settings
from tintype_studio.errors import Unauthorized

if TYPE_CHECKING:
    from tintype_server.trail import Deed
    from tintype_studio.identity.keys import Principal
    from tintype_studio.studio import Studio

AGENT = "tintype cli"


@contextmanager
def acting(settings: Settings, action: str, **arguments: Any) -> Iterator[tuple[Studio, Principal]]:
    """Open the workspace and act with the resolved key; the audit trail gets a row however it ends.

    ``action`` names what is done, such as ``keys.create``; ``arguments`` stand in the row, without secrets.
    """
    with on_record_here(settings, action, **arguments) as (studio, deed):
        deed.principal = studio.keys.authenticate(resolved_key(settings))
        yield studio, deed.principal


@contextmanager
def on_record_here(settings: Settings, action: str, **arguments: Any) -> Iterator[tuple[Studio, Deed]]:
    """Open the workspace for something that needs no key yet, on record."""
    from tintype_server.opening import open_studio
    from tintype_server.trail import Deed, on_record

    studio = open_studio(settings)
    try:
        given = {name: value for name, value in arguments.items() if value is not None}
        with on_record(studio, Deed(action, "cli", AGENT, given)) as deed:
            yield studio, deed
    finally:
        studio.close()


def resolved_key(settings: Settings) -> str:
    """The key of this machine's user: a ``--api-key`` flag, ``TINTYPE_API_KEY``, ``config.toml``, in this
    order. ``Unauthorized`` (``missing_key``) when there is none, or when the flag is given and empty.
    """
    from tintype_studio.identity.bootstrap import saved_api_key

    # An empty flag is a shell variable that was not set; whoever wrote it did not mean the saved owner key.
    key = settings.api_key if settings.api_key is not None else saved_api_key(settings.home)
    if not key or not key.strip():
        raise Unauthorized(
            "There is no API key to act with.",
            code="missing_key",
            fix="Run `tintype login`, set TINTYPE_API_KEY, or pass --api-key.",
        )
    return key
