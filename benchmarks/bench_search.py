"""Tags and search: nearest vectors beside numpy brute force, near-duplicates, the descriptor, indexing.

``--quick`` stops at 100,000 vectors; the full form goes to 1,000,000 and takes some minutes and 5 GB of
disk in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _common import median, milliseconds, percentile, print_result
from numpy.typing import NDArray
from PIL import Image
from scenes import make_scene
from vectors import DIMENSIONS, EMBEDDER, fill, make_vectors

from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.media.decode import decode_with_info
from tintype_studio.search.duplicates import Candidate, group_duplicates
from tintype_studio.search.vector_store import FileVectorStore
from tintype_studio.storage.database import Database
from tintype_studio.studio import Studio, Workspace
from tintype_studio.vision.descriptors import LayoutEmbedder
from tintype_studio.vision.fingerprints import fingerprint
from tintype_studio.vision.tags import REDUCED_SIDE, attribute_tags

Pixels = NDArray[np.uint8]
PHOTOS = Path(__file__).parents[1] / "server/tintype_server/demo_photos"
QUERIES = 30
NEIGHBOURS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask(*options.ask)
        return
    ratios: dict[str, float] = {}
    rows: list[list[str]] = []
    for count in (1_000, 100_000) if options.quick else (1_000, 100_000, 1_000_000):
        nearest(count, rows, ratios)
    pictures = photographs() + [scene(s) for s in range(30 if options.quick else 300)]
    duplicates(pictures, rows, ratios)
    retrieval(photographs() + [scene(s) for s in range(1000, 1015)], rows, ratios)
    tags(photographs() + [scene(s) for s in range(1000, 1015)], rows, ratios)
    indexing(40 if options.quick else 300, rows, ratios)
    print_result("search", ("measure", "ours", "plain", "ours / plain"), rows, **ratios)


# --- Nearest vectors ----------------------------------------------------------------------------------


def nearest(count: int, rows: list[list[str]], ratios: dict[str, float]) -> None:
    """Recall@10, time and private memory of a search, and of a matrix product over all vectors."""
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        home = Path(name) / "home"
        vectors = make_vectors(count)
        studio, dataset_id = fill(home, vectors)
        np.save(home / "vectors.npy", vectors)
        del vectors
        store = FileVectorStore(studio.database, home / "search" / "vectors")
        start = time.perf_counter()
        store.ready(dataset_id, EMBEDDER, DIMENSIONS)
        built = time.perf_counter() - start
        studio.close()
        both = {
            who: json.loads(
                subprocess.run(
                    [sys.executable, __file__, "--ask", who, str(home), str(dataset_id)],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for who in ("plain", "ours")
        }
    ours, plain = both["ours"], both["plain"]
    hits = sum(len(set(a) & set(b)) for a, b in zip(ours["found"], plain["found"], strict=True))
    recall = hits / (QUERIES * NEIGHBOURS)
    label = f"{count:,} vectors"
    time_ratio = ours["median"] / plain["median"]
    rows.append([f"{label}, recall@10", f"{recall:.4f}", "1.0000", ""])
    rows.append(
        [f"{label}, median", *(milliseconds(x["median"]) for x in (ours, plain)), f"{time_ratio:.2f}"]
    )
    rows.append([f"{label}, p95", *(milliseconds(x["p95"]) for x in (ours, plain)), ""])
    rows.append([f"{label}, private memory", *(f"{x['memory']:.0f} MiB" for x in (ours, plain)), ""])
    rows.append([f"{label}, first search of a process", milliseconds(ours["first"]), "", ""])
    rows.append([f"{label}, files (and index) made", f"{built:.1f} s", "", ""])
    ratios[f"recall_{count}"] = recall
    ratios[f"time_{count}"] = time_ratio


def ask(who: str, home: str, dataset_id: str) -> None:
    """In a child: the queries one way; prints what was found, the times, and the memory it took."""
    stored = np.load(Path(home) / "vectors.npy", mmap_mode="r")
    queries = make_vectors(QUERIES, seed=9).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    before = private_mib()
    if who == "plain":
        matrix = stored.astype(np.float32)

        def search(query: NDArray[np.float32]) -> list[int]:
            scores = matrix @ query
            top = np.argpartition(-scores, NEIGHBOURS)[:NEIGHBOURS]
            return [int(i) + 1 for i in top[np.argsort(-scores[top])]]
    else:
        store = FileVectorStore(Database(f"sqlite:///{home}/tintype.db"), Path(home) / "search" / "vectors")

        def search(query: NDArray[np.float32]) -> list[int]:
            ids, _ = store.nearest(int(dataset_id), EMBEDDER, query, count=NEIGHBOURS, threshold=-2)
            return [int(i) for i in ids]

    start = time.perf_counter()
    search(queries[0])
    first = time.perf_counter() - start
    found, times = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query))
        times.append(time.perf_counter() - start)
    print(
        json.dumps(
            {
                "found": found,
                "median": median(times),
                "p95": percentile(times, 95),
                "memory": private_mib() - before,
                "first": first,
            }
        )
    )


def private_mib() -> float:
    """Memory of this process that is no file's, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


# --- Pictures -----------------------------------------------------------------------------------------


def photographs() -> list[Pixels]:
    return [np.asarray(Image.open(p).convert("RGB")) for p in sorted(PHOTOS.glob("*/*.jpg"))]


def scene(seed: int) -> Pixels:
    return np.asarray(make_scene(seed).image, np.uint8)


def part_of(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    high, wide = pixels.shape[:2]
    height, width = int(high * share**0.5), int(wide * share**0.5)
    top, left = rng.integers(high - height + 1), rng.integers(wide - width + 1)
    return pixels[top : top + height, left : left + width]


def recoded(pixels: Pixels, quality: int) -> Pixels:
    data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def scaled(pixels: Pixels, factor: float) -> Pixels:
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=kind), np.uint8)


def relit(pixels: Pixels, factor: float) -> Pixels:
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


def copies(pixels: Pixels, rng: np.random.Generator) -> Iterator[Pixels]:
    """The same picture: recompressed; scaled; relit; a little cropped; all of it."""
    yield recoded(pixels, int(rng.integers(40, 76)))
    yield recoded(scaled(pixels, rng.uniform(0.3, 1.5)), 70)
    yield recoded(relit(pixels, rng.uniform(0.8, 1.2)), 70)
    yield recoded(part_of(pixels, rng.uniform(0.94, 1), rng), 70)
    everything = scaled(part_of(pixels, rng.uniform(0.94, 1), rng), rng.uniform(0.3, 1.5))
    yield recoded(relit(everything, rng.uniform(0.8, 1.2)), int(rng.integers(40, 76)))


# --- Near-duplicates ----------------------------------------------------------------------------------


def duplicates(pictures: list[Pixels], rows: list[list[str]], ratios: dict[str, float]) -> None:
    """Five copies of each picture; a pair is right if both show one picture."""
    rng = np.random.default_rng(3)
    made = [(i, p) for i, picture in enumerate(pictures) for p in (picture, *copies(picture, rng))]
    owner = np.array([i for i, _ in made])
    images = [
        Candidate(n, fingerprint(reduced(p)), 0, p.shape[0] * p.shape[1]) for n, (_, p) in enumerate(made)
    ]
    small = np.stack([plain_hash(p) for _, p in made])
    near = (small[:, None] != small[None]).sum(axis=2) <= 10
    plain_pairs = np.argwhere(np.triu(near, 1))
    plain_right = owner[plain_pairs[:, 0]] == owner[plain_pairs[:, 1]]
    all_pairs = sum(n * (n - 1) // 2 for n in np.bincount(owner))
    kind = np.array([n % 6 for n in range(len(made))])
    for likeness, promised in (("same", kind < 3), ("near", kind < 6), ("loose", kind < 6)):
        groups = group_duplicates(images, likeness)  # type: ignore[arg-type]
        pairs = [(g.keep, other) for g in groups for other in g.others]
        right = [pair for pair in pairs if owner[pair[0]] == owner[pair[1]]]
        precision = len(right) / max(1, len(pairs))
        found = np.zeros(len(made), np.bool_)
        found[[n for pair in right for n in pair]] = True
        recall = found[promised].mean()
        which = "recompressed and scaled copies" if likeness == "same" else "all copies"
        rows.append([f"near-duplicates, {likeness}: precision", f"{precision:.3f}", "", ""])
        rows.append([f"near-duplicates, {likeness}: {which} found", f"{recall:.3f}", "", ""])
        ratios[f"{likeness}_precision"], ratios[f"{likeness}_recall"] = precision, recall
    rows.append(
        [
            "plain 64-bit difference hash, 10 bits: precision, pairs found",
            "",
            f"{plain_right.mean():.3f}, {plain_right.sum() / all_pairs:.3f}",
            "",
        ]
    )
    many = [Candidate(n, np.random.default_rng(n).bytes(80), 0, 0) for n in range(10_000)]
    start = time.perf_counter()
    group_duplicates(many, "near")
    rows.append(["10,000 images compared pair by pair", f"{time.perf_counter() - start:.1f} s", "", ""])


def reduced(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels)
    image.thumbnail((REDUCED_SIDE, REDUCED_SIDE))
    return np.asarray(image)


def plain_hash(pixels: Pixels) -> NDArray[np.bool_]:
    """The usual 8 x 8 difference hash."""
    grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return (np.asarray(grey)[:, 1:] > np.asarray(grey)[:, :-1]).ravel()


# --- The descriptor -----------------------------------------------------------------------------------


def retrieval(pictures: list[Pixels], rows: list[list[str]], ratios: dict[str, float]) -> None:
    """Mean average precision: parts of half the area under other light, each asked for its siblings."""
    rng = np.random.default_rng(5)
    parts, owner = [], []
    for number, picture in enumerate(pictures):
        for _ in range(8):
            part = relit(part_of(picture, rng.uniform(0.5, 1), rng), rng.uniform(0.75, 1.25))
            parts.append(recoded(part if rng.random() > 0.3 else part[:, ::-1], 70))
            owner.append(number)
    labels = np.array(owner)
    embedder = LayoutEmbedder()
    methods: dict[str, Callable[[Pixels], Any]] = {
        "ours": lambda p: embedder.embed([reduced(p)])[0],
        "plain": tiny_image,
    }
    score = {}
    for name, method in methods.items():
        vectors = np.stack([method(p) for p in parts]).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
        score[name] = mean_average_precision(vectors @ vectors.T, labels)
    ratio = score["ours"] / score["plain"]
    rows.append(
        [
            "parts of half the area, mAP (plain: tiny images)",
            *(f"{score[n]:.3f}" for n in methods),
            f"{ratio:.2f}",
        ]
    )
    ratios["descriptor_map"] = score["ours"]
    ratios["descriptor_map_tiny"] = score["plain"]


def tiny_image(pixels: Pixels) -> NDArray[np.float32]:
    """16 x 16 colours without their mean, after Torralba's tiny images."""
    small = np.asarray(cv2.resize(pixels, (16, 16), interpolation=cv2.INTER_AREA)).astype(np.float32)
    return (small - small.mean()).ravel()


def mean_average_precision(similarity: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    np.fill_diagonal(similarity, -9)
    order = np.argsort(-similarity, axis=1)[:, :-1]
    right = labels[order] == labels[:, None]
    precision = np.cumsum(right, axis=1) / np.arange(1, right.shape[1] + 1)
    return float(((precision * right).sum(axis=1) / right.sum(axis=1)).mean())


# --- Tags ---------------------------------------------------------------------------------------------


def tags(pictures: list[Pixels], rows: list[list[str]], ratios: dict[str, float]) -> None:
    """How often a change is told, and how often the tag stands on pictures that were not changed."""
    changes: dict[str, Callable[[NDArray[np.float32]], Any]] = {
        "dark": lambda p: p * 0.25,
        "bright": lambda p: p * 0.3 + 175,
        "low_contrast": lambda p: (p - 128) * 0.22 + 128,
        "overexposed": lambda p: p * 2.5 + 60,
        "greyscale": lambda p: np.repeat(p.mean(axis=2, keepdims=True), 3, axis=2),
        "blurry": lambda p: cv2.GaussianBlur(p, (0, 0), 3),
    }
    small = [reduced(p) for p in pictures]
    for name, change in changes.items():
        seen = sum(name in named(change(p.astype(np.float32))) for p in small) / len(small)
        anyway = sum(name in named(p) for p in small) / len(small)
        rows.append([f"tag {name}: told when made so, and anyway", f"{seen:.2f}, {anyway:.2f}", "", ""])
        ratios[f"tag_{name}"] = seen


def named(pixels: Any) -> set[str]:
    clipped = np.clip(pixels, 0, 255).astype(np.uint8)
    return {tag.name for tag in attribute_tags(clipped, (clipped.shape[1], clipped.shape[0]))}


# --- Indexing -----------------------------------------------------------------------------------------


def indexing(count: int, rows: list[list[str]], ratios: dict[str, float]) -> None:
    """Images per second in the background, what that costs a call, and what it costs an upload."""
    photo = Image.open(next(PHOTOS.glob("people/astronaut.jpg"))).convert("RGB").resize((1920, 1080))
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        source = Path(name) / "photographs"
        source.mkdir()
        base, rng = np.asarray(photo), np.random.default_rng(0)
        for number in range(count):
            shifted = np.roll(base, int(rng.integers(1000)), axis=1)
            Image.fromarray(shifted).save(source / f"{number:05}.jpg", quality=85)
        data = (source / "00000.jpg").read_bytes()
        one = look_time(data)
        rows.append(["one 1080p JPEG: decode, tags, fingerprint, vector", milliseconds(one), "", ""])

        speed = dict.fromkeys((False, True), 0.0)
        for turn, background in enumerate((False, True, False, True)):
            studio = Studio(Workspace(Path(name) / f"home-{turn}"))
            if background:
                studio.search.indexer.start()
            owner = studio.keys.authenticate(saved_api_key(studio.home))
            dataset = studio.datasets.create(owner, name="bench")
            start = time.perf_counter()
            studio.ingest.add_folder(owner, dataset, source)
            speed[background] = max(speed[background], count / (time.perf_counter() - start))
            if background:
                busy = call_times(studio, owner)
                while studio.search.indexer.missing():
                    time.sleep(0.1)
                idle = call_times(studio, owner)
            studio.close()
        ratio = speed[True] / speed[False]
        rows.append(
            [
                "upload, images per second, indexer on and off",
                *(f"{speed[b]:.0f}" for b in (True, False)),
                f"{ratio:.2f}",
            ]
        )
        rows.append(
            [
                "a read while the indexer works, and after: median",
                *(milliseconds(median(t)) for t in (busy, idle)),
                f"{median(busy) / median(idle):.2f}",
            ]
        )
        rows.append(["the same, p95", *(milliseconds(percentile(t, 95)) for t in (busy, idle)), ""])
        ratios["upload_with_indexer"] = ratio

        studio = Studio(Workspace(Path(name) / "home-0"))
        start = time.perf_counter()
        done = studio.search.indexer.catch_up()
        rate = done / (time.perf_counter() - start)
        studio.close()
        rows.append(["1080p JPEGs indexed per second, one thread", f"{rate:.0f}", "", ""])
        ratios["indexed_per_second"] = rate


def look_time(data: bytes) -> float:
    embedder, times = LayoutEmbedder(), []
    for _ in range(12):
        start = time.perf_counter()
        picture, info = decode_with_info(data, fit=(REDUCED_SIDE, REDUCED_SIDE))
        pixels = np.asarray(picture)
        attribute_tags(pixels, (info.width, info.height))
        fingerprint(pixels)
        embedder.embed([pixels])
        times.append(time.perf_counter() - start)
    return median(times)


def call_times(studio: Studio, owner: Any) -> list[float]:
    """Times of short reads over about two seconds, beginning once the indexer has had time to start."""
    time.sleep(1.3)
    times: list[float] = []
    ended = threading.Event()
    threading.Timer(2.0, ended.set).start()
    while not ended.is_set():
        start = time.perf_counter()
        studio.datasets.get(owner, "bench")
        times.append(time.perf_counter() - start)
        time.sleep(0.002)
    return times


if __name__ == "__main__":
    main()
