"""COCO to EdgeFirst's Arrow table and back, beside the converter of the published client.

5,000 images with 36,000 polygons of about 26 points, 80 sparse category ids (seed 7). Each figure is the
processor time of one call in a process of its own, modules imported; ours and the client's
(``.sdk/edgefirst-2.19.0``, its own environment, made by ``make sdk``) take turns on the same files.
``warm`` is the best of three calls in one process. What comes back from us must be the file that went in,
to the last member; what of it the client loses is counted beside. ``--quick`` converts 1,000 images, three
rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from _common import median, milliseconds, print_result

CLIENT = Path(__file__).resolve().parents[1] / ".sdk" / "edgefirst-2.19.0" / "bin" / "python"
AIMS = {"coco_to_arrow": 0.5, "arrow_to_coco": 1.0}
OURS = """
import sys, time
from pathlib import Path
import arro3.core, arro3.io, numpy
import tintype_studio.formats.reading.source
from tintype_studio.formats.edf.from_coco import coco_to_arrow
from tintype_studio.formats.edf.to_coco import arrow_to_coco
from tintype_studio.formats.edf import layout
call, source, target = globals()[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3])
"""
THEIRS = """
import sys, time
import edgefirst_client
call, source, target = getattr(edgefirst_client, sys.argv[1]), sys.argv[2], sys.argv[3]
"""
TIMED = """
for _ in range(3):
    began = time.process_time()
    call(source, target)
    print(time.process_time() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    count, rounds = (1_000, 3) if options.quick else (5_000, 7)
    if not CLIENT.exists():
        sys.exit("The client is missing; run make sdk first.")
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        measure(Path(name), count, rounds)


def measure(folder: Path, count: int, rounds: int) -> None:
    """Take turns, then compare what was written."""
    source = folder / "in.json"
    document = made(count)
    source.write_bytes(orjson.dumps(document))
    jobs = {
        "coco_to_arrow": (source, source, "arrow"),
        "arrow_to_coco": (folder / "ours.arrow", folder / "theirs.arrow", "json"),
    }
    rows, ratios = [], {}
    for name, (ours_in, theirs_in, suffix) in jobs.items():
        times: dict[str, list[list[float]]] = {"ours": [], "theirs": []}
        for _ in range(rounds):
            times["ours"].append(timed(Path(sys.executable), OURS, name, ours_in, folder / f"ours.{suffix}"))
            times["theirs"].append(timed(CLIENT, THEIRS, name, theirs_in, folder / f"theirs.{suffix}"))
        for kind, of in (("first", lambda each: each[0]), ("warm", min)):
            mine, other = (median([of(each) for each in times[who]]) for who in ("ours", "theirs"))
            ratios[f"{name}_{kind}"] = mine / other
            aim = f"≤ {AIMS[name]}" if kind == "first" else ""
            rows.append(
                [f"{name}, {kind}", milliseconds(mine), milliseconds(other), f"{mine / other:.2f}", aim]
            )
    ours, theirs = (orjson.loads((folder / f"{who}.json").read_bytes()) for who in ("ours", "theirs"))
    if ours != document:
        sys.exit("What came back is not what went in.")
    ratios["ours_lost"] = 0
    ratios["client_changed_members"] = lost(document, theirs)
    print_result("arrow", ["call", "ours", "client 2.19.0", "ratio", "aim"], rows, **ratios)


def timed(python: Path, head: str, name: str, source: Path, target: Path) -> list[float]:
    """Seconds of the processor of three calls in a new process."""
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(root / f) for f in ("studio", "tools"))}
    command = [str(python), "-c", head + TIMED, name, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return [float(line) for line in done.stdout.split()]


def lost(document: dict[str, Any], found: dict[str, Any]) -> int:
    """How many members of images and annotations are not what they were."""
    number = 0
    for kind in ("images", "annotations"):
        after = {entry["id"]: entry for entry in found[kind]}
        for entry in document[kind]:
            other = after.get(entry["id"], {})
            number += sum(json.dumps(value) != json.dumps(other.get(key)) for key, value in entry.items())
    return number


def made(count: int) -> dict[str, Any]:
    """A COCO file of ``count`` images and 7.2 times as many polygons."""
    rng = np.random.default_rng(7)
    categories = sorted(rng.choice(np.arange(1, 200), 80, replace=False).tolist())
    images = [
        {"id": 100 + 3 * n, "file_name": f"{n:012d}.jpg", "width": 640, "height": 480, "license": 1}
        | {"coco_url": f"http://images.example/{n:012d}.jpg", "date_captured": "2013-11-14 11:18:45"}
        for n in range(count)
    ]
    annotations = []
    for number in range(count * 36 // 5):
        points = int(np.clip(rng.gamma(2.2, 12), 4, 200))
        angles = np.sort(rng.uniform(0, 2 * np.pi, points))
        radii = rng.uniform(8, 58) * rng.uniform(0.6, 1, points)
        ring = rng.uniform((60, 60), (580, 420)) + (radii * np.array([np.cos(angles), np.sin(angles)])).T
        ring = np.round(ring, 2)
        low, high = ring.min(axis=0), ring.max(axis=0)
        x, y = ring.T
        annotations.append(
            {
                "id": 1000 + number,
                "image_id": 100 + 3 * int(rng.integers(0, count - 4)),
                "category_id": categories[number % 80],
                "segmentation": [ring.reshape(-1).tolist()],
                "area": round(abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2, 4),
                "bbox": [*low.tolist(), *np.round(high - low, 2).tolist()],
                "iscrowd": 0,
            }
        )
    return {
        "info": {"description": "synthetic"},
        "licenses": [{"id": 1, "name": "x", "url": "y"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": id, "name": f"class {id}", "supercategory": "things"} for id in categories],
    }


if __name__ == "__main__":
    main()
