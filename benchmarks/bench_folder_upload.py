"""How fast a folder of pictures is uploaded, beside a plain loop, and whether memory stays flat.

    python benchmarks/bench_folder_upload.py [--quick] [--count N]

The plain loop reads each file, takes its SHA-256, opens its header with Pillow and writes it into another
folder. Pictures are generated JPEGs of 1280 x 960 with the texture of a photograph. Memory is the largest
resident size of a child process that uploads 1,000, then of one that uploads 20,000, small pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import print_result

from tintype_studio.studio import Studio, Workspace

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer pictures")
    parser.add_argument("--count", type=int, help="pictures to upload; default 400, quick 100")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        measure_memory(Path(arguments.memory_of))
        return
    count = arguments.count or (100 if arguments.quick else 400)
    few, many = (200, 2_000) if arguments.quick else (1_000, 20_000)
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        folder = Path(name)
        size = make_photographs(folder / "photographs", count)
        ours, plain = compare(folder, count)
        memory = {number: peak_memory(folder, number) for number in (few, many)}
    rows = [
        [
            f"{count} JPEGs of {size // 1000} kB, files per second",
            f"{ours:.0f}",
            f"{plain:.0f}",
            f"{ours / plain:.2f}",
        ],
        [
            f"peak memory, {many} / {few} files",
            f"{memory[many] / 1024:.1f} MiB",
            f"{memory[few] / 1024:.1f} MiB",
            f"{memory[many] / memory[few]:.2f}",
        ],
    ]
    print_result(
        "folder_upload",
        ["folder upload", "ours / many", "plain / few", "ratio"],
        rows,
        files_per_second=ours / plain,
        memory=memory[many] / memory[few],
    )


def make_photographs(folder: Path, count: int) -> int:
    """Write JPEGs of about 250 kB; returns their mean size in bytes.

    Each is cut from one larger scene and given a comment of its own, so that no two have equal bytes and
    generating them takes little time.
    """
    import numpy as np
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(7)
    small = Image.fromarray(random.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((1600, 1200), Image.Resampling.BICUBIC), dtype=np.float32)
    scene = np.clip(smooth + random.normal(0, 13, smooth.shape), 0, 255).astype(np.uint8)
    encoded = []
    for _ in range(16):
        x, y = random.integers(0, 320), random.integers(0, 240)
        buffer = io.BytesIO()
        Image.fromarray(scene[y : y + 960, x : x + 1280]).save(buffer, "JPEG", quality=72)
        encoded.append(buffer.getvalue())
    for number in range(count):
        data = encoded[number % len(encoded)]
        comment = f"{number:08}".encode()
        marked = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
        (folder / f"{number:05}.jpg").write_bytes(marked)
    return sum(len(data) for data in encoded) // len(encoded)


def compare(folder: Path, count: int) -> tuple[float, float]:
    """Best files per second of ours and of the plain loop."""
    ours, plain = [], []
    for number in range(ROUNDS):
        target = folder / "plain"
        target.mkdir()
        start = time.perf_counter()
        plain_loop(folder / "photographs", target)
        plain.append(count / (time.perf_counter() - start))
        shutil.rmtree(target)

        home = folder / "home"
        studio = Studio(Workspace(home))
        start = time.perf_counter()
        uploaded = upload(studio, folder / "photographs", f"round {number}")
        ours.append(count / (time.perf_counter() - start))
        studio.close()
        if uploaded != count:
            raise RuntimeError(f"{uploaded} of {count} pictures were uploaded")
        shutil.rmtree(home)
    return max(ours), max(plain)


def plain_loop(source: Path, target: Path) -> None:
    """What the work is without a platform."""
    from PIL import Image

    for path in sorted(source.iterdir()):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        if width < 1 or height < 1:
            raise RuntimeError("a picture without area")
        (target / digest).write_bytes(data)


def upload(studio: Studio, folder: Path, name: str) -> int:
    """Upload a folder into a new dataset; returns the images taken."""
    from tintype_studio.identity.bootstrap import saved_api_key

    principal = studio.keys.authenticate(saved_api_key(studio.home))
    dataset = studio.datasets.create(principal, name=name)
    return studio.ingest.add_folder(principal, dataset, folder).images_uploaded


def peak_memory(folder: Path, count: int) -> int:
    """Largest resident size, in KiB, of a process that uploads ``count`` small pictures."""
    work = folder / f"memory-{count}"
    pictures = work / "pictures"
    pictures.mkdir(parents=True)
    make_small_pictures(pictures, count)
    result = subprocess.run(
        [sys.executable, __file__, "--memory-of", str(work)], check=True, capture_output=True, text=True
    )
    shutil.rmtree(work)
    return int(result.stdout)


def make_small_pictures(folder: Path, count: int) -> None:
    """Write JPEGs of 32 x 24, each with bytes of its own."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((32, 24)).save(buffer, "JPEG")
    data = buffer.getvalue()
    for number in range(count):
        comment = f"{number:08}".encode()
        marked = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
        (folder / f"{number:06}.jpg").write_bytes(marked)


def measure_memory(work: Path) -> None:
    """In a child: upload, then print this process's largest resident size in KiB."""
    studio = Studio(Workspace(work / "home"))
    upload(studio, work / "pictures", "memory")
    studio.close()
    print(peak_kib())


def peak_kib() -> int:
    """Largest resident size so far. On Linux, ``ru_maxrss`` counts the parent's size before ``exec``, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
