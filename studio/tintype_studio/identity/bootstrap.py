"""First start: one local organization, its account and an owner key."""

from __future__ import annotations

import fcntl
import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Unavailable
from tintype_studio.identity.key_rows import insert_key
from tintype_studio.identity.roles import Role
from tintype_studio.ledger.calendar import next_month
from tintype_studio.storage.database import Database
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import accounts, ledger_entries, organizations, projects

LOCAL_ALLOWANCE = 1_000
"""Whole credits that the local organization starts with.

They are its monthly allowance, too: what was spent of them comes back a month after the first start, and
every month from then on.
"""

DEFAULT_PROJECT = "default"


def ensure_local_organization(database: Database, signer: Signer, home: Path) -> None:
    """Make the local organization if the database has none, and save its owner key to ``config.toml``.

    The key file is written before the transaction commits: a crash in between leaves a file with a key
    that nobody knows, and the next start replaces it.
    """
    if _has_organization(database):
        return
    with (home / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _has_organization(database):
            return
        with database.write() as connection:
            organization_id = _insert_organization(connection)
            secret = insert_key(
                connection,
                signer,
                organization_id=organization_id,
                name="local owner",
                role=Role.OWNER,
            )
            save_credentials(home, secret)


def _has_organization(database: Database) -> bool:
    with database.read() as connection:
        return connection.execute(sa.select(organizations.c.id).limit(1)).first() is not None


def _insert_organization(connection: sa.Connection) -> int:
    now = clock.now()
    organization_id = int(
        connection.execute(
            sa.insert(organizations)
            .values(uuid=clock.new_id(), name="Local", slug="local", tier="enterprise", created_at=now)
            .returning(organizations.c.id)
        ).scalar_one()
    )
    connection.execute(
        sa.insert(accounts).values(
            organization_id=organization_id,
            balance=LOCAL_ALLOWANCE,
            monthly_allowance=LOCAL_ALLOWANCE,
            allowance_left=LOCAL_ALLOWANCE,
            reset_at=next_month(now),
        )
    )
    connection.execute(
        sa.insert(ledger_entries).values(
            uuid=clock.new_id(),
            organization_id=organization_id,
            operation="monthly_allowance",
            amount=LOCAL_ALLOWANCE,
            balance_after=LOCAL_ALLOWANCE,
            description="Allowance of the local organization",
            created_at=now,
        )
    )
    connection.execute(
        sa.insert(projects).values(
            uuid=clock.new_id(), organization_id=organization_id, name=DEFAULT_PROJECT, created_at=now
        )
    )
    return organization_id


def save_credentials(home: Path, api_key: str, *, previous: Sequence[str] = ()) -> None:
    """Write the key to ``<home>/config.toml``, readable by this user only, and keys that it replaced."""
    text = f'[default]\napi_key = "{api_key}"\n'
    if previous:
        text += "\n# Keys that were replaced and still worked then, the latest first.\n"
        listed = ", ".join(f'"{key}"' for key in previous)
        text += f"[previous]\napi_keys = [{listed}]\n"
    temporary = home / "config.toml.part"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(home / "config.toml")


def replace_credentials(home: Path, api_key: str, works: Callable[[str], bool]) -> list[str]:
    """Save another key; the one it replaces is kept beside it as long as ``works`` says that it works.

    Returns the keys that were kept, the latest first: for an owner's key there is no other copy. Raises
    ``Unavailable`` when the file that is there cannot be read, and leaves it alone.
    """
    with (home / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = _read_config(home)
        before = [content.get("default", {}).get("api_key"), *content.get("previous", {}).get("api_keys", [])]
        kept = [
            key for key in dict.fromkeys(before) if key != api_key and isinstance(key, str) and works(key)
        ]
        save_credentials(home, api_key, previous=kept)
    return kept


def saved_api_key(home: Path) -> str | None:
    """The key in ``<home>/config.toml``, if there is one; ``Unavailable`` when the file cannot be read."""
    key = _read_config(home).get("default", {}).get("api_key")
    return key if isinstance(key, str) else None


def _read_config(home: Path) -> dict[str, dict[str, Any]]:
    """The tables of ``config.toml``; none when there is no file."""
    try:
        content = tomllib.loads((home / "config.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _unreadable("is not valid TOML") from error
    return {name: table for name, table in content.items() if isinstance(table, dict)}


def _unreadable(problem: str) -> Unavailable:
    return Unavailable(
        f"The workspace's config.toml, which holds the owner key, {problem}.",
        code="config_damaged",
        fix="Restore config.toml, or give a key with --api-key or TINTYPE_API_KEY.",
        retryable=False,
    )
