"""XML without document types: what declares none has no entities to expand and nothing to fetch.

The bytes are searched for ``<!DOCTYPE`` and ``<!ENTITY`` before the parser sees them. That is only safe for
encodings in which those are these very bytes, so every other encoding is refused.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any
from xml.etree import ElementTree as ET

from tintype_studio.errors import InvalidInput
from tintype_studio.formats.reading.base import broken

CHUNK = 1 << 18
MAX_DEPTH = 64
_DECLARED = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
_ENCODINGS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1"})
_FORBIDDEN = re.compile(rb"<!(?:DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)")
_LONGEST = 16


def parse_xml(data: bytes, path: str) -> ET.Element:
    """The root of a small document.

    Raises:
        InvalidInput: it is no XML (``broken_file``), or holds a document type (``unsafe_xml``).
    """
    _judge_start(data, path)
    _judge(data, path)
    try:
        return ET.fromstring(data)  # noqa: S314
    except (ET.ParseError, ValueError, LookupError) as error:
        raise broken(path, f"it is no XML ({str(error)[:120]})") from None


def stream_xml(
    stream: IO[bytes], path: str, *, down_to: int = MAX_DEPTH
) -> Iterator[tuple[str, int, ET.Element]]:
    """``("start" | "end", depth, element)`` as they come, for documents of any size; the root's depth is 0.

    Elements deeper than ``down_to`` are not told by themselves. Whoever reads clears elements.

    Raises:
        InvalidInput: as ``parse_xml``, or nested too deep.
    """
    parser: Any = ET.XMLPullParser(("start", "end"))
    tail, depth, chunk, first = b"", 0, b"?", True
    try:
        while chunk:
            chunk = stream.read(CHUNK)
            if first:
                _judge_start(chunk, path)
                first = False
            _judge(tail + chunk, path)
            tail = chunk[-_LONGEST:]
            if chunk:
                parser.feed(chunk)
            else:
                parser.close()
            for event, element in parser.read_events():
                if event == "start":
                    if depth <= down_to:
                        yield event, depth, element
                    depth += 1
                    if depth > MAX_DEPTH:
                        raise broken(path, f"it is nested deeper than {MAX_DEPTH} levels")
                else:
                    depth -= 1
                    if depth <= down_to:
                        yield event, depth, element
    except (ET.ParseError, ValueError, LookupError) as error:
        raise broken(path, f"it is no XML ({str(error)[:120]})") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError):
        raise broken(path, "it is damaged") from None


def _judge_start(data: bytes, path: str) -> None:
    declared = _DECLARED.match(data.removeprefix(b"\xef\xbb\xbf").lstrip()[:200])
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:64]:
        raise broken(path, "it is not in UTF-8")
    if declared is not None and declared[1].strip().lower() not in _ENCODINGS:
        raise broken(path, "it is not in UTF-8")


def _judge(data: bytes, path: str) -> None:
    if _FORBIDDEN.search(data):
        raise InvalidInput(
            f"{path[:200]} holds a document type or an entity, which is refused.",
            code="unsafe_xml",
            fix="Remove the <!DOCTYPE …> from the file.",
        )
