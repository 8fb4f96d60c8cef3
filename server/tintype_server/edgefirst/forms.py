"""Forms of the dialect: fields and files in any order, the files streamed to disk as they come."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import anyio
from anyio import to_thread
from starlette.requests import ClientDisconnect, Request

from tintype_server.edgefirst.methods import FormFile
from tintype_studio.errors import InvalidInput, TooLarge, Unavailable
from tintype_studio.storage.uploads import FREE_BYTES, cut_off

MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 1024
MAX_HEADER_BYTES = 8 * 1024
MAX_FILES = 1000
MAX_BYTES = 4 * 1024**3
"""Of all files of a form together."""
AT_ONCE = 16
IDLE_SECONDS = 60.0
WRITTEN_BYTES = 1024**2
"""What is gathered before it is written."""
PREFIX = "form-"


@asynccontextmanager
async def received_form(
    request: Request, scratch: Path
) -> AsyncIterator[tuple[dict[str, str], list[FormFile]]]:
    """A form's fields and files; the files are gone at the end of the block.

    Raises InvalidInput (``invalid_form``, ``upload_incomplete``), TooLarge (``form_too_large``) and
    Unavailable (``disk_full``).
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BYTES + MAX_FIELDS * MAX_FIELD_BYTES:
        raise _too_large()
    folder = Path(await to_thread.run_sync(lambda: tempfile.mkdtemp(prefix=PREFIX, dir=scratch)))
    try:
        form = _Form(request.headers.get("content-type", ""), folder)
        try:
            await _read(request, form)
        finally:
            form.close()
        yield form.fields, form.files
    finally:
        await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


async def _read(request: Request, form: _Form) -> None:
    stream = request.stream()
    try:
        while True:
            with anyio.fail_after(IDLE_SECONDS):
                piece = await anext(stream)
            if piece:
                form.take(piece)
            if form.waiting_bytes >= WRITTEN_BYTES:
                await to_thread.run_sync(form.write)
    except StopAsyncIteration:
        await to_thread.run_sync(form.write)
        form.require_end()
    except (ClientDisconnect, TimeoutError):
        raise cut_off() from None


class _Form:
    """What has come of a form so far."""

    def __init__(self, content_type: str, folder: Path) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _invalid("The body is no form: multipart/form-data is expected.")
        self.fields: dict[str, str] = {}
        self.files: list[FormFile] = []
        self._folder = folder
        self._header = bytearray(), bytearray()
        self._headers: dict[str, bytes] = {}
        self._name, self._filename = "", ""
        self._value: bytearray | None = None
        self._open: IO[bytes] | None = None
        self._waiting: list[tuple[IO[bytes], bytes]] = []
        self.waiting_bytes = 0
        self._size = self._total = 0
        self._ended = False
        self._parser: Any = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": lambda data, start, end: self._on_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._on_header(1, data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def take(self, piece: bytes) -> None:
        """Read on."""
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(piece)
        except FormParserError:
            raise _invalid("The form is broken.") from None

    def write(self) -> None:
        """Write what has gathered."""
        waiting, self._waiting, self.waiting_bytes = self._waiting, [], 0
        try:
            for file, data in waiting:
                file.write(data)
            if waiting and shutil.disk_usage(self._folder).free < FREE_BYTES:
                raise OSError
            for file in {id(each): each for each, _ in waiting}.values():
                if file is not self._open:
                    file.close()
        except OSError:
            raise Unavailable(
                "The server's disk is full.", code="disk_full", fix="Ask the operator to free space."
            ) from None

    def require_end(self) -> None:
        """Refuse a form that stops in the middle."""
        if not self._ended:
            raise cut_off()

    def close(self) -> None:
        """Let go of the files."""
        for file in [*(each for each, _ in self._waiting), *([self._open] if self._open else [])]:
            file.close()

    def _on_part_begin(self) -> None:
        self._headers, self._value = {}, None

    def _on_header(self, which: int, data: bytes) -> None:
        self._header[which].extend(data)
        if len(self._header[which]) > MAX_HEADER_BYTES:
            raise _invalid("A part of the form has a header that is too long.")

    def _on_header_end(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._headers[name.decode("latin-1").lower()] = value
        self._header = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            if len(self.fields) >= MAX_FIELDS:
                raise _too_large()
            self._value = bytearray()
            return
        if len(self.files) >= MAX_FILES:
            raise _too_large()
        self._filename = options[b"filename"].decode("utf-8", "replace")
        self._size = 0
        self._open = (self._folder / str(len(self.files))).open("wb")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._open is not None:
            self._size += end - start
            self._total += end - start
            if self._total > MAX_BYTES:
                raise _too_large()
            self._waiting.append((self._open, data[start:end]))
            self.waiting_bytes += end - start
        elif self._value is not None:
            self._value += data[start:end]
            if len(self._value) > MAX_FIELD_BYTES:
                raise _too_large()

    def _on_part_end(self) -> None:
        if self._open is not None:
            self.files.append(FormFile(self._filename, Path(os.fspath(self._open.name)), self._size))
            self._waiting.append((self._open, b""))
            self._open = None
        elif self._value is not None and self._name:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._ended = True


def _invalid(what: str) -> InvalidInput:
    return InvalidInput(what, code="invalid_form", fix="Send multipart/form-data with a length.")


def _too_large() -> TooLarge:
    return TooLarge(
        f"The form is over {MAX_BYTES // 1024**3} GiB, {MAX_FILES} files, {MAX_FIELDS} fields, or has a "
        f"field over {MAX_FIELD_BYTES // 1024} KiB.",
        code="form_too_large",
        fix="Send fewer or smaller files in one form.",
    )
