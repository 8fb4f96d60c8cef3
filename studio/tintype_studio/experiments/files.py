"""Files of sessions and tasks: artifacts, checkpoints, metrics, data. Bytes first, then all rows at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.names import UNPRINTED, printable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.session_tables import session_files, tasks, training_sessions, validation_sessions
from tintype_studio.storage.sweep import keep_blobs, mark_unused

MAX_PATH = 500
MAX_PART = 200
MAX_FILES = 10_000
"""Of one session or task."""
MAX_BYTES = 10 * 1024**3
"""Of one file."""


class Owner(StrEnum):
    """What files belong to."""

    TRAINING = "training"
    VALIDATION = "validation"
    TASK = "task"


_TABLES = {
    Owner.TRAINING: training_sessions,
    Owner.VALIDATION: validation_sessions,
    Owner.TASK: tasks,
}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file. ``size`` in bytes; what is made on the spot lies in ``data`` and not in the blob store."""

    path: str
    """Relative, with slashes: ``artifacts/model.onnx``."""
    size: int
    sha256: str | None
    created_at: datetime
    data: bytes | None = None

    @property
    def name(self) -> str:
        """Its last part."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file on its way in: where it is to stand, and where it lies now or what it holds."""

    path: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


class SessionFiles:
    """Files of sessions and tasks that the caller has looked up for its principal. Thread-safe."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._db = database
        self._blobs = blobs

    def list(self, owner: Owner, row_id: int) -> Sequence[StoredFile]:
        """All files, by path."""
        query = _of(owner, row_id).order_by(session_files.c.path)
        with self._db.read() as connection:
            return [_file(row) for row in connection.execute(query).mappings()]

    def find(self, owner: Owner, row_id: int, path: str) -> StoredFile | None:
        """The file at a path, or None."""
        query = _of(owner, row_id).where(
            session_files.c.path == unicodedata.normalize("NFC", printable(path))
        )
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _file(row)

    def stream(self, file: StoredFile) -> Iterator[bytes]:
        """A file's bytes in pieces."""
        if file.sha256 is None:
            return iter([file.data or b""])
        return self._blobs.stream(file.sha256)

    def put(
        self, principal: Principal, owner: Owner, row_id: int, incoming: Sequence[Incoming]
    ) -> Sequence[StoredFile]:
        """Keep files, all or none; one that stands at a path already is replaced.

        Raises InvalidInput (``invalid_file_path``, ``duplicate_file``), TooLarge, Conflict
        (``too_many_files``), NotFound when the session is gone meanwhile.
        """
        paths = [clean_path(each.path) for each in incoming]
        if len(set(paths)) < len(paths):
            raise InvalidInput(
                "Two of the files have one path.", code="duplicate_file", fix="Give each its own path."
            )
        for path, each in zip(paths, incoming, strict=True):
            if each.size > MAX_BYTES:
                raise TooLarge(
                    f"{path!r} is larger than {MAX_BYTES // 1024**3} GiB.",
                    code="file_too_large",
                    fix="Split it, or compress it.",
                )
        now, kept = clock.now(), []
        for path, each in zip(paths, incoming, strict=True):
            if isinstance(each.source, bytes):
                sha256, size = self._blobs.put(each.source), len(each.source)
            else:
                with each.source.open("rb") as data:
                    sha256, size = self._blobs.put_file(data)
            kept.append(StoredFile(path, size, sha256, now))
        with self._db.write() as connection:
            self._record(connection, principal, owner, row_id, kept)
        return kept

    def _record(
        self,
        connection: sa.Connection,
        principal: Principal,
        owner: Owner,
        row_id: int,
        kept: Sequence[StoredFile],
    ) -> None:
        require_living(connection, principal, owner, row_id)
        digests = {each.sha256 for each in kept if each.sha256 is not None}
        if not keep_blobs(connection, digests, self._blobs.exists):
            raise Unavailable("A purge removed the same bytes just now.", code="file_raced", retryable=True)
        here = sa.and_(
            session_files.c.owner == owner.value,
            session_files.c.owner_id == row_id,
            session_files.c.path.in_([each.path for each in kept]),
        )
        before = set(connection.execute(sa.select(session_files.c.sha256).where(here)).scalars())
        connection.execute(sa.delete(session_files).where(here))
        if kept:
            connection.execute(
                sa.insert(session_files),
                [
                    {
                        "organization_id": principal.organization_id,
                        "owner": owner.value,
                        "owner_id": row_id,
                        "path": each.path,
                        "sha256": each.sha256,
                        "size": each.size,
                        "created_at": each.created_at,
                    }
                    for each in kept
                ],
            )
        count = sa.select(sa.func.count()).where(
            session_files.c.owner == owner.value, session_files.c.owner_id == row_id
        )
        if connection.execute(count).scalar_one() > MAX_FILES:
            raise Conflict(
                f"A session or task has at most {MAX_FILES:,} files.",
                code="too_many_files",
                fix="Pack several into one archive.",
            )
        if gone := before - digests:
            mark_unused(self._db, connection, gone)


def require_living(connection: sa.Connection, principal: Principal, owner: Owner, row_id: int) -> None:
    """Lock the row of a session or task; ``NotFound`` when it is deleted."""
    table = _TABLES[owner]
    query = sa.select(table.c.id).where(
        table.c.id == row_id, table.c.organization_id == principal.organization_id
    )
    if "deleted_at" in table.c:
        query = query.where(table.c.deleted_at.is_(None))
    if connection.execute(query.with_for_update()).first() is None:
        raise NotFound(
            f"The {owner} is gone.",
            code=f"{owner}_not_found",
            fix="It was deleted meanwhile; list what is there.",
        )


def clean_path(path: str) -> str:
    r"""A relative path that stays inside its session, in NFC.

    Refused (``invalid_file_path``): an absolute one, empty parts, ``.`` and ``..``, ``\``, control
    characters, parts that begin or end with a space, more than 500 characters.
    """
    path = unicodedata.normalize("NFC", path)
    parts = path.split("/")
    broken = any(unicodedata.category(char) in UNPRINTED for char in path)
    if broken or "\\" in path or len(path) > MAX_PATH or not all(_is_part(part) for part in parts):
        raise InvalidInput(
            f"{printable(path[:100])!r} is no path of a file.",
            code="invalid_file_path",
            fix="Use a relative path such as artifacts/model.onnx, of up to 500 characters, without '..'.",
        )
    return path


def _is_part(part: str) -> bool:
    return 0 < len(part) <= MAX_PART and part not in {".", ".."} and part == part.strip() and part[1:2] != ":"


def _of(owner: Owner, row_id: int) -> sa.Select[tuple[object, ...]]:
    return sa.select(session_files).where(
        session_files.c.owner == owner.value, session_files.c.owner_id == row_id
    )


def _file(row: sa.RowMapping) -> StoredFile:
    return StoredFile(row["path"], row["size"], row["sha256"], row["created_at"])
