"""A form in pieces of any size says the same, and one that is cut anywhere is never a whole file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_server.http.form_file import FormFile
from tintype_studio.errors import InvalidInput

TYPE = 'multipart/form-data; boundary="b-1"'


def form(fields: dict[str, str], data: bytes) -> bytes:
    parts = [
        f'--b-1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = b'--b-1\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    return b"".join(parts) + head + b"Content-Type: x/y\r\n\r\n" + data + b"\r\n--b-1--\r\n"


def read(body: bytes, size: int) -> tuple[dict[str, str], bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def whole() -> tuple[dict[str, str], bytes]:
        found = FormFile(TYPE, chunks())
        fields = dict(await found.fields())
        return fields, b"".join([piece async for piece in found.chunks()])

    return asyncio.run(whole())


NAMES = st.sampled_from(["key", "token", "x-y"])
VALUES = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=20)
LINES = st.sampled_from([b"\r\n", b"\r\n--b-", b"--b-1", b"\r", b"-", b"", b"abc", b"\0\xff"])
DATA = st.lists(LINES, max_size=8).map(b"".join).filter(lambda data: b"\r\n--b-1" not in data)


@settings(max_examples=30)
@given(st.dictionaries(NAMES, VALUES), DATA, st.integers(1, 40))
def test_pieces_of_any_size(fields: dict[str, str], data: bytes, size: int) -> None:
    assert read(form(fields, data), size) == (fields, data)


@settings(max_examples=30)
@given(DATA, st.integers(1, 40), st.data())
def test_a_form_that_is_cut(data: bytes, size: int, drawn: st.DataObject) -> None:
    body = form({"token": "t"}, data)
    whole = len(body) - len(b"--\r\n")
    cut = body[: drawn.draw(st.integers(0, whole - 1))]
    with pytest.raises(InvalidInput):
        read(cut, size)
