"""How fast frames of a video become images of a dataset, beside the command line of ffmpeg.

    python benchmarks/bench_frames.py [--quick] [--seconds N] [--ffmpeg PATH]

A clip of 1920 x 1080 at 30 frames per second is made (H.264, a key frame each second, moving noise over a
picture), and frames of it are taken at 1, 5 and 30 per second. ``engine``: frames as JPEG files in memory,
from the file, in this process. ``job``: the whole of an extraction, with its child process, the images
stored and committed. The peer writes the same frames as JPEG files of a slightly lower quality into a
folder: ``ffmpeg -i clip -vf fps=N -q:v 3``, all by default. All take turns, three rounds, best times.

ffmpeg is looked for on the path; ``pip install imageio-ffmpeg`` brings one, too. Without it the peer is left
out.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from _common import print_result

from tintype_studio import clock
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio, Workspace
from tintype_studio.video.choice import Span, choose
from tintype_studio.video.frames import batch_size, release, take

WIDTH, HEIGHT, FPS = 1920, 1080, 30
RATES = (1.0, 5.0, 30.0)
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 seconds of video, one round")
    parser.add_argument("--seconds", type=int, help="length of the clip; default 30")
    parser.add_argument("--ffmpeg", help="the program to compare with")
    options = parser.parse_args()
    seconds = options.seconds or (4 if options.quick else 30)
    ffmpeg = options.ffmpeg or found_ffmpeg()
    if ffmpeg is None:
        print("ffmpeg is not here; `pip install imageio-ffmpeg` brings it. Ours alone:", file=sys.stderr)
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        folder = Path(name)
        video = made_clip(folder / "clip.mp4", seconds)
        studio = Studio(Workspace(folder / "home"))
        studio.jobs.supervisor.enabled = False
        pool = Pool(1)
        for rate in RATES[1:2] if options.quick else RATES:
            expected = int(seconds * rate)
            works: dict[str, Callable[[], int]] = {
                "engine": lambda rate=rate: engine(video, rate),
                "job": lambda rate=rate: extraction(studio, pool, video, rate),
            }
            if ffmpeg is not None:
                works["ffmpeg"] = lambda rate=rate: by_ffmpeg(ffmpeg, video, rate, folder / "out")
            times = {work: float("inf") for work in works}
            for _ in range(1 if options.quick else ROUNDS):
                for work, do in works.items():
                    start = time.perf_counter()
                    count = do()
                    times[work] = min(times[work], time.perf_counter() - start)
                    if abs(count - expected) > 1:
                        raise RuntimeError(f"{work} took {count} frames, not {expected}")
            rows.append(row(rate, expected, times))
            if ffmpeg is not None:
                ratios[f"engine_at_{rate:g}"] = times["ffmpeg"] / times["engine"]
                ratios[f"job_at_{rate:g}"] = times["ffmpeg"] / times["job"]
        pool.close()
        studio.close()
    header = ["frames per second of video", "engine", "job", "ffmpeg", "engine / ffmpeg", "job / ffmpeg"]
    print_result("frames", header, rows, **ratios)


def row(rate: float, count: int, times: dict[str, float]) -> list[str]:
    """Frames per second of time, and speed over the peer's."""
    cells = [f"{rate:g} ({count} frames)", *(f"{count / times[n]:.1f}/s" for n in ("engine", "job"))]
    if "ffmpeg" not in times:
        return [*cells, "", "", ""]
    ours = [f"{times['ffmpeg'] / times[n]:.2f}" for n in ("engine", "job")]
    return [*cells, f"{count / times['ffmpeg']:.1f}/s", *ours]


def found_ffmpeg() -> str | None:
    """A program of that name, or the one that comes with a package."""
    if on_path := shutil.which("ffmpeg"):
        return on_path
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def made_clip(path: Path, seconds: int) -> Path:
    """A scene that moves, with noise such as cameras have."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: HEIGHT + 256, : WIDTH + 256]
    scene = np.stack([(rows * 3 + columns) % 256, (columns * 2) % 256, (rows ^ columns) % 256], -1)
    scene = (scene // 64 * 64).astype(np.uint8)
    noise = rng.integers(0, 12, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", FPS
        stream.options = {"preset": "veryfast", "crf": "23"}
        for number in range(seconds * FPS):
            shift = number % 256
            pixels = scene[shift : shift + HEIGHT, shift : shift + WIDTH] // 2 + 60 + noise[number % 4]
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def engine(video: Path, rate: float) -> int:
    """All frames as JPEG files, kept no longer than their batch."""
    choice = choose(str(video), Span(rate))
    size, count = batch_size(choice.width, choice.height), 0
    for start in range(0, len(choice.frames), size):
        end = start + size
        count += len(take(str(video), choice.frames[start:end], choice.frames[end : end + size]))
    release()
    return count


_extractions = iter(range(10**6))


def extraction(studio: Studio, pool: Pool, video: Path, rate: float) -> int:
    """A job, from its start to its end."""
    owner = replace(
        studio.keys.authenticate(str(saved_api_key(studio.home))), call_id=clock.new_id(), tool="bench"
    )
    name = f"bench-{next(_extractions)}"
    studio.datasets.create(owner, name=name)
    given = {"dataset": name, "upload": None, "local": str(video), "stem": "clip", "folder": "/", "fps": rate}
    given |= {"start_seconds": None, "end_seconds": None, "max_frames": None}
    with studio.database.unit_of_work():
        job = studio.jobs.start(owner, "extract_frames", given)
    Executor(studio, pool).execute(job.id, 0)
    ended = studio.jobs.get(owner, job.id)
    if ended.status != "completed" or ended.failed:
        raise RuntimeError(f"the job is {ended.status}: {ended.error}")
    return ended.done


def by_ffmpeg(ffmpeg: str, video: Path, rate: float, out: Path) -> int:
    """Frames as JPEG files in a folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    subprocess.run(
        [ffmpeg, "-v", "error", "-i", str(video), "-vf", f"fps={rate:g}", "-q:v", "3", str(out / "%06d.jpg")],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return len(list(out.iterdir()))


if __name__ == "__main__":
    main()
