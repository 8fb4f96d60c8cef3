"""Values of options that several commands take: lifetimes, and limits that can be lifted."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from tintype_studio import clock

ROLES = ("viewer", "member", "admin", "owner")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Lifted:
    """Stands for a limit that is to be taken away, where None means that the option was not given."""

    def __repr__(self) -> str:
        """What a person wrote."""
        return "none"


LIFTED = Lifted()


class Liftable(click.ParamType[Any]):
    """A value of another type, or the word that takes the limit away."""

    def __init__(self, inner: click.ParamType[Any], word: str = "none") -> None:
        self.inner, self.word = inner, word
        self.name = f"{inner.name}|{word}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The inner value, or ``LIFTED``."""
        if value is LIFTED or str(value).strip().lower() == self.word:
            return LIFTED
        return self.inner.convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """How the option is shown."""
        return f"[{(self.inner.get_metavar(param, ctx) or self.inner.name.upper())}|{self.word}]"


class Lifetime(click.ParamType[datetime]):
    """When something ends: a length such as ``30d``, ``12h``, ``90m``, ``4w``, or ISO 8601 (UTC without a
    zone).
    """

    name = "lifetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware time."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if length := re.fullmatch(r"([0-9]{1,6})([mhdw])", text):
                return clock.now() + timedelta(**{UNITS[length[2]]: int(length[1])})
            moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a length (30d, 12h) nor an ISO time.", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Toolsets(click.ParamType[Any]):
    """Comma-separated toolsets; unknown names are refused with the known ones."""

    name = "toolsets"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Their names."""
        from tintype_server.settings import parse_toolsets

        return value if isinstance(value, list) else list(parse_toolsets(str(value)))
