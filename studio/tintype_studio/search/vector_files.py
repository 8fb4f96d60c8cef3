"""Vectors of one dataset and embedder as a memory-mapped file: a copy of what the database holds.

The folder may be deleted at any time. Rows are appended under a lock, then ``state.json`` is replaced
whole: a reader sees a finished state or the one before it. Where rows went away, a new generation of the
files is written beside the old one. Content that does not fit its checksum is made again.
"""

from __future__ import annotations

import fcntl
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_DEAD = 0.1
"""Share of rows that are gone from the database at which the files are written anew without them."""

CHUNK = 4096
"""Rows that are copied or checked at a time."""

Fetch = Callable[["NDArray[np.int64]"], "NDArray[np.float32]"]
"""The vectors of some sample ids, (n, dimensions), in their order."""


@dataclass(frozen=True, slots=True)
class State:
    """What the files hold."""

    generation: int
    count: int
    dimensions: int
    version: int
    """Of the database's vectors, all of which are in the files."""
    checksum: int
    """CRC-32 of the vectors."""
    key_checksum: int


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """Open files: ``vectors`` (count, dimensions) float32, ``tokens`` and ``sample_ids`` (count,) int64."""

    state: State
    vectors: NDArray[np.float32]
    tokens: NDArray[np.int64]
    sample_ids: NDArray[np.int64]


class VectorFiles:
    """The files of one dataset and embedder. Safe for many processes; one object is for one at a time."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        self.folder = folder
        self._dimensions = dimensions
        self._open: Mapped | None = None
        self.turn = threading.Lock()
        """To be held while the object is used."""

    def current(self, version: int) -> Mapped | None:
        """The files if they are whole and at ``version``."""
        mapped = self._read()
        return mapped if mapped is not None and mapped.state.version == version else None

    def bring_to(self, version: int, keys: NDArray[np.int64], fetch: Fetch) -> Mapped:
        """Make the files hold all ``keys``, (n, 2) int64 of token and sample id, in any order.

        A few rows that are gone may stay in them; whoever searches looks the best ones up.
        """
        import numpy as np

        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            mapped = self._read()
            tokens = keys[:, 0]
            # Another process may have come first, with a later version.
            if (
                mapped is not None
                and mapped.state.version >= version
                and np.isin(tokens, mapped.tokens).all()
            ):
                return mapped
            if mapped is not None and _dead_share(mapped, tokens) <= MOST_DEAD:
                fresh = keys[~np.isin(tokens, mapped.tokens)]
                state = self._append(mapped.state, version, fresh, fetch)
            else:
                state = self._rewrite(mapped, version, keys, fetch)
            self._sweep(state)
            mapped = self._read()
            if mapped is None or mapped.state != state:
                raise OSError("the vector files cannot be read back")
            return mapped

    def path(self, state: State, kind: str) -> Path:
        """The file of a generation: ``vectors``, ``keys`` or an index over them."""
        return self.folder / f"{kind}.{state.generation}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> Mapped | None:
        """Open the files; None if they are missing, damaged or of another length of vectors."""
        for _ in range(3):
            state = self._state()
            if state is None or state.dimensions != self._dimensions:
                return None
            known = self._open
            if known is not None and known.state == state and self.path(state, "vectors").exists():
                return known
            try:
                mapped = self._map(state)
            except FileNotFoundError:  # a new generation came between the two looks
                continue
            except (OSError, ValueError):
                return None
            if not self._is_whole(mapped, known):
                return None
            self._open = mapped
            return mapped
        return None

    def _state(self) -> State | None:
        try:
            state = State(**orjson.loads((self.folder / "state.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return state if all(isinstance(value, int) for value in asdict(state).values()) else None

    def _map(self, state: State) -> Mapped:
        import numpy as np

        shape = (state.count, state.dimensions)
        if state.count == 0:
            empty = np.zeros(0, np.int64)
            return Mapped(state, np.zeros(shape, np.float32), empty, empty)
        vectors = np.memmap(self.path(state, "vectors"), np.float32, "r", shape=shape)
        keys = np.fromfile(self.path(state, "keys"), np.int64, 2 * state.count).reshape(state.count, 2)
        return Mapped(state, vectors, keys[:, 0].copy(), keys[:, 1].copy())

    def _is_whole(self, mapped: Mapped, known: Mapped | None) -> bool:
        """Compare checksums; of files that only grew, the new part alone is read."""
        import numpy as np

        state = mapped.state
        keys = np.stack([mapped.tokens, mapped.sample_ids], axis=1)
        if zlib.crc32(keys.tobytes()) != state.key_checksum:
            return False
        # The later start is tried first; it fits unless the folder was deleted and made anew.
        if known is not None and known.state.count <= state.count:
            grown = _checksum(mapped.vectors, known.state.count, known.state.checksum)
            if grown == state.checksum:
                return True
        return _checksum(mapped.vectors, 0, 0) == state.checksum

    def _append(self, before: State, version: int, fresh: NDArray[np.int64], fetch: Fetch) -> State:
        # What a process that died had begun to append lies behind the counted rows and is cut off.
        for kind, width in (("vectors", 4 * self._dimensions), ("keys", 16)):
            with self.path(before, kind).open("ab") as file:
                file.truncate(before.count * width)
        return self._write(before, before.generation, version, fresh, fetch)

    def _rewrite(self, mapped: Mapped | None, version: int, keys: NDArray[np.int64], fetch: Fetch) -> State:
        """A new generation: rows that stay are copied, the others fetched."""
        import numpy as np

        found = self._state()
        taken = [int(p.suffix[1:]) for p in self.folder.glob("*.*") if p.suffix[1:].isdigit()]
        generation = max([*taken, found.generation if found else 0], default=0) + 1
        old = np.argsort(mapped.tokens) if mapped is not None and len(mapped.tokens) else None

        def fetch_or_copy(ids: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
            if mapped is None or old is None:
                return fetch(ids)
            place = np.searchsorted(mapped.tokens, tokens, sorter=old).clip(max=len(old) - 1)
            rows = old[place]
            there = mapped.tokens[rows] == tokens
            out = np.empty((len(ids), self._dimensions), np.float32)
            out[there] = mapped.vectors[rows[there]]
            if not there.all():
                out[~there] = fetch(ids[~there])
            return out

        empty = State(generation, 0, self._dimensions, 0, 0, 0)
        for kind in ("vectors", "keys"):
            self.path(empty, kind).write_bytes(b"")
        return self._write(empty, generation, version, keys, fetch, fetch_or_copy)

    def _write(
        self,
        before: State,
        generation: int,
        version: int,
        keys: NDArray[np.int64],
        fetch: Fetch,
        fetch_or_copy: Callable[..., NDArray[np.float32]] | None = None,
    ) -> State:
        import numpy as np

        checksum, key_checksum = before.checksum, before.key_checksum
        with (
            self.path(before, "vectors").open("ab") as vectors,
            self.path(before, "keys").open("ab") as names,
        ):
            for start in range(0, len(keys), CHUNK):
                part = keys[start : start + CHUNK]
                rows = fetch_or_copy(part[:, 1], part[:, 0]) if fetch_or_copy else fetch(part[:, 1])
                data, pairs = rows.astype(np.float32, copy=False).tobytes(), part.tobytes()
                checksum = zlib.crc32(data, checksum)
                key_checksum = zlib.crc32(pairs, key_checksum)
                vectors.write(data)
                names.write(pairs)
            for file in (vectors, names):
                file.flush()
                os.fsync(file.fileno())
        state = State(generation, before.count + len(keys), self._dimensions, version, checksum, key_checksum)
        temporary = self.folder / "state.json.new"
        temporary.write_bytes(orjson.dumps(asdict(state)))
        temporary.replace(self.folder / "state.json")
        return state

    def _sweep(self, state: State) -> None:
        """Remove earlier generations; who has them open keeps reading them."""
        for path in self.folder.glob("*.*"):
            number = path.suffix[1:]
            if number.isdigit() and int(number) != state.generation:
                with suppress(OSError):
                    path.unlink()


def _checksum(vectors: NDArray[np.float32], start: int, checksum: int) -> int:
    """CRC-32 over the rows from ``start`` on, going on from ``checksum``."""
    for row in range(start, len(vectors), CHUNK):
        checksum = zlib.crc32(vectors[row : row + CHUNK].tobytes(), checksum)
    return checksum


def _dead_share(mapped: Mapped, tokens: NDArray[np.int64]) -> float:
    import numpy as np

    return 1 - float(np.isin(mapped.tokens, tokens).mean()) if mapped.state.count else 0.0
