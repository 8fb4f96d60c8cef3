"""Reading annotated datasets: COCO, YOLO, Pascal VOC and CVAT, out of a folder.

``read`` is from the folder to annotations with their coordinates in memory, which is what the peers do;
``kept`` goes on to what an import stores: checked, every vertex an object. The floors are reading the bytes
of the annotation files, and parsing them with the fastest parser that is at hand (orjson, expat). Ours and
the floors take turns; the peers, Datumaro and supervision, read the same files in ``.sdk/peers``, made at the
first full run. YOLO's shares need the sizes of the images, which peers take from the files and we from the
import, so that ours reads each image here, too. ``--processor`` counts processor time instead of the clock's.
``--quick`` reads 500 images and leaves the peers out, unless ``--peers`` asks for them.

supervision makes a mask of the whole image of every polygon, so it gets fewer images (``SOME``) and its time
is counted by the image. It knows no CVAT. Datumaro reads the boxes of Pascal VOC, not the polygons beside
them; so there is the same dataset with boxes only, too.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat

import orjson
from _common import median, print_result
from bench_formats import (
    CLASSES,
    CREATED,
    FORMATS,
    HEIGHT,
    WIDTH,
    ask_peers,
    clock,
    items_of,
    made_shapes,
    make_peers,
)
from PIL import Image

from tintype_studio.formats import writer_for
from tintype_studio.formats.base import ExportClass, ExportItem
from tintype_studio.formats.reading import open_reader
from tintype_studio.formats.reading.source import open_source
from tintype_studio.media.inspect import inspect_image

SOME = 40
BOXES = "pascal_voc_boxes"
CASES = (*FORMATS, BOXES)
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--processor", action="store_true", help="processor time, for busy machines")
    options = parser.parse_args()
    count, rounds = (500, 3) if options.quick else (5_000, 5)
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        measure_reading(Path(name).resolve(), count, rounds, peers=options.peers or not options.quick)


def put(folder: Path, items: list[ExportItem], boxes: list[ExportItem]) -> None:
    """The dataset in all formats, each in a folder of its own; the images are one picture, linked."""
    picture = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 90)).save(picture, "JPEG")
    folder.mkdir()
    (folder / "picture.jpg").write_bytes(picture.getvalue())
    for name in CASES:
        archive = folder / f"{name}.zip"
        with (
            zipfile.ZipFile(archive, "w") as out,
            writer_for(name.removesuffix("_boxes"))(
                out, dataset_name="bench", classes=[ExportClass(c) for c in CLASSES], created_at=CREATED
            ) as writer,
        ):
            for item in boxes if name == BOXES else items:
                writer.add(item)
            writer.finish()
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder / name)
        for item in items:
            places = {"pascal_voc": "JPEGImages", BOXES: "JPEGImages", "yolo": f"images/{item.split}"}
            place = places.get(name, "images")
            target = folder / name / place / item.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(folder / "picture.jpg", target)


def read(folder: Path, *, kept: bool) -> tuple[float, int]:
    """Seconds, and polygons."""
    began = clock()
    polygons = 0
    with open_source(folder) as source:
        reader = open_reader(source)
        for item in reader.items():
            width, height = WIDTH, HEIGHT
            if reader.format == "yolo" and item.image is not None:
                info = inspect_image(source.read(item.image), item.filename)
                width, height = info.width, info.height
            converted = item.convert(width, height)
            polygons += len(converted.documents) if kept else len(converted)
    return clock() - began, polygons


def annotation_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix not in {".jpg", ".yaml"} and path.is_file()]


def read_bytes(files: list[Path]) -> float:
    began = clock()
    for path in files:
        path.read_bytes()
    return clock() - began


def parse(files: list[Path]) -> float:
    """Seconds to read and parse the files with nothing made of it."""
    began = clock()
    for path in files:
        data = path.read_bytes()
        if path.suffix == ".json":
            orjson.loads(data)
        elif path.suffix == ".xml":
            expat.ParserCreate().Parse(data, True)
        else:
            list(map(float, data.split()))
    return clock() - began


def measure_reading(folder: Path, count: int, rounds: int, *, peers: bool) -> None:
    shapes = made_shapes(count)
    polygons = sum(map(len, shapes))
    items, boxes = items_of(shapes), items_of(shapes, boxes=True)
    put(folder / "whole", items, boxes)
    if peers:
        put(folder / "some", items[:SOME], boxes[:SOME])
    del shapes, items, boxes  # or they would be searched for garbage while what was put is read
    files = {name: annotation_files(folder / "whole" / name) for name in CASES}
    tables = {name: [f for f in files[name] if "ImageSets" not in f.parts] for name in CASES}
    measures: dict[str, Callable[[str], float]] = {
        "read": lambda name: timed(folder / "whole" / name, polygons, kept=False),
        "kept": lambda name: timed(folder / "whole" / name, polygons, kept=True),
        "bytes": lambda name: read_bytes(files[name]),
        "parsed": lambda name: parse([f for f in tables[name] if f.name != "labelmap.txt"]),
    }
    times: dict[tuple[str, str], list[float]] = {(m, name): [] for m in measures for name in CASES}
    for turn in range(rounds + 1):
        for name in CASES:
            for measure, run in measures.items():
                seconds = run(name)
                if turn:  # the first one imports and fills the cache of files
                    times[measure, name].append(seconds)
    others: dict[str, dict[str, float]] = {}
    if peers:
        make_peers()
        others = ask_peers("reading_peers.py", folder / "whole", folder / "some", polygons)
    rows, ratios = [], {}
    for name in CASES:
        mine = median(times["read", name])
        over_bytes, over_parsed = (
            median([a / b for a, b in zip(times["read", name], times[floor, name], strict=True)])
            for floor in ("bytes", "parsed")
        )
        ratios |= {f"{name}_over_bytes": over_bytes, f"{name}_over_parsing": over_parsed}
        cells = [f"{mine:.2f} s", f"{median(times['kept', name]):.2f} s", f"{polygons / mine:,.0f}"]
        cells += [f"{over_bytes:.1f}", f"{over_parsed:.2f}"]
        for peer in ("datumaro", "supervision"):
            seconds = others.get(peer, {}).get(name)
            if seconds is None:
                cells += ["", ""]
                continue
            ratios[f"{name}_beside_{peer}"] = seconds * count / mine
            cells += [f"{seconds * count:.1f} s", f"{seconds * count / mine:.1f}"]
        rows.append([name, *cells])
    head = [f"reading {count:,} images, {polygons:,} polygons", "ours: read", "kept", "polygons/s"]
    head += ["read / bytes", "read / parsing", "datumaro", "times ours", "supervision", "times ours"]
    print_result("reading", head, rows, **ratios)


def timed(folder: Path, polygons: int, *, kept: bool) -> float:
    seconds, found = read(folder, kept=kept)
    if found != polygons:
        raise RuntimeError(f"{folder.name}: {found} of {polygons} polygons were read")
    return seconds


if __name__ == "__main__":
    main()
