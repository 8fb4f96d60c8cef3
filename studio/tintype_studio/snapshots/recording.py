"""MCAP recordings: their topics, and every message of some, at its place.

Records are read with the ``mcap`` library; walking through the file and unpacking of chunks is done here, so
that a length is believed only where the bytes are there, and a chunk expands to no more than it may.
Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tintype_studio.errors import InvalidInput, TintypeError, TooLarge
from tintype_studio.names import printable

if TYPE_CHECKING:
    from mcap.records import Chunk

MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK = 512 << 20
"""Bytes of a chunk, packed and unpacked; writers make chunks of a few MiB."""
MAX_RECORD = 1 << 30
MAX_SMALL = 16 << 20
"""Of a record that describes something: a schema, a channel, statistics."""
MAX_TOPICS = 1000
CHUNKS_IN_MEMORY = 4
BYTES_IN_MEMORY = 256 << 20

_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_SCHEMA, _CHANNEL, _MESSAGE_OP, _CHUNK, _DATA_END, _STATISTICS, _FOOTER = 3, 4, 5, 6, 15, 11, 2
_NAMES = {1: "header", 2: "footer", 3: "schema", 4: "channel", 5: "message", 6: "chunk", 7: "message index",
          8: "chunk index", 9: "attachment", 10: "attachment index", 11: "statistics", 12: "metadata",
          13: "metadata index", 14: "summary offset", 15: "end of data"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Topic:
    """A stream of messages."""

    name: str
    schema: str
    """Name of their type, such as ``sensor_msgs/msg/CompressedImage``; empty for none."""
    encoding: str
    """``cdr``, ``ros1``, ``protobuf``, ``json`` …"""
    count: int
    schema_data: bytes = b""
    schema_encoding: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a recording holds. Times in nanoseconds since 1970."""

    topics: list[Topic]
    start: int
    end: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return max(0, self.end - self.start) / 1e9


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message's bytes are: in the chunk at ``chunk``, or in the file itself where that is None."""

    chunk: int | None
    at: int
    size: int


class ChunkCache:
    """Unpacked chunks of all recordings that are read together. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._chunks)

    def get(self, key: tuple[int, int]) -> bytes | None:
        """A chunk that is still there."""
        with self._lock:
            found = self._chunks.get(key)
            if found is not None:
                self._chunks.move_to_end(key)
            return found

    def keep(self, key: tuple[int, int], data: bytes) -> None:
        """Keep one more, and let the oldest go."""
        with self._lock:
            self._chunks[key] = data
            while len(self._chunks) > 1 and (
                len(self._chunks) > CHUNKS_IN_MEMORY or sum(map(len, self._chunks.values())) > BYTES_IN_MEMORY
            ):
                self._chunks.popitem(last=False)

    def forget(self, recording: int) -> None:
        """Let the chunks of a recording go."""
        with self._lock:
            for key in [key for key in self._chunks if key[0] == recording]:
                del self._chunks[key]


class Recording:
    """An open recording. Not thread-safe."""

    def __init__(self, file: IO[bytes], name: str, cache: ChunkCache | None = None) -> None:
        """``name`` is told in errors. Raises ``InvalidInput``: ``mcap_invalid`` for another kind of file,
        ``mcap_truncated`` for one that ends too early.
        """
        self._file = file
        self._name = printable(name)
        self._size = file.seek(0, 2)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise InvalidInput(
                f"{self._name!r} is not an MCAP recording.",
                code="mcap_invalid",
                fix="Send a file that `mcap info` can read.",
            )
        self._schemas: dict[int, tuple[str, bytes, str]] = {}
        self._channels: dict[int, tuple[str, int, str]] = {}
        self._counts: dict[int, int] | None = None
        self._times = (0, 0)
        self._cache = cache or ChunkCache()
        self._walk_whole()

    @classmethod
    def open(cls, path: Path, name: str | None = None, cache: ChunkCache | None = None) -> Recording:
        """The recording at a path; close it. One ``cache`` may serve several recordings."""
        file = path.open("rb")
        try:
            return cls(file, name or path.name, cache)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
        self._cache.forget(id(self))

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def survey(self, check: Callable[[], None] = lambda: None) -> Survey:
        """Its topics with the number of their messages: from its summary, or else by reading all of it."""
        if self._counts is None or not self._counts.keys() <= self._channels.keys():
            counts: dict[int, int] = {}
            first, last = 2**63, 0
            for channel, time, _place in self._messages(check):
                counts[channel] = counts.get(channel, 0) + 1
                first, last = min(first, time), max(last, time)
            self._counts = counts
            self._times = (first, last) if counts else (0, 0)
        found: dict[str, Topic] = {}
        for channel, (topic, schema, encoding) in sorted(self._channels.items()):
            name, data, kind = self._schemas.get(schema, ("", b"", ""))
            count = self._counts.get(channel, 0)
            if topic in found:  # a topic may have several channels; the first says what it is
                before = found[topic]
                found[topic] = Topic(
                    topic, before.schema, before.encoding, before.count + count, before.schema_data,
                    before.schema_encoding,
                )  # fmt: skip
            else:
                found[topic] = Topic(topic, name, encoding, count, data, kind)
        return Survey(list(found.values()), *self._times)

    def messages(
        self, topics: Collection[str], check: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[Topic, int, Place]]:
        """Every message of some topics in the order of the file: topic, time of logging, place.

        Reads and checks the whole file; ``check`` is called for each chunk. Raises ``InvalidInput``
        (``mcap_damaged``) for chunks whose bytes are not what was written.
        """
        known: dict[int, Topic | None] = {}
        for channel, time, place in self._messages(check):
            if channel not in known:
                name, schema, encoding = self._channels[channel]
                kind, data, written = self._schemas.get(schema, ("", b"", ""))
                known[channel] = Topic(name, kind, encoding, 0, data, written) if name in topics else None
            topic = known[channel]
            if topic is not None:
                yield topic, time, place

    def read(self, place: Place) -> bytes:
        """A message's bytes."""
        if place.chunk is None:
            return self._exactly(place.at, place.size)
        chunk = self._cache.get((id(self), place.chunk))
        if chunk is None:
            chunk = self._keep(place.chunk, self._unpacked(place.chunk))
        return chunk[place.at : place.at + place.size]

    # --- The file -----------------------------------------------------------------------------------------

    def _records(self) -> Iterator[tuple[int, int, int]]:
        """Kind, place and length of every record, up to the footer."""
        at = len(MAGIC)
        while True:
            head = b"" if at >= self._size else self._at(at, _HEAD.size)
            if len(head) < _HEAD.size:
                raise self._truncated(at, None)
            kind, length = _HEAD.unpack(head)
            at += _HEAD.size
            if at + length > self._size:
                raise self._truncated(at, kind)
            yield kind, at, length
            at += length
            if kind == _FOOTER:
                if self._at(at, len(MAGIC)) != MAGIC:
                    raise self._truncated(at, None)
                return

    def _walk_whole(self) -> None:
        """Read what describes the messages, and see that the file has an end."""
        from mcap.records import Statistics

        for kind, at, length in self._records():
            if kind in {_SCHEMA, _CHANNEL}:
                self._learn(kind, self._small(at, length))
            elif kind == _STATISTICS:
                found = self._parsed(Statistics, self._small(at, length))
                self._counts = dict(found.channel_message_counts)
                self._times = (found.message_start_time, found.message_end_time)

    def _messages(self, check: Callable[[], None]) -> Iterator[tuple[int, int, Place]]:
        for kind, at, length in self._records():
            if kind == _CHUNK:
                check()
                yield from self._in_chunk(at, self._keep(at, self._unpacked(at, length)))
            elif kind == _MESSAGE_OP:
                if length < _MESSAGE.size:
                    raise self._damaged(at)
                channel, _sequence, time, _published = _MESSAGE.unpack(self._exactly(at, _MESSAGE.size))
                self._require_channel(channel, at)
                yield channel, time, Place(None, at + _MESSAGE.size, length - _MESSAGE.size)
            elif kind == _DATA_END:
                return

    def _in_chunk(self, chunk: int, data: bytes) -> Iterator[tuple[int, int, Place]]:
        at, end = 0, len(data)
        while at < end:
            if at + _HEAD.size > end:
                raise self._damaged(chunk)
            kind, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            if at + length > end:
                raise self._damaged(chunk)
            if kind == _MESSAGE_OP:
                if length < _MESSAGE.size:
                    raise self._damaged(chunk)
                channel, _sequence, time, _published = _MESSAGE.unpack_from(data, at)
                self._require_channel(channel, chunk)
                yield channel, time, Place(chunk, at + _MESSAGE.size, length - _MESSAGE.size)
            elif kind in {_SCHEMA, _CHANNEL}:
                self._learn(kind, data[at : at + length])
            at += length

    def _unpacked(self, at: int, length: int | None = None) -> bytes:
        """The content of the chunk at this place."""
        from mcap.records import Chunk

        if length is None:
            length = _HEAD.unpack(self._at(at - _HEAD.size, _HEAD.size))[1]
        if length > MAX_CHUNK:
            raise self._too_large("A chunk", MAX_CHUNK)
        chunk = self._parsed(Chunk, self._exactly(at, length))
        if chunk.uncompressed_size > MAX_CHUNK:
            raise self._too_large("A chunk", MAX_CHUNK)
        data = self._expanded(chunk, at)
        if len(data) != chunk.uncompressed_size or (
            chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc
        ):
            raise self._damaged(at)
        return data

    def _expanded(self, chunk: Chunk, at: int) -> bytes:
        """At most one byte more than the chunk says, whatever its compressed bytes claim."""
        limit = chunk.uncompressed_size
        if chunk.compression == "":
            return chunk.data
        if chunk.compression == "zstd":
            import zstandard

            try:
                with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(chunk.data) as stream:
                    return stream.read(limit + 1)
            except zstandard.ZstdError:
                raise self._damaged(at) from None
        if chunk.compression == "lz4":
            import lz4.frame

            try:
                unpacker = lz4.frame.LZ4FrameDecompressor()
                return bytes(unpacker.decompress(chunk.data, max_length=limit + 1))
            except (RuntimeError, EOFError):
                raise self._damaged(at) from None
        raise InvalidInput(
            f"{self._name!r} is compressed with {printable(chunk.compression[:20])!r}, not known here.",
            code="mcap_compression",
            fix="Write it again with zstd, lz4 or no compression, for instance with `mcap compress`.",
        )

    def _learn(self, kind: int, data: bytes) -> None:
        from mcap.records import Channel, Schema

        if kind == _SCHEMA:
            schema = self._parsed(Schema, data)
            if schema.id:
                self._schemas.setdefault(schema.id, (schema.name, schema.data, schema.encoding))
        else:
            channel = self._parsed(Channel, data)
            self._channels.setdefault(
                channel.id, (channel.topic, channel.schema_id, channel.message_encoding)
            )
        if len(self._channels) > MAX_TOPICS or len(self._schemas) > MAX_TOPICS:
            raise InvalidInput(
                f"{self._name!r} has more than {MAX_TOPICS:,} topics.",
                code="mcap_too_large",
                fix="Split it with `mcap filter`.",
            )

    def _parsed(self, record: Any, data: bytes) -> Any:
        from mcap.data_stream import ReadDataStream
        from mcap.exceptions import McapError

        try:
            # A copy: the library reads short where bytes are missing, and goes on.
            stream = _Strict(data)
            return record.read(ReadDataStream(stream))
        except (McapError, struct.error, ValueError, OverflowError, _Short):
            raise self._damaged(None) from None

    def _small(self, at: int, length: int) -> bytes:
        if length > MAX_SMALL:
            raise self._too_large("A record", MAX_SMALL)
        return self._exactly(at, length)

    def _exactly(self, at: int, length: int) -> bytes:
        if length > MAX_RECORD:
            raise self._too_large("A message", MAX_RECORD)
        data = self._at(at, length)
        if len(data) != length:
            raise self._truncated(at, None)
        return data

    def _at(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        return self._file.read(length)

    def _keep(self, at: int, data: bytes) -> bytes:
        self._cache.keep((id(self), at), data)
        return data

    def _require_channel(self, channel: int, at: int) -> None:
        if channel not in self._channels:
            raise self._damaged(at)

    # --- Refusals -----------------------------------------------------------------------------------------

    def _truncated(self, at: int, kind: int | None) -> TintypeError:
        where = (
            f"in the middle of a {_NAMES.get(kind, 'record')}" if kind is not None else "before its footer"
        )
        return InvalidInput(
            f"{self._name!r} was cut off: after {self._size:,} bytes it ends {where}.",
            code="mcap_truncated",
            fix="Copy the recording again; one that was cut off while it was recorded is mended by "
            "`mcap recover`, then send what that writes.",
            details={"size": self._size, "at": at},
        )

    def _damaged(self, at: int | None) -> TintypeError:
        where = "" if at is None else f" at byte {at:,}"
        return InvalidInput(
            f"{self._name!r} is damaged{where}: its bytes are not what was written.",
            code="mcap_damaged",
            fix="Copy the recording again, or save what can be read with `mcap recover`.",
        )

    def _too_large(self, what: str, limit: int) -> TintypeError:
        return TooLarge(
            f"{what} of {self._name!r} is larger than {limit >> 20:,} MiB.",
            code="mcap_too_large",
            fix="Write the recording again in smaller chunks, for instance with `mcap compress`.",
        )


class _Short(Exception):
    """Fewer bytes than a record says."""


class _Strict(BytesIO):
    """Bytes of which more cannot be read than there are."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is not None and len(data) < size:
            raise _Short
        return data
