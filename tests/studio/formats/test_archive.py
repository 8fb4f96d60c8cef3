"""What waits for its place in the ZIP: deflated as it comes, and whole whatever its size."""

from __future__ import annotations

import io
import random
import threading
import zipfile
import zlib
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintype_studio.formats import archive as module
from tintype_studio.formats.archive import Archive, PackedSpool, deflated, joined_crc


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_the_crc_of_two_texts_follows_from_theirs(first, second):
    assert joined_crc(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_the_crc_of_long_texts():
    first, second = random.Random(1).randbytes(70_001), b"\0" * 3_000_003
    assert joined_crc(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


@pytest.mark.parametrize("size", [0, 1, 300, 4_096, 4_097, 8_192, 16_384, 16_385, 100_000])
def test_whatever_its_window_a_member_inflates(size):
    data = random.Random(size).randbytes(size // 2) * 2
    assert zlib.decompress(deflated(data), -15) == data


@pytest.mark.parametrize("piece", [64, 1_000, 1 << 20])
def test_a_spool_is_its_records_in_their_order(monkeypatch, piece):
    monkeypatch.setattr(module, "PIECE", piece)
    records = [f"{n} {n * n % 97}".encode() * (n % 5) for n in range(3_000)]
    spool = PackedSpool(separator=b",\n")
    for record in records:
        spool.append(record)
    text = b",\n".join(records).removeprefix(b",\n")  # no separator before the first that is not empty
    assert len(spool) == len(text)
    assert b"".join(spool.lines()) == text
    assert spool.crc == zlib.crc32(text)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        members = Archive(file, datetime(2025, 1, 1))
        members.write_chunks("a.txt", [b"<", spool, b"|", spool, b">"])
        members.write_chunks("empty.txt", [PackedSpool(), b""])
    read = zipfile.ZipFile(out)
    assert read.testzip() is None
    assert read.read("a.txt") == b"<" + text + b"|" + text + b">"
    assert read.read("empty.txt") == b""
    spool.close()


def test_long_spools_are_deflated_beside_and_give_the_same_bytes(monkeypatch):
    def written():
        threads = set()
        spool = PackedSpool()
        real = spool._pack

        def pack(data):
            threads.add(threading.current_thread().name)
            real(data)

        monkeypatch.setattr(spool, "_pack", pack)
        for n in range(40_000):
            spool.append(b"%d %d\n" % (n, n * n))
        packed = b"".join(spool.packed())
        spool.close()
        return packed, threads

    monkeypatch.setattr(module, "PIECE", 10_000)
    (first, threads), (second, _) = written(), written()
    assert first == second
    assert any(name.startswith("deflate") for name in threads)


def test_a_disk_that_is_full_is_told(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 100)
    spool = PackedSpool()

    def full(_data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_write", full)

    def fill():
        for _ in range(100):
            spool.append(b"x" * 100)

    with pytest.raises(OSError, match="No space"):
        fill()
    spool.close()


def test_giving_up_half_way_leaves_no_thread(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 100)
    before = threading.active_count()
    spool = PackedSpool()
    for _ in range(50):
        spool.append(b"x" * 100)
    assert threading.active_count() > before
    spool.close()
    assert threading.active_count() == before
