"""Which file belongs to which sample.

Files of a frame are ``<sequence>/<sequence>_<frame>.<type>.<ext>`` or, flat, ``<sequence>_<frame>…``;
those of a sample that is no frame ``<name>.<type>.<ext>``. They lie beside the table: in a folder of its
name or in ``dataset``, or in a ZIP so named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tintype_studio.formats.reading.source import Source

PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "heic", "heif", "avif")
SENSOR_SUFFIXES = {
    "lidar.pcd": ("lidar.pcd", "pcd"),
    "lidar.depth": ("lidar.png", "lidar.depth", "lidar.depth.png", "depth.png"),
    "lidar.reflect": ("lidar.jpeg", "lidar.jpg", "lidar.reflect", "lidar.reflect.jpeg", "lidar.reflect.png"),
    "radar.pcd": ("radar.pcd",),
    "radar.png": ("radar.png",),
}
"""Type of a file by what follows the sample's name; longer ones first where one ends like another."""

_SUFFIXES = sorted(
    ((f".{suffix}", kind) for kind, suffixes in SENSOR_SUFFIXES.items() for suffix in suffixes),
    key=lambda pair: -len(pair[0]),
)


def split_name(filename: str) -> tuple[str, str] | None:
    """``(stem, type)`` of a file's name: ``a_001.camera.jpeg`` is ``a_001`` and ``image``; None if it is
    neither a picture nor a sensor's file.
    """
    lowered = filename.lower()
    for suffix, kind in _SUFFIXES:
        if lowered.endswith(suffix) and len(lowered) > len(suffix):
            return filename[: -len(suffix)], kind
    stem, dot, extension = filename.rpartition(".")
    if not dot or not stem or extension.lower() not in PICTURES:
        return None
    return (stem[:-7] if stem.lower().endswith(".camera") else stem), "image"


class FileIndex:
    """Files by what they are called, found by the name and frame of a sample."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._by_stem: dict[str, dict[str, str]] = defaultdict(dict)
        self._by_path: dict[str, dict[str, str]] = defaultdict(dict)
        self._names: dict[str, list[str]] = defaultdict(list)
        self._paths = frozenset(paths)
        for path in paths:
            folder, _, filename = path.rpartition("/")
            self._names[filename.lower()].append(path)
            found = split_name(filename)
            if found is None:
                continue
            stem, kind = found
            self._by_path[f"{folder}/{stem}".lower().lstrip("/")].setdefault(kind, path)
            self._by_stem[stem.lower()].setdefault(kind, path)

    def path(self, told: str) -> str | None:
        """The file of this path, wherever the container begins; None if there is none."""
        if told in self._paths:
            return told
        found = [
            path for path in self._names.get(told.rpartition("/")[2].lower(), ()) if path.endswith(f"/{told}")
        ]
        return found[0] if len(found) == 1 else None

    def find(self, name: str, frame: int | None, file_name: str | None = None) -> dict[str, str]:
        """Paths of the files of a sample, by type. ``file_name`` is that of its picture where it is known."""
        found: Mapping[str, str] = {}
        for key in self._keys(name, frame):
            found = self._by_path.get(key) or self._by_stem.get(key) or {}
            if found:
                break
        files = dict(found)
        if file_name is not None and (path := self._named(file_name)) is not None:
            files["image"] = path
            if not found and (told := split_name(path.rpartition("/")[2])) is not None:
                folder = path.rpartition("/")[0]
                files = {**self._by_path.get(f"{folder}/{told[0]}".lower().lstrip("/"), {}), "image": path}
        elif frame is None and "image" not in files and (paths := self._names.get(name.lower())):
            files["image"] = paths[0]
        return files

    def _named(self, file_name: str) -> str | None:
        wanted = file_name.replace("\\", "/").lower()
        paths = self._names.get(wanted.rpartition("/")[2], ())
        exact = [path for path in paths if path.lower() == wanted or path.lower().endswith(f"/{wanted}")]
        return next(iter(exact or paths), None) if exact or len(paths) == 1 else None

    @staticmethod
    def _keys(name: str, frame: int | None) -> Iterator[str]:
        lowered = name.lower()
        if frame is None:
            yield lowered
            return
        for number in dict.fromkeys((f"{frame:03}", f"{frame}", f"{frame:04}", f"{frame:05}", f"{frame:06}")):
            yield f"{lowered}/{lowered}_{number}"
            yield f"{lowered}_{number}"


class Files:
    """The files beside a table."""

    def __init__(self, source: Source | None, prefix: str = "") -> None:
        self.source = source
        self._prefix = prefix
        paths = [] if source is None else [path for path in source.paths if path.startswith(prefix)]
        self.index = FileIndex([path[len(prefix) :] for path in paths])

    @classmethod
    def beside(cls, table: Path) -> Self:
        """Of the folder or ZIP that belongs to a table; none if there is none."""
        from tintype_studio.formats.reading.source import open_source

        real = table.resolve()
        for stem in (real.stem, "dataset"):
            for place in (real.with_name(stem), real.with_name(f"{stem}.zip")):
                if place.exists() and not place.is_symlink():
                    return cls(open_source(place))
        return cls(None)

    def picture(self, name: str, frame: int | None) -> str | None:
        """The path of a sample's picture in the container."""
        return self.index.find(name, frame).get("image")

    def close(self) -> None:
        """Let go of the container."""
        if self.source is not None:
            self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
