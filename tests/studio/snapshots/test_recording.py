"""Recordings: every way of writing one is read; what is cut off, damaged or a bomb is refused with words."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import NonSeekingReader
from mcap.writer import CompressionType
from support.recordings import START, camera, drive, every, gps, lidar, write

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.snapshots.recording import MAGIC, MAX_CHUNK, Recording

DRIVE = drive(count=12)
TOPICS = {"/camera/jpeg": 12, "/lidar/points": 12, "/gps": 2, "/imu": 20, "/tf": 3}


def opened(data: bytes) -> Recording:
    return Recording(io.BytesIO(data), "drive.mcap")


def read_whole(data: bytes) -> list[bytes]:
    with opened(data) as recording:
        topics = {topic.name for topic in recording.survey().topics}
        return [recording.read(place) for _topic, _time, place in recording.messages(topics)]


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("summary", [True, False])
def test_every_message_is_found_as_the_library_finds_it(
    compression: CompressionType, chunked: bool, summary: bool
) -> None:
    data = drive(count=12, compression=compression, chunked=chunked, summary=summary)
    with opened(data) as recording:
        survey = recording.survey()
        assert {topic.name: topic.count for topic in survey.topics} == TOPICS
        assert (survey.start, survey.seconds) == (START, 1.11)
        found = [(t.name, at, recording.read(p)) for t, at, p in recording.messages(TOPICS)]
    theirs = [
        (channel.topic, message.log_time, message.data)
        for _schema, channel, message in NonSeekingReader(io.BytesIO(data)).iter_messages(
            log_time_order=False
        )
    ]
    assert sorted(found) == sorted(theirs)


def test_only_what_was_asked_for_is_read() -> None:
    with opened(DRIVE) as recording:
        assert {topic.name for topic, _time, _place in recording.messages({"/gps"})} == {"/gps"}


def test_another_file_is_not_a_recording() -> None:
    for data in (b"", b"PK\3\4 and so on", MAGIC[:-1], b"\x89MCAP1\r\n"):
        with pytest.raises(InvalidInput, match="not an MCAP") as refused:
            opened(data)
        assert refused.value.code == "mcap_invalid"


def first_chunk(data: bytes) -> tuple[int, int]:
    """Where its record begins, and the bytes behind its head."""
    at = len(MAGIC)
    while data[at] != 6:
        at += 9 + struct.unpack_from("<Q", data, at + 1)[0]
    return at, struct.unpack_from("<Q", data, at + 1)[0]


def test_one_that_is_cut_off_in_a_chunk_says_so() -> None:
    at, length = first_chunk(DRIVE)
    with pytest.raises(InvalidInput) as refused:
        opened(DRIVE[: at + 9 + length // 2])
    error = refused.value
    assert error.code == "mcap_truncated"
    assert "in the middle of a chunk" in error.message
    assert "mcap recover" in error.fix


def test_wherever_it_is_cut_off_it_is_refused() -> None:
    for size in range(len(MAGIC), len(DRIVE), 37):
        with pytest.raises(InvalidInput) as refused:
            opened(DRIVE[:size])
        assert refused.value.code == "mcap_truncated"


def test_a_chunk_with_other_bytes_is_damaged() -> None:
    at, length = first_chunk(DRIVE)
    for offset in (60, length // 2, length - 3):
        data = bytearray(DRIVE)
        data[at + 9 + offset] ^= 0xFF
        with pytest.raises(InvalidInput) as refused:
            read_whole(bytes(data))
        assert refused.value.code in {"mcap_damaged", "mcap_truncated"}


def chunk(compression: str, packed: bytes, unpacked_size: int, crc: int = 0) -> bytes:
    name = compression.encode()
    body = struct.pack("<QQQI", 0, 1, unpacked_size, crc) + struct.pack("<I", len(name)) + name
    body += struct.pack("<Q", len(packed)) + packed
    return b"\x06" + struct.pack("<Q", len(body)) + body


def of_chunk(data: bytes) -> bytes:
    """A recording with this one chunk."""
    header = struct.pack("<II", 0, 0)
    end = b"\x0f" + struct.pack("<QI", 4, 0) + b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0)
    return MAGIC + b"\x01" + struct.pack("<Q", len(header)) + header + data + end + MAGIC


BOMB = bytes(300 << 20)
BOMBS: dict[str, Callable[[], bytes]] = {
    "zstd": lambda: zstandard.ZstdCompressor().compress(BOMB),
    "lz4": lambda: lz4.frame.compress(BOMB),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_chunk_that_says_little_and_expands_to_much_is_not_expanded(name: str) -> None:
    data = of_chunk(chunk(name, BOMBS[name](), 1000))
    tracemalloc.start()
    with pytest.raises(InvalidInput) as refused:
        read_whole(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == "mcap_damaged"
    assert peak < 40 << 20


@pytest.mark.parametrize("size", [MAX_CHUNK + 1, 2**40, 2**63])
def test_a_chunk_that_claims_too_much_is_refused_before_anything_is_made(size: int) -> None:
    with pytest.raises(TooLarge) as refused:
        read_whole(of_chunk(chunk("zstd", zstandard.ZstdCompressor().compress(b"x"), size)))
    assert refused.value.code == "mcap_too_large"


def test_a_record_that_claims_more_than_the_file_is_a_cut_off_one() -> None:
    data = MAGIC + b"\x06" + struct.pack("<Q", 2**62) + b"abc" + MAGIC
    with pytest.raises(InvalidInput) as refused:
        opened(data)
    assert refused.value.code == "mcap_truncated"


def test_an_unknown_compression_is_named() -> None:
    with pytest.raises(InvalidInput, match="brotli"):
        read_whole(of_chunk(chunk("brotli", b"x", 1)))


def test_a_message_of_no_channel_is_damage() -> None:
    message = struct.pack("<HIQQ", 9, 0, 0, 0)
    inner = b"\x05" + struct.pack("<Q", len(message)) + message
    with pytest.raises(InvalidInput) as refused:
        read_whole(of_chunk(chunk("", inner, len(inner), zlib.crc32(inner))))
    assert refused.value.code == "mcap_damaged"


SMALL = write([camera(count=2), lidar(count=1), gps(1)], chunk=2000)


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_any_wrong_byte_is_read_or_refused(at: int, flip: int) -> None:
    data = bytearray(SMALL)
    data[at] ^= flip
    with suppress(InvalidInput):
        read_whole(bytes(data))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(InvalidInput):
        read_whole(MAGIC + data + MAGIC)


def test_times_out_of_order_and_channels_of_one_topic_are_put_together(tmp_path: Path) -> None:
    from tintype_studio.snapshots.recordings import RecordingSource

    late = camera(count=4, seconds=0.2)
    early = camera(count=4, seconds=0.2, seed=50)
    early = type(early)(early.topic, early.schema, every(0.2, 4, 0.1), early.message)
    (tmp_path / "a.mcap").write_bytes(write([late, early]))
    source = RecordingSource(tmp_path, ["a.mcap"])
    dates = [incoming.new.meta.date for incoming in source.samples()]
    source.close()
    assert len(dates) == 8
    assert dates == sorted(dates)  # type: ignore[type-var]
    assert len({*np.diff([d.timestamp() for d in dates if d is not None]).round(3)}) == 1
