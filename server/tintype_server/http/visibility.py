"""What an MCP client asks to be left with, in a header or in the URL: some toolsets, reading only.

It narrows what key and server leave open, and never widens it. Where header and URL differ, both hold.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection

from tintype_server.settings import SWITCHES, Settings, parse_toolsets
from tintype_studio.errors import Forbidden, InvalidInput

TOOLSETS_HEADER, TOOLSETS_QUERY = "X-MCP-Toolsets", "toolsets"
READ_ONLY_HEADER, READ_ONLY_QUERY = "X-MCP-Readonly", "read_only"


def toolsets_of(connection: HTTPConnection) -> frozenset[str] | None:
    """``X-MCP-Toolsets`` or ``?toolsets=``: names, comma-separated, or ``all``; None when neither is there.

    Raises ``InvalidInput`` for an unknown name.
    """
    told = [*connection.headers.getlist(TOOLSETS_HEADER), *connection.query_params.getlist(TOOLSETS_QUERY)]
    if not told:
        return None
    return frozenset.intersection(*(frozenset(parse_toolsets(text)) for text in told))


def is_read_only(connection: HTTPConnection) -> bool:
    """``X-MCP-Readonly`` or ``?read_only=``: true or false; a slip is an error and opens nothing."""
    told = [*connection.headers.getlist(READ_ONLY_HEADER), *connection.query_params.getlist(READ_ONLY_QUERY)]
    found = [SWITCHES.get(text.strip().lower()) for text in told]
    if None in found:
        raise InvalidInput(
            f"{READ_ONLY_HEADER} and ?{READ_ONLY_QUERY}= must be true or false.", code="invalid_header"
        )
    return any(found)


def says_it_in_url(connection: HTTPConnection) -> bool:
    """Whether the URL asks for any of it."""
    return bool({TOOLSETS_QUERY, READ_ONLY_QUERY} & set(connection.query_params))


def require_writable(settings: Settings) -> None:
    """``Forbidden`` where this process only reads: for what changes something and is no call of a tool."""
    if settings.read_only:
        raise Forbidden(
            "This server only reads.",
            code="read_only",
            fix="Ask its operator, who started it with --read-only.",
        )
