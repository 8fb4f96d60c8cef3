"""The one settings model. Every field is read from ``TINTYPE_<NAME>`` unless a door's flag says otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tintype_studio.errors import InvalidInput
from tintype_studio.names import printable

DEFAULT_RESPONSE_TOKENS = 25_000


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs."""

    home: Path
    """Folder that holds all state. Default: the platform's place for application data."""
    database_url: str | None = None
    """SQLAlchemy URL. Default: SQLite in ``home``."""
    blob_url: str | None = None
    """Object-store URL such as ``s3://bucket/prefix``. Default: a folder in ``home``."""
    api_key: str | None = None
    """Key of this user. Order: a ``--api-key`` flag, this, ``config.toml`` in ``home``."""
    roots: tuple[Path, ...] = ()
    """Local folders that tools may read and write, separated by the path separator. Stdio and the
    toolkit add the working folder; HTTP adds nothing."""
    base_url: str | None = None
    """Public URL of ``tintype serve``, for signed URLs. Default: as the caller addressed the server."""
    max_response_tokens: int = DEFAULT_RESPONSE_TOKENS
    """Response budget of a call; 0 switches the cap off."""
    toolsets: tuple[str, ...] | None = None
    """Toolsets to offer, comma-separated. Default: all."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read ``TINTYPE_*``; an unknown name or a bad value is an error, so that a typing slip shows."""
        known = {f"TINTYPE_{field.name.upper()}" for field in fields(cls)}
        unknown = sorted(k for k in env if k.startswith("TINTYPE_") and k not in known)
        if unknown:
            raise InvalidInput(
                f"Unknown setting: {', '.join(unknown)}.",
                code="invalid_setting",
                fix=f"Known settings: {', '.join(sorted(known))}.",
            )

        def get(name: str) -> str | None:
            value = env.get(f"TINTYPE_{name}", "").strip()
            return value or None

        home = get("HOME")
        toolsets = get("TOOLSETS")
        return cls(
            home=_path(home) if home else default_home(),
            database_url=get("DATABASE_URL"),
            blob_url=get("BLOB_URL"),
            api_key=get("API_KEY"),
            roots=tuple(_path(p) for p in (get("ROOTS") or "").split(os.pathsep) if p),
            base_url=(get("BASE_URL") or "").rstrip("/") or None,
            max_response_tokens=_whole_number("MAX_RESPONSE_TOKENS", get("MAX_RESPONSE_TOKENS")),
            toolsets=parse_toolsets(toolsets) if toolsets else None,
        )

    def overridden(
        self,
        *,
        home: str | None = None,
        api_key: str | None = None,
        roots: Sequence[str] = (),
        base_url: str | None = None,
        toolsets: str | None = None,
        max_response_tokens: int | None = None,
    ) -> Settings:
        """These settings with what a command's flags say; None leaves a setting alone, roots are added."""
        changes: dict[str, Any] = {
            "home": _path(home) if home else None,
            "api_key": api_key,
            "roots": (*self.roots, *map(_path, roots)) if roots else None,
            "base_url": base_url.rstrip("/") if base_url else None,
            "toolsets": parse_toolsets(toolsets) if toolsets is not None else None,
            "max_response_tokens": max_response_tokens,
        }
        return replace(self, **{k: v for k, v in changes.items() if v is not None})

    def offered_toolsets(self, key_toolsets: frozenset[str] | None) -> frozenset[str] | None:
        """Toolsets that are both offered by this process and open to the key; None for all."""
        if self.toolsets is None:
            return key_toolsets
        offered = frozenset(self.toolsets)
        return offered if key_toolsets is None else offered & key_toolsets


def parse_toolsets(text: str) -> tuple[str, ...]:
    """Toolset names of a comma-separated list; an unknown name, or none at all, is an error."""
    from tintype_tools.snapshot import load_snapshot

    known = sorted({tool["toolset"] for tool in load_snapshot()["tools"]})
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InvalidInput(
            f"Unknown toolset: {', '.join(map(repr, unknown))[:200]}." if unknown else "No toolset is named.",
            code="unknown_toolset",
            fix=f"Known toolsets: {', '.join(known)}.",
        )
    return names


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InvalidInput(
            f"There is no user for the '~' in {printable(text[:80])!r}.",
            code="invalid_setting",
            fix="Write the path out.",
        ) from None


def _whole_number(name: str, value: str | None) -> int:
    if value is None:
        return DEFAULT_RESPONSE_TOKENS
    if not re.fullmatch("-?[0-9]{1,9}", value):
        raise InvalidInput(
            f"TINTYPE_{name} must be a whole number of at most nine digits, not {printable(value[:40])!r}.",
            code="invalid_setting",
            fix="Use a number such as 25000, or 0 for no cap.",
        )
    return int(value)


def default_home() -> Path:
    """The platform's folder for this application's data."""
    from platformdirs import user_data_path

    return user_data_path("tintype", appauthor=False)
