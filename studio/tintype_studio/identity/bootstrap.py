"""First start: one local organization, its account and an owner key."""

from __future__ import annotations

import fcntl
import os
import tomllib
from pathlib import Path

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Unavailable
from tintype_studio.identity.keys import insert_key
from tintype_studio.identity.roles import Role
from tintype_studio.storage.database import Database
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import accounts, ledger_entries, organizations, projects

LOCAL_ALLOWANCE = 1_000
"""Whole credits that the local organization starts with.

The account also carries the number as its monthly allowance, but nothing grants credits by the month yet:
the reset comes with the ledger's next step.
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


def save_credentials(home: Path, api_key: str) -> None:
    """Write the key to ``<home>/config.toml``, readable by this user only."""
    path = home / "config.toml"
    temporary = home / "config.toml.part"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f'[default]\napi_key = "{api_key}"\n')
    temporary.replace(path)


def saved_api_key(home: Path) -> str | None:
    """The key in ``<home>/config.toml``, if there is one; ``Unavailable`` when the file cannot be read."""
    try:
        content = tomllib.loads((home / "config.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _unreadable("is not valid TOML") from error
    default = content.get("default")
    key = default.get("api_key") if isinstance(default, dict) else None
    return key if isinstance(key, str) else None


def _unreadable(problem: str) -> Unavailable:
    return Unavailable(
        f"The workspace's config.toml, which holds the owner key, {problem}.",
        code="config_damaged",
        fix="Restore config.toml, or give a key with --api-key or TINTYPE_API_KEY.",
        retryable=False,
    )
