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
EVERY_TOOLSET = "all"
SWITCHES = {"1": True, "true": True, "0": False, "false": False}
DEFAULT_CONFIRM_ABOVE = 100
DEFAULT_CALL_SECONDS = 900
DEFAULT_PREDICTION_DAYS = 7


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
    """Toolsets to offer, comma-separated, or ``all``. Default: every tool can be called, the core ones are
    listed."""
    read_only: bool = False
    """Whether nothing can be changed through this process, whatever role, toolset or caller says."""
    confirm_by: str = "token"
    """Who may confirm a call that needs it: ``token`` (whoever repeats it with the token it got), or
    ``human`` (only a person, by approval queue or elicitation)."""
    confirm_above_credits: int = DEFAULT_CONFIRM_ABOVE
    """A call that costs more whole credits than this needs confirmation."""
    call_seconds: float = DEFAULT_CALL_SECONDS
    """How long a call may run, in seconds."""
    worker_processes: int | None = None
    """Child processes that do the work of jobs. Default: one per core."""
    prediction_days: int = DEFAULT_PREDICTION_DAYS
    """How long a prediction task is kept, with its file and its result."""
    embedder_model: str | None = None
    """SigLIP model for similarity: a local folder or a hub id (extra ``embed``). Default: no weights."""
    sam_model: str | None = None
    """SAM-family model for prompts: a local folder or a hub id (extra ``sam``). Default: no weights."""
    detector_model: str | None = None
    """Open-vocabulary detector: a local folder or a hub id (extra ``openvocab``). Default: none."""
    vision_api: str | None = None
    """``anthropic`` or ``openai``: send pictures to that provider's vision model where no engine of this
    machine can find a class. Default: nothing leaves the house."""
    vision_model: str | None = None
    """Name of that vision model. Default: the provider's usual one here."""
    v7_url: str | None = None
    """Where V7 Darwin is, for imports from it. Default: its public address."""
    roboflow_url: str | None = None
    """Where Roboflow's API is, for imports from it. Default: its public address."""
    top_up_url: str | None = None
    """Where people buy credits; told to whoever runs out. Default: the command for owners."""

    oauth_issuer: str | None = None
    """Authorization server whose access tokens MCP clients may send to ``/mcp`` instead of an API key;
    needs ``base_url``. Default: API keys only."""
    oauth_audience: str | None = None
    """What a token must be made out to. Default: ``base_url`` with ``/mcp``."""
    oauth_jwks_url: str | None = None
    """Where the keys are that tokens are signed with. Default: as the issuer's metadata says."""
    oauth_introspection_url: str | None = None
    """Where tokens are asked about instead, for those that are no JWT."""
    oauth_client_id: str | None = None
    """This server's name at the introspection endpoint."""
    oauth_client_secret: str | None = None
    """Its password there."""

    log_format: str = "text"
    """``text``, or ``json``: one JSON object per line, and a line per call, on stderr."""
    metrics: bool = False
    """Whether calls are counted and ``tintype serve`` answers ``/metrics`` (extra ``telemetry``)."""
    traces: bool = False
    """Whether calls become OpenTelemetry spans, sent as ``OTEL_*`` says (extra ``telemetry``)."""

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
            max_response_tokens=_whole_number(
                "MAX_RESPONSE_TOKENS", get("MAX_RESPONSE_TOKENS"), DEFAULT_RESPONSE_TOKENS
            ),
            toolsets=parse_toolsets(toolsets) if toolsets else None,
            read_only=_yes_or_no("READ_ONLY", get("READ_ONLY")),
            confirm_by=_one_of("CONFIRM_BY", get("CONFIRM_BY"), ("token", "human")),
            confirm_above_credits=_whole_number(
                "CONFIRM_ABOVE_CREDITS", get("CONFIRM_ABOVE_CREDITS"), DEFAULT_CONFIRM_ABOVE, least=0
            ),
            call_seconds=_whole_number("CALL_SECONDS", get("CALL_SECONDS"), DEFAULT_CALL_SECONDS, least=1),
            worker_processes=_whole_number("WORKER_PROCESSES", get("WORKER_PROCESSES"), 0, least=1) or None,
            prediction_days=_whole_number(
                "PREDICTION_DAYS", get("PREDICTION_DAYS"), DEFAULT_PREDICTION_DAYS, least=1
            ),
            embedder_model=get("EMBEDDER_MODEL"),
            sam_model=get("SAM_MODEL"),
            detector_model=get("DETECTOR_MODEL"),
            vision_api=_one_of("VISION_API", get("VISION_API"), ("anthropic", "openai"))
            if get("VISION_API")
            else None,
            vision_model=get("VISION_MODEL"),
            v7_url=_web_address("V7_URL", get("V7_URL")),
            roboflow_url=_web_address("ROBOFLOW_URL", get("ROBOFLOW_URL")),
            top_up_url=get("TOP_UP_URL"),
            oauth_issuer=_web_address("OAUTH_ISSUER", get("OAUTH_ISSUER")),
            oauth_audience=get("OAUTH_AUDIENCE"),
            oauth_jwks_url=_web_address("OAUTH_JWKS_URL", get("OAUTH_JWKS_URL")),
            oauth_introspection_url=_web_address("OAUTH_INTROSPECTION_URL", get("OAUTH_INTROSPECTION_URL")),
            oauth_client_id=get("OAUTH_CLIENT_ID"),
            oauth_client_secret=get("OAUTH_CLIENT_SECRET"),
            log_format=_one_of("LOG_FORMAT", get("LOG_FORMAT"), ("text", "json")),
            metrics=_yes_or_no("METRICS", get("METRICS")),
            traces=_yes_or_no("TRACES", get("TRACES")),
        )

    def overridden(
        self,
        *,
        home: str | None = None,
        api_key: str | None = None,
        roots: Sequence[str] = (),
        base_url: str | None = None,
        toolsets: str | None = None,
        read_only: bool = False,
        max_response_tokens: int | None = None,
    ) -> Settings:
        """These settings with what a command's flags say; None leaves a setting alone, roots are added.

        ``read_only`` can be switched on here, never off.
        """
        changes: dict[str, Any] = {
            "home": _path(home) if home else None,
            "api_key": api_key,
            "roots": (*self.roots, *map(_path, roots)) if roots else None,
            "base_url": base_url.rstrip("/") if base_url else None,
            "toolsets": parse_toolsets(toolsets) if toolsets is not None else None,
            "read_only": read_only or None,
            "max_response_tokens": max_response_tokens,
        }
        return replace(self, **{k: v for k, v in changes.items() if v is not None})

    def offered_toolsets(
        self, key_toolsets: frozenset[str] | None, asked: frozenset[str] | None = None
    ) -> frozenset[str] | None:
        """Toolsets that are offered by this process, open to the key and asked for; None for all."""
        offered = None if self.toolsets is None else frozenset(self.toolsets)
        limits = [limit for limit in (offered, key_toolsets, asked) if limit is not None]
        return frozenset.intersection(*limits) if limits else None


def parse_toolsets(text: str) -> tuple[str, ...]:
    """Toolset names of a comma-separated list, or all for ``all``; an unknown name, or none, is an error."""
    from tintype_tools.snapshot import load_snapshot

    known = sorted({tool["toolset"] for tool in load_snapshot()["tools"]})
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names == (EVERY_TOOLSET,):
        return tuple(known)
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


def _one_of(name: str, value: str | None, choices: tuple[str, ...]) -> str:
    """A choice; the first is the default."""
    if value is None:
        return choices[0]
    if value not in choices:
        raise InvalidInput(
            f"TINTYPE_{name} must be one of {', '.join(choices)}, not {printable(value[:40])!r}.",
            code="invalid_setting",
            fix=f"Use {' or '.join(choices)}.",
        )
    return value


def _web_address(name: str, value: str | None) -> str | None:
    """An http(s) address without a slash at the end."""
    if value is not None and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", value):
        raise InvalidInput(
            f"TINTYPE_{name} must be an http(s) address, not {printable(value[:80])!r}.",
            code="invalid_setting",
            fix="Use an address such as https://darwin.example.com, without user name or query.",
        )
    return None if value is None else value.rstrip("/")


def _whole_number(name: str, value: str | None, default: int, *, least: int | None = None) -> int:
    if value is None:
        return default
    if not re.fullmatch("-?[0-9]{1,9}", value):
        raise InvalidInput(
            f"TINTYPE_{name} must be a whole number of at most nine digits, not {printable(value[:40])!r}.",
            code="invalid_setting",
            fix=f"Use a number such as {default}.",
        )
    if least is not None and int(value) < least:
        raise InvalidInput(
            f"TINTYPE_{name} must be at least {least}, not {value}.",
            code="invalid_setting",
            fix=f"Use a number such as {default}.",
        )
    return int(value)


def _yes_or_no(name: str, value: str | None) -> bool:
    """``1`` or ``true``, ``0`` or ``false``, in any case; off when it is not set."""
    found = SWITCHES.get((value or "0").lower())
    if found is None:
        raise InvalidInput(
            f"TINTYPE_{name} must be 1, 0, true or false, not {printable((value or '')[:40])!r}.",
            code="invalid_setting",
            fix="Use 1 to switch it on, or unset it.",
        )
    return found


def default_home() -> Path:
    """The platform's folder for this application's data."""
    from platformdirs import user_data_path

    return user_data_path("tintype", appauthor=False)
