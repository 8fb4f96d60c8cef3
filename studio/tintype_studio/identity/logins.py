"""Names and passwords, for clients that log in with them and know no keys.

A login has an API key of its own, whose secret follows from the workspace's secret and from the login's id
(as in ``identity/grants``); role, limits, history and revocation are that key's. Passwords are kept as scrypt
hashes. After some wrong ones in a row, none is taken for a while.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import threading
import time
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from tintype_studio.identity.key_limits import Limits, inherited
from tintype_studio.identity.key_rows import Actor, act, insert_key, member_role, void_invites, works
from tintype_studio.identity.keys import Keys, Principal
from tintype_studio.identity.people import clean_email
from tintype_studio.identity.permissions import require, require_role_within
from tintype_studio.identity.roles import Role, parse_role
from tintype_studio.names import clean_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.login_tables import logins
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import api_keys, memberships, users

MAX_USERNAME = 254
MIN_PASSWORD, MAX_PASSWORD = 8, 1024
FREE_FAILURES = 5
"""Wrong passwords in a row before the name has to wait."""
MAX_WAIT = timedelta(minutes=15)
CACHE_SECONDS = 0.5
"""A token that is taken back opens nothing more after this time, in every process."""

_COST = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 1024**2}


@dataclass(frozen=True, slots=True)
class Login:
    """A name that can log in. ``key_prefix`` is of the key that it acts with."""

    id: str
    username: str
    role: Role
    key_prefix: str
    is_active: bool
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """A login whose password was right: what a token is made of."""

    login_id: str
    username: str
    generation: int


class Logins:
    """The logins of every organization; a name is taken once in all of them. Thread-safe."""

    def __init__(self, database: Database, signer: Signer, keys: Keys) -> None:
        self._db = database
        self._signer = signer
        self._keys = keys
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[float, int | None]] = {}

    def add(
        self, principal: Principal, *, username: str, role: Role | str, password: str | None = None
    ) -> tuple[Login, str]:
        """Make a login and its key; returns it with the password, a random one unless it is given.

        A name that is the e-mail address of a member is the member's: its key has no role above the member's
        and ends with the membership. The key's limits are the principal's own.

        Raises ``InvalidInput`` (``invalid_name``, ``invalid_password``, ``invalid_role``), ``Forbidden`` for
        a role above the principal's or the member's, ``Conflict`` (``username_taken``).
        """
        name, wanted = _clean_username(username), parse_role(role)
        password = secrets.token_urlsafe(16) if password is None else _clean_password(password)
        password_hash = _hashed(password)
        login_id = clock.new_id()
        with self._db.write() as connection:
            actor = act(connection, principal, "keys.create")
            require_role_within(actor, wanted, "make a login")
            if connection.execute(sa.select(logins.c.id).where(logins.c.username == name)).first():
                raise _taken(name)
            member = _member(connection, actor, name, wanted)
            secret = insert_key(
                connection,
                self._signer,
                organization_id=actor.organization_id,
                name=f"Login: {name}"[:100],
                role=wanted,
                limits=inherited(Limits(wanted), actor.limits),
                user_id=member,
                secret=self._secret(login_id),
            )
            key = connection.execute(
                sa.select(api_keys.c.id).where(api_keys.c.hash == self._signer.hash_key(secret))
            ).scalar_one()
            connection.execute(
                sa.insert(logins).values(
                    uuid=login_id,
                    organization_id=actor.organization_id,
                    api_key_id=key,
                    username=name,
                    password_hash=password_hash,
                    created_at=clock.now(),
                )
            )
            return _login(_find(connection, actor.organization_id, name)), password

    def list(self, principal: Principal) -> list[Login]:
        """The organization's logins, oldest first."""
        require(principal, "keys.list")
        with self._db.read() as connection:
            rows = connection.execute(_rows(principal.organization_id).order_by(logins.c.id)).mappings()
            return [_login(row) for row in rows]

    def set_password(
        self, principal: Principal, username: str, password: str | None = None
    ) -> tuple[Login, str]:
        """Give a login another password, a random one unless it is given; tokens of before open nothing more.

        Also ends a wait after wrong passwords. Raises ``NotFound``, ``InvalidInput`` (``invalid_password``),
        ``Forbidden`` for a login whose role is above the principal's.
        """
        password = secrets.token_urlsafe(16) if password is None else _clean_password(password)
        password_hash = _hashed(password)
        with self._db.write() as connection:
            actor = act(connection, principal, "keys.update")
            row = _find(connection, actor.organization_id, username)
            require_role_within(actor, Role(row["role"]), "change a login")
            connection.execute(
                sa.update(logins)
                .where(logins.c.id == row["id"])
                .values(
                    password_hash=password_hash,
                    generation=logins.c.generation + 1,
                    failures=0,
                    locked_until=None,
                )
            )
            login = _login(row)
        self._db.after_commit(self.forget)
        return login, password

    def remove(self, principal: Principal, username: str) -> Login:
        """Take a login away; its key is revoked and stays in the list. Raises as ``set_password`` does."""
        with self._db.write() as connection:
            actor = act(connection, principal, "keys.revoke")
            row = _find(connection, actor.organization_id, username)
            require_role_within(actor, Role(row["role"]), "remove a login")
            connection.execute(
                sa.update(api_keys).where(api_keys.c.id == row["key_id"]).values(is_active=False)
            )
            void_invites(connection, [row["key_uuid"]])
            connection.execute(sa.delete(logins).where(logins.c.id == row["id"]))
            login = _login(row)
        self._db.after_commit(self.forget)
        return login

    def open(self, username: str, password: str) -> Session:
        """Check a password. Slow on purpose: some 100 ms and 32 MiB.

        Raises ``Unauthorized`` (``invalid_login``), the same for a name that is unknown, has to wait, or
        whose key works no more.
        """
        name = unicodedata.normalize("NFC", username).strip()
        query = (
            sa.select(logins, api_keys.c.is_active, api_keys.c.expires_at)
            .join(api_keys, api_keys.c.id == logins.c.api_key_id)
            .where(logins.c.username == printable(name))
        )
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        waits = row is not None and row["locked_until"] is not None and row["locked_until"] > clock.now()
        # As slow for a name that nobody has: else the time would tell which there are.
        right = _is_right(password, row["password_hash"] if row is not None else _nobodys_hash())
        if row is None or waits:
            raise _wrong()
        if not right:
            self._count_failure(row["id"])
            raise _wrong()
        with self._db.write() as connection:
            opened = connection.execute(
                sa.update(logins)
                .where(
                    logins.c.id == row["id"],
                    logins.c.password_hash == row["password_hash"],
                    sa.or_(logins.c.locked_until.is_(None), logins.c.locked_until <= clock.now()),
                )
                .values(failures=0, locked_until=None, last_used_at=clock.now())
            ).rowcount
        if not opened or not works(row):
            raise _wrong()
        return Session(row["uuid"], row["username"], row["generation"])

    def key_of(self, login_id: str, generation: int) -> str:
        """The API key of a login, for a token of this generation.

        Raises ``Unauthorized`` (``invalid_token``) when the login is gone or its tokens were taken back.
        Whether the key works is for ``Keys.authenticate``.
        """
        known = self._cache.get(login_id)
        if known is None or not self.knows(login_id):
            with self._db.read() as connection:
                found = connection.execute(
                    sa.select(logins.c.generation).where(logins.c.uuid == login_id)
                ).scalar()
            known = (time.monotonic(), found)
            with self._lock:
                if len(self._cache) > 10_000:
                    self._cache.clear()
                self._cache[login_id] = known
        if known[1] is None or known[1] != generation:
            raise Unauthorized("The token was taken back.", code="invalid_token", fix="Log in again.")
        return self._secret(login_id)

    def knows(self, login_id: str) -> bool:
        """Whether ``key_of`` can do without the database: the login was looked up a moment ago."""
        known = self._cache.get(login_id)
        return known is not None and time.monotonic() - known[0] < CACHE_SECONDS

    def end_sessions(self, login_id: str) -> None:
        """Log out everywhere: tokens of before open nothing more."""
        with self._db.write() as connection:
            connection.execute(
                sa.update(logins).where(logins.c.uuid == login_id).values(generation=logins.c.generation + 1)
            )
        self._db.after_commit(self.forget)

    def forget(self) -> None:
        """Look every login and key up anew from now on."""
        with self._lock:
            self._cache.clear()
        self._keys.forget()

    def _count_failure(self, row_id: int) -> None:
        with self._db.write() as connection:
            failures = connection.execute(
                sa.update(logins)
                .where(logins.c.id == row_id)
                .values(failures=logins.c.failures + 1)
                .returning(logins.c.failures)
            ).scalar()
            over = (failures or 0) - FREE_FAILURES
            if over >= 0:
                wait = min(timedelta(seconds=30) * 2 ** min(over, 10), MAX_WAIT)
                connection.execute(
                    sa.update(logins).where(logins.c.id == row_id).values(locked_until=clock.now() + wait)
                )

    def _secret(self, login_id: str) -> str:
        return self._signer.key_for(orjson.dumps(["login", login_id]))


def _rows(organization_id: int) -> sa.Select[Any]:
    return (
        sa.select(
            logins,
            api_keys.c.id.label("key_id"),
            api_keys.c.uuid.label("key_uuid"),
            api_keys.c.prefix,
            api_keys.c.role,
            api_keys.c.is_active,
            api_keys.c.expires_at,
        )
        .join(api_keys, api_keys.c.id == logins.c.api_key_id)
        .where(logins.c.organization_id == organization_id)
    )


def _find(connection: sa.Connection, organization_id: int, username: str) -> sa.RowMapping:
    name = printable(unicodedata.normalize("NFC", username).strip())
    row = connection.execute(_rows(organization_id).where(logins.c.username == name)).mappings().first()
    if row is None:
        raise NotFound(
            f"No login has the name {printable(name[:40])!r}.",
            code="login_not_found",
            fix="List them with `tintype users list`.",
        )
    return row


def _login(row: sa.RowMapping) -> Login:
    return Login(
        id=row["uuid"],
        username=row["username"],
        role=Role(row["role"]),
        key_prefix=row["prefix"],
        is_active=works(row),
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
    )


def _member(connection: sa.Connection, actor: Actor, name: str, role: Role) -> int | None:
    """The member's user row where the name is a member's address; it then has to cover the role."""
    try:
        email = clean_email(name)
    except InvalidInput:
        return None
    user = connection.execute(
        sa.select(users.c.id)
        .join(memberships, memberships.c.user_id == users.c.id)
        .where(
            users.c.email == email,
            memberships.c.organization_id == actor.organization_id,
            memberships.c.removed_at.is_(None),
        )
    ).scalar()
    if user is None:
        return None
    most = member_role(connection, actor.organization_id, user)
    if most is not None and not most.covers(role):
        raise Forbidden(
            f"The member has the role {most}, so the login cannot have {role}.",
            fix="Raise the member's role first (`tintype members set-role`).",
            details={"required_role": role.value, "role": most.value},
        )
    return int(user)


def _clean_username(username: str) -> str:
    return clean_name(unicodedata.normalize("NFC", username).strip(), "User name", max_length=MAX_USERNAME)


def _clean_password(password: str) -> str:
    if not isinstance(password, str) or not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidInput(
            f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.",
            code="invalid_password",
            fix="Choose another, or leave it out for a random one.",
        )
    return password


def _hashed(password: str) -> str:
    salt = os.urandom(16)
    parts = (salt, _scrypt(password, salt))
    return "$".join(["scrypt", "15", "8", "1", *(base64.b64encode(part).decode() for part in parts)])


def _is_right(password: str, kept: str) -> bool:
    salt, digest = (base64.b64decode(part) for part in kept.split("$")[4:])
    return hmac.compare_digest(_scrypt(password[: MAX_PASSWORD + 1], salt), digest)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **_COST)


def _nobodys_hash() -> str:
    return "$".join(["scrypt", "15", "8", "1", base64.b64encode(bytes(16)).decode(), "A" * 43 + "="])


def _taken(name: str) -> Conflict:
    return Conflict(
        f"The user name {printable(name[:40])!r} is taken.",
        code="username_taken",
        fix="Choose another, or give it another password (`tintype users passwd`).",
    )


def _wrong() -> Unauthorized:
    return Unauthorized(
        "The user name or the password is wrong, or too many wrong ones came lately.",
        code="invalid_login",
        fix="Check both; after five wrong passwords, wait up to 15 minutes or ask an admin for a new one.",
    )
