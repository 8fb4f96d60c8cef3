"""PCD files: what a header says is believed only where the bytes agree."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.multisensor import pcd

ENCODINGS = ("ascii", "binary", "binary_compressed")


def lzf(plain: bytes) -> bytes:
    """A small LZF: repeats are named where three bytes were seen before, all else is literal."""
    out, literal, seen, at = bytearray(), bytearray(), {}, 0

    def flush() -> None:
        for start in range(0, len(literal), 32):
            piece = literal[start : start + 32]
            out.extend([len(piece) - 1, *piece])
        literal.clear()

    while at < len(plain):
        key = plain[at : at + 3]
        before = seen.get(key)
        seen[key] = at
        if before is None or len(key) < 3 or at - before > 8_191:
            literal.append(plain[at])
            at += 1
            continue
        length = 3
        while length < 264 and at + length < len(plain) and plain[before + length] == plain[at + length]:
            length += 1
        flush()
        back, told = at - before - 1, length - 2
        if told < 7:
            out.extend([told << 5 | back >> 8, back & 255])
        else:
            out.extend([7 << 5 | back >> 8, told - 7, back & 255])
        at += length
    flush()
    return bytes(out)


def cloud(points: np.ndarray, encoding: str, **changes: str) -> bytes:
    """A file of x, y, z (float32), intensity (uint8) and two padding bytes; ``changes`` replace lines."""
    number = len(points)
    values = points.astype(np.float32)
    intensity = (np.arange(number) % 251).astype(np.uint8)
    lines = {
        "VERSION": "0.7",
        "FIELDS": "x y z intensity _",
        "SIZE": "4 4 4 1 1",
        "TYPE": "F F F U U",
        "COUNT": "1 1 1 1 2",
        "WIDTH": str(number),
        "HEIGHT": "1",
        "VIEWPOINT": "0 0 0 1 0 0 0",
        "POINTS": str(number),
        "DATA": encoding,
    } | changes
    head = "# .PCD v0.7\n" + "".join(f"{key} {text}\n" for key, text in lines.items() if text != "-")
    if encoding == "ascii":
        rows = zip(values.tolist(), intensity.tolist(), strict=True)
        return (head + "".join(f"{x!r} {y!r} {z!r} {i} 0 0\n" for (x, y, z), i in rows)).encode()
    if encoding == "binary":
        padded = [struct.pack("<3fB2x", *xyz, i) for xyz, i in zip(values, intensity, strict=True)]
        return head.encode() + b"".join(padded)
    plain = b"".join(values[:, axis].tobytes() for axis in range(3)) + intensity.tobytes() + bytes(2 * number)
    packed = lzf(plain)
    return head.encode() + struct.pack("<II", len(packed), len(plain)) + packed


def some(number: int = 50) -> np.ndarray:
    return np.random.default_rng(number).normal(0, 30, (number, 3)).astype(np.float32)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("number", [0, 1, 2_000])
def test_every_encoding_is_read_to_the_last_bit(encoding, number):
    points = np.repeat(some(max(1, number // 4)), 4, axis=0)[:number] if number > 1 else some(number)
    data = cloud(points, encoding)
    facts = pcd.check(data)
    assert (facts.points, facts.finite, facts.encoding) == (number, number, encoding)
    assert facts.fields == ("x", "y", "z", "intensity")
    assert (pcd.points_of(data) == points).all()
    columns = pcd.columns_of(data)
    assert set(columns) == {"x", "y", "z", "intensity"}
    assert columns["intensity"].tolist() == [n % 251 for n in range(number)]
    if number:
        assert facts.low == tuple(points.min(axis=0).tolist())
        assert facts.high == tuple(points.max(axis=0).tolist())
    else:
        assert facts.low is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_points_that_saw_nothing_are_not_in_the_bounds(encoding):
    points = some(4)
    points[1] = np.nan
    points[2, 2] = np.inf
    facts = pcd.check(cloud(points, encoding))
    assert (facts.points, facts.finite) == (4, 2)
    assert facts.high == tuple(points[[0, 3]].max(axis=0).tolist())


def test_what_is_written_is_read():
    columns = {
        "x": np.linspace(0, 1, 7),
        "y": np.linspace(-1, 0, 7, dtype=np.float32),
        "z": np.zeros(7, dtype=np.float32),
        "ring": np.arange(7, dtype=np.uint16),
        "speed": np.arange(-3, 4, dtype=np.int8),
    }
    found = pcd.columns_of(pcd.pcd_of(columns))
    assert list(found) == list(columns)
    for name, values in columns.items():
        assert (
            found[name] == values.astype(np.float32 if values.dtype == np.float64 else values.dtype)
        ).all()
    with pytest.raises(InvalidInput, match="no field 'power'"):
        pcd.columns_of(pcd.pcd_of(columns), ["power"])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "lie",
    [
        {"POINTS": "51"},
        {"POINTS": "49"},
        {"WIDTH": "51", "POINTS": "51"},
        {"WIDTH": "49", "POINTS": "49"},
        {"WIDTH": "1000000000", "POINTS": "1000000000"},
        {"WIDTH": "9999999", "POINTS": "9999999"},
        {"WIDTH": "4000000000", "HEIGHT": "4000000000", "POINTS": "16000000000000000000"},
        {"WIDTH": "-50"},
        {"WIDTH": "5e1"},
        {"HEIGHT": "0"},
        {"WIDTH": "-"},
        {"FIELDS": "x y intensity _ z"},
        {"FIELDS": "x y z z _"},
        {"FIELDS": "a b c d _"},
        {"FIELDS": "x y z"},
        {"SIZE": "4 4 8 1 1"},
        {"SIZE": "4 4 4 3 1"},
        {"SIZE": "4 4 4 1 0"},
        {"TYPE": "F F F F U"},
        {"TYPE": "F F F C U"},
        {"COUNT": "1 1 1 1 65537"},
        {"COUNT": "1 1 1 1 0"},
        {"COUNT": "1 1 3 1 2"},
        {"DATA": "binary_lz4"},
        {"DATA": ""},
        {"VERSION": "0.7\nVERSION 0.7"},
        {"HELLO": "world"},
    ],
    ids=lambda lie: ",".join(f"{k}={v}" for k, v in lie.items())[:60],
)
def test_headers_that_lie_are_refused(encoding, lie):
    data = cloud(some(50), encoding, **lie)
    if encoding == "ascii" and lie == {"SIZE": "4 4 8 1 1"}:
        assert pcd.check(data).points == 50  # text has no size
        return
    started = time.monotonic()
    with pytest.raises(InvalidInput) as refused:
        pcd.check(data)
    assert refused.value.code in {"invalid_point_cloud", "point_cloud_too_large"}
    assert refused.value.fix
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_file_that_ends_early_is_refused_wherever_it_does(encoding):
    data = cloud(some(12), encoding)
    for end in range(0, len(data) - 2, 3):
        with pytest.raises(InvalidInput):
            pcd.check(data[:end] if encoding != "ascii" else data[:end].rsplit(b"\n", 1)[0])


def test_more_bytes_than_points_are_refused():
    with pytest.raises(InvalidInput, match="follow"):
        pcd.check(cloud(some(3), "binary") + b"more")
    pcd.check(cloud(some(3), "binary") + b"\r\n")


@pytest.mark.parametrize(
    "text", ["nan 1", "0x10 1 2 3 0 0", "1,5 0 0 1 0 0", "1 2 3 256 0 0", "1 2 3 -1 0 0", "1 2 3 1.5 0 0"]
)
def test_words_that_are_no_numbers_of_their_field_are_refused(text):
    head = cloud(some(1), "ascii").rsplit(b"DATA ascii\n", 1)[0]
    with pytest.raises(InvalidInput):
        pcd.check(head + b"DATA ascii\n" + text.encode() + b"\n")


def test_a_word_of_a_million_characters_costs_no_memory():
    head = cloud(some(2), "ascii").rsplit(b"DATA ascii\n", 1)[0]
    with pytest.raises(InvalidInput, match="no number"):
        pcd.check(head + b"DATA ascii\n" + b"1" * 1_000_000 + b" 2 3 4 0 0\n1 2 3 4 0 0\n")


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ((10**9, 10**9), "says 1,000,000,000"),
        ((5, 750), "claims 5 bytes"),
        ((0xFFFFFFFF, 750), "claims 4,294,967,295 bytes"),
    ],
)
def test_sizes_of_the_compressed_part_that_lie_are_refused(sizes, says):
    data = cloud(some(50), "binary_compressed")
    at = data.index(b"DATA binary_compressed\n") + 23
    with pytest.raises(InvalidInput, match=says):
        pcd.check(data[:at] + struct.pack("<II", *sizes) + data[at + 8 :])


def test_bytes_that_cannot_make_so_many_are_refused_before_any_work():
    number = 1_000_000
    head = cloud(some(0), "binary_compressed", WIDTH=str(number), POINTS=str(number))
    head = head[: head.index(b"DATA binary_compressed\n") + 23]
    with pytest.raises(InvalidInput, match="cannot make"):
        pcd.check(head + struct.pack("<II", 30, number * 15) + bytes(30))


def test_a_compressed_cloud_over_the_limit_is_told_to_come_as_binary():
    number = 5_000_000
    head = cloud(some(0), "binary_compressed", WIDTH=str(number), POINTS=str(number))
    head = head[: head.index(b"DATA binary_compressed\n") + 23]
    with pytest.raises(TooLarge, match="write it as binary"):
        pcd.check(head + struct.pack("<II", 30, number * 15) + bytes(30))


def test_much_text_is_told_to_come_as_binary(monkeypatch):
    monkeypatch.setattr(pcd, "MAX_ASCII", 1_000)
    pcd.check(cloud(some(10), "ascii"))
    with pytest.raises(TooLarge, match="write it as binary"):
        pcd.check(cloud(some(100), "ascii"))


@given(st.binary(max_size=400), st.sampled_from(ENCODINGS), st.integers(0, 400), st.integers(0, 30))
@settings(max_examples=400, deadline=None)
def test_files_that_were_damaged_anywhere_are_read_or_refused(noise, encoding, at, cut):
    data = bytearray(cloud(some(8), encoding))
    at %= len(data)
    data[at : at + cut] = noise[: max(1, cut)]
    refused = None
    try:
        facts = pcd.check(bytes(data))
    except InvalidInput as error:
        refused = error
    if refused is None:
        assert facts.points <= 20
        assert facts.finite <= facts.points
    else:
        assert refused.code in {"invalid_point_cloud", "point_cloud_too_large"}


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_compressed_bytes_are_read_or_refused(packed):
    number = 20
    head = cloud(some(0), "binary_compressed", WIDTH=str(number), POINTS=str(number))
    head = head[: head.index(b"DATA binary_compressed\n") + 23]
    data = head + struct.pack("<II", len(packed), number * 15) + packed
    try:
        pcd.check(data)
    except InvalidInput as error:
        assert "damaged" in error.message or "cannot make" in error.message  # noqa: PT017


@given(
    st.binary(max_size=3_000)
    | st.lists(st.sampled_from([b"abc", b"aaaa", bytes(40)]), max_size=60).map(b"".join)
)
@settings(max_examples=100, deadline=None)
def test_compressed_bytes_come_back(plain):
    assert pcd._unpacked(lzf(plain), len(plain)) == plain
