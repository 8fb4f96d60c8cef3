"""Short writes of many callers in one transaction.

One caller at a time writes for all that wait, then wakes them at once, and tells one of those that came
meanwhile to do the same. Whoever was served need not wait for a turn to hear of it: the more callers there
are, the more of them share a commit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import sqlalchemy as sa

from tintype_studio.storage.failures import busy, part, plain_errors, require_open

MOST_TOGETHER = 64
"""Pieces of writing in one transaction."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Begin(Protocol):
    """Begins a transaction on SQLite, under the writers' lock."""

    def __call__(self, *, durable: bool | Callable[[], bool]) -> AbstractContextManager[sa.Connection]:
        """``durable`` may be found out when the lock is held."""


class Joint(Protocol[T_co]):
    """A piece of writing that costs less with others of its class than one after the other."""

    def __call__(self, connection: sa.Connection) -> T_co:
        """Write it by itself."""

    @classmethod
    def many(cls, connection: sa.Connection, pieces: Sequence[Self]) -> Sequence[T_co]:
        """Write several, and say what each gives: what they would do by themselves, in this order.

        When it raises, everything is taken back and each is written by itself; so it may refuse more than
        they would, and need not say whose fault it is.
        """


class Together:
    """Those who wait to write. Thread-safe."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self.pieces: deque[Piece[Any]] = deque()
        """What nobody has begun to write."""
        self._led = False
        """Whether one of those who wait writes now, or was told to."""
        self._turns = threading.Lock()
        """Guards the two above, for moments."""

    def run(self, work: Callable[[sa.Connection], T], *, durable: bool) -> T:
        """See ``Database.together``."""
        piece = Piece(work, durable=durable)
        with self._turns:
            self.pieces.append(piece)
            piece.leads, self._led = not self._led, True
        try:
            if not piece.leads:
                piece.wait()
            if piece.leads:
                self._write()
        finally:
            self._leave(piece)
        return piece.result()

    def _leave(self, piece: Piece[Any]) -> None:
        """Let the next one lead; whoever was interrupted takes along what nobody has begun to write."""
        with self._turns:
            if not piece.done and piece in self.pieces:
                self.pieces.remove(piece)
            if not piece.leads:
                return
            following = self.pieces[0] if self.pieces else None
            self._led = following is not None
            if following is not None:
                following.leads = True
                following.wake()

    def _write(self) -> None:
        """Write what waits."""
        taken: list[Piece[Any]] = []

        def take() -> bool:
            # Not before the writers' lock is held: more may come while it is another's.
            with self._turns:
                while self.pieces and len(taken) < MOST_TOGETHER:
                    taken.append(self.pieces.popleft())
            return any(piece.durable for piece in taken)

        try:
            # Savepoints cost as much as a short piece, and nearly always all of them go well.
            if not self._write_unparted(taken, take):
                with plain_errors, self._begin(durable=any(p.durable for p in taken)) as connection:
                    for piece in taken:
                        piece.run_apart(connection)
        except BaseException as error:
            for piece in taken:
                piece.fail(error)
            if not isinstance(error, Exception) or not taken:
                raise
        finally:
            for piece in taken:
                piece.done = True
                if not piece.leads:
                    piece.wake()

    def _write_unparted(self, pieces: Sequence[Piece[Any]], take: Callable[[], bool]) -> bool:
        """Write all pieces as one; False, and nothing written, when one of several raises."""
        try:
            with plain_errors, self._begin(durable=take) as connection:
                try:
                    for alike in _alike(pieces):
                        _run(connection, alike)
                except Exception as error:
                    if len(pieces) == 1:
                        raise
                    require_open(connection)
                    raise _TakenBack from error
        except _TakenBack:
            return False
        return True


def _alike(pieces: Sequence[Piece[Any]]) -> Iterable[list[Piece[Any]]]:
    """The pieces in their order; those of one kind come with the first of it."""
    kinds: dict[object, list[Piece[Any]]] = {}
    for piece in pieces:
        kinds.setdefault(piece.kind, []).append(piece)
    return kinds.values()


def _run(connection: sa.Connection, alike: Sequence[Piece[Any]]) -> None:
    """Do the work of one piece, or of several of a kind; they keep what comes of it for ``result``."""
    if len(alike) == 1:
        alike[0].value = alike[0].work(connection)
        return
    joint = cast("type[Joint[Any]]", alike[0].kind)
    values = joint.many(connection, [cast("Joint[Any]", piece.work) for piece in alike])
    for piece, value in zip(alike, values, strict=True):
        piece.value = value


class _TakenBack(Exception):
    """One of several pieces raised."""


class Piece(Generic[T]):
    """A piece of writing that waits for its turn. Its work may be done again, when it was taken back."""

    def __init__(self, work: Callable[[sa.Connection], T], *, durable: bool) -> None:
        self.durable = durable
        self.done = False
        self.leads = False
        """Whether its caller writes for all."""
        self.kind: object = type(work) if hasattr(work, "many") else self
        """The class of a ``Joint``; otherwise nobody else's."""
        self.work = work
        self.value: T | None = None
        self._error: BaseException | None = None
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self) -> None:
        """Until somebody wrote it, or it is told to lead."""
        self._gate.acquire()

    def wake(self) -> None:
        """End ``wait``; once."""
        self._gate.release()

    def run_apart(self, connection: sa.Connection) -> None:
        """Do the work as a part that is undone alone; keeps its value or error for ``result``."""
        try:
            with plain_errors, part(connection):
                self.value = self.work(connection)
        except Exception as error:
            self._error = error
            require_open(connection)

    def fail(self, error: BaseException) -> None:
        """The transaction did not commit, whatever the work said."""
        if self._error is None:
            self._error = error if isinstance(error, Exception) else busy()

    def result(self) -> T:
        """What the work gave, or the error that it or the commit raised."""
        if self._error is not None:
            raise self._error
        return cast("T", self.value)
