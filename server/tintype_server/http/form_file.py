"""A form with one file in it, read as it comes in: small fields first, the file last.

So that a file of gigabytes is neither held in memory nor written twice, and so that its fields, which say
whether it may come at all, are known before its first byte.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.storage.uploads import cut_off

FILE = "file"
MAX_FIELDS = 32
MAX_FIELD_BYTES = 16 * 1024
MAX_BYTES_BEFORE = 2 * MAX_FIELDS * MAX_FIELD_BYTES
"""Until the file begins, also of parts that have no name and of what stands before the first one."""


class FormFile:
    """One form, read once: ``fields`` first, then ``chunks``."""

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        """``content_type`` is the header's. Raises InvalidInput (``invalid_form``) unless it is a form's."""
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _invalid("The body is no form with a file: multipart/form-data is expected.")
        self._chunks = chunks
        self._fields: dict[str, str] = {}
        self._headers: dict[str, str] = {}
        self._header = bytearray(), bytearray()
        self._name: str | None = None
        self._value = bytearray()
        self._data: list[bytes] = []
        self._in_file = self._file_ended = False
        self._read_bytes = 0
        self._parser: Any = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
            },
        )

    async def fields(self) -> dict[str, str]:
        """The fields before the file.

        Raises InvalidInput (``invalid_form``) when no file comes, TooLarge (``form_too_large``) when too much
        comes before it.
        """
        while not self._in_file:
            if not await self._read():
                raise _invalid("The form holds no part with the name file.")
            if not self._in_file and self._read_bytes > MAX_BYTES_BEFORE:
                raise _too_much()
        return self._fields

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file in pieces, as they come; what follows it in the form is passed over.

        Raises InvalidInput (``upload_incomplete``) when the form ends before the file does.
        """
        while True:
            data, self._data = self._data, []
            for piece in data:
                yield piece
            if self._file_ended:
                return
            if not await self._read():
                raise cut_off()

    async def _read(self) -> bool:
        from python_multipart.exceptions import FormParserError

        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return False
        self._read_bytes += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _invalid("The form is broken.") from None
        return True

    def _on_part_begin(self) -> None:
        self._headers, self._name, self._value = {}, None, bytearray()

    def _on_header_end(self) -> None:
        name, value = (bytes(part).decode("latin-1") for part in self._header)
        self._headers[name.lower()] = value
        self._header = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        if self._file_ended:
            return
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = self._name == FILE
        if not self._in_file and len(self._fields) >= MAX_FIELDS:
            raise _too_much()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file_ended:
            return
        if self._in_file:
            self._data.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD_BYTES:
            raise _too_much()

    def _on_part_end(self) -> None:
        if self._in_file:
            self._file_ended = True
        elif self._name:
            self._fields[self._name] = self._value.decode("utf-8", "replace")


def _invalid(what: str) -> InvalidInput:
    return InvalidInput(
        what,
        code="invalid_form",
        fix="Send the fields that came with the address, each as a part, then the file as a part named file.",
    )


def _too_much() -> TooLarge:
    return TooLarge(
        f"The form holds more than {MAX_FIELDS} fields before the file, or one over "
        f"{MAX_FIELD_BYTES // 1024} KiB.",
        code="form_too_large",
        fix="Send the fields that came with the address, then the file.",
    )
