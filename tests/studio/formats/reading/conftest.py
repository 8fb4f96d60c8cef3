"""Sources from files in memory, read to the end."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tintype_studio.formats.reading import open_reader
from tintype_studio.formats.reading.base import ImportItem, Reader
from tintype_studio.formats.reading.converted import Converted
from tintype_studio.formats.reading.source import Source, open_source

Files = dict[str, Any]


@dataclass
class Read:
    """A source that was read; ``items`` by path."""

    reader: Reader
    items: dict[str, ImportItem]
    size: tuple[int, int]
    """Width and height of every image."""

    @property
    def format(self) -> str:
        return self.reader.format

    def converted(self, path: str) -> Converted:
        item = self.items[path]
        assert item.error is None, item.error
        return item.convert(*self.size)

    def shapes(self, path: str) -> list[Any]:
        """The annotations as models: whatever a reader makes must be valid."""
        return self.converted(path).annotations

    @property
    def splits(self) -> dict[str, tuple[str | None, str | None]]:
        """The image file and the split of each item."""
        return {path: (item.image, item.split) for path, item in self.items.items()}

    def kinds(self, path: str) -> list[tuple[str, str]]:
        """Type and class of each annotation."""
        return [(a.type, a.name) for a in self.shapes(path)]

    def refused(self, path: str) -> str:
        """The code with which the item or its annotations are refused."""
        item = self.items[path]
        if item.error is not None:
            return item.error.code
        with pytest.raises(Exception) as refused:  # noqa: PT011
            item.convert(*self.size)
        return str(refused.value.code)


def as_bytes(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


def as_zip(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, as_bytes(content))
    return out.getvalue()


def as_folder(root: Path, files: Files) -> Path:
    root.mkdir(exist_ok=True)
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(as_bytes(content))
    return root


def read_source(source: Source, format: str = "auto", size: tuple[int, int] = (64, 48)) -> Read:
    """The source must stay open while the annotations are converted."""
    reader = open_reader(source, format)
    items = list(reader.items())
    paths = [item.path for item in items]
    assert len(set(paths)) == len(paths)
    again = [item.path for item in reader.items()]
    assert again == paths
    return Read(reader, dict(zip(paths, items, strict=True)), size)


@pytest.fixture(params=["folder", "zip"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Reads files given by path, out of a folder and out of a ZIP."""
    opened: list[Source] = []

    def run(files: Files, format: str = "auto", size: tuple[int, int] = (64, 48)) -> Read:
        if request.param == "folder":
            path = as_folder(tmp_path / f"source{len(opened)}", files)
        else:
            path = tmp_path / f"source{len(opened)}.zip"
            path.write_bytes(as_zip(files))
        opened.append(open_source(path))
        return read_source(opened[-1], format, size)

    yield run
    for source in opened:
        source.close()


@pytest.fixture
def refuse(read: Callable[..., Read]) -> Callable[..., str]:
    """The code with which files are refused as a whole."""

    def run(files: Files, format: str = "auto") -> str:
        with pytest.raises(Exception) as refused:  # noqa: PT011
            read(files, format)
        return str(refused.value.code)

    return run
