"""The one settings model. Every field is read from ``TINTYPE_<NAME>`` unless a door's flag says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tintype_studio.errors import InvalidInput

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
            home=Path(home).expanduser() if home else default_home(),
            database_url=get("DATABASE_URL"),
            blob_url=get("BLOB_URL"),
            api_key=get("API_KEY"),
            roots=tuple(Path(p).expanduser() for p in (get("ROOTS") or "").split(os.pathsep) if p),
            base_url=(get("BASE_URL") or "").rstrip("/") or None,
            max_response_tokens=_whole_number("MAX_RESPONSE_TOKENS", get("MAX_RESPONSE_TOKENS")),
            toolsets=tuple(t.strip() for t in toolsets.split(",")) if toolsets else None,
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
            "home": Path(home).expanduser() if home else None,
            "api_key": api_key,
            "roots": (*self.roots, *(Path(r).expanduser() for r in roots)) if roots else None,
            "base_url": base_url.rstrip("/") if base_url else None,
            "toolsets": tuple(t.strip() for t in toolsets.split(",")) if toolsets else None,
            "max_response_tokens": max_response_tokens,
        }
        return replace(self, **{k: v for k, v in changes.items() if v is not None})

    def offered_toolsets(self, key_toolsets: frozenset[str] | None) -> frozenset[str] | None:
        """Toolsets that are both offered by this process and open to the key; None for all."""
        if self.toolsets is None:
            return key_toolsets
        offered = frozenset(self.toolsets)
        return offered if key_toolsets is None else offered & key_toolsets


def _whole_number(name: str, value: str | None) -> int:
    if value is None:
        return DEFAULT_RESPONSE_TOKENS
    if not value.lstrip("-").isdecimal():
        raise InvalidInput(
            f"TINTYPE_{name} must be a whole number, not {value[:40]!r}.",
            code="invalid_setting",
            fix="Use a number such as 25000, or 0 for no cap.",
        )
    return int(value)


def default_home() -> Path:
    """The platform's folder for this application's data."""
    from platformdirs import user_data_path

    return user_data_path("tintype", appauthor=False)
