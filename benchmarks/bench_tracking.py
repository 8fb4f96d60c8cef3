"""How well objects are followed through generated clips, beside trackers of a library as they come.

    python benchmarks/bench_tracking.py [--quick] [--clips N] [--peers PYTHON]

Clips of 14 seconds with known tracks (``moving.py``): things that cross, go behind pillars, leave and come
back, and a stream of things that look the same. All trackers get the same detections, at 30, 10, 5 and 1
frames per second. Ours is measured as it is used: tracks that prove to be nothing are left out, those that
prove to be one object are joined, boxes are smoothed. The peers tell ids frame by frame; ``ByteTrack`` and
``OC-SORT`` are those of the package ``trackers``, with its defaults and with our threshold.

``kept``: absences after which the object had the id of before, up to 1.5 seconds and longer ones. In
``twins`` nobody comes back, so there is nothing to keep, only to confuse.

``--peers`` names the Python of an environment with ``trackers`` and ``motmetrics``; without it one is made in
``.sdk/tracks``. ``--quick``: one clip of each at 10 frames per second, no peers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _common import print_result
from moving import FPS, HEIGHT, SCENES, WIDTH, Frame, filmed
from track_metrics import Boxes, Scores, absences, scored

from tintype_studio.predictions.packing import FramesFound
from tintype_studio.predictions.timeline import timeline

HERE = Path(__file__).parent
PEERS = HERE.parent / ".sdk" / "tracks"
SURE, WEAK = 0.5, 0.15
RATES = (30, 10, 5, 1)
SHORT = 1.5
OURS = "ours"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--clips", type=int, default=5, help="of each kind of scene")
    parser.add_argument("--peers", help="Python of an environment with trackers and motmetrics")
    parser.add_argument("--first", type=int, default=0, help="seed of the first clip")
    options = parser.parse_args()
    count, rates = (1, (10,)) if options.quick else (options.clips, RATES)
    python = None if options.quick and not options.peers else options.peers or made_peers()
    kinds = [scene for scene in SCENES for _ in range(count)]
    seeds = [options.first + n for _ in SCENES for n in range(count)]
    clips = [
        filmed(scene(np.random.default_rng(seed)), seed) for scene, seed in zip(kinds, seeds, strict=True)
    ]
    names = [scene.__name__ for scene in kinds]
    rows: list[tuple[str, ...]] = []
    ratios = {}
    for fps in rates:
        sampled = [clip[:: FPS // fps] for clip in clips]
        start = time.perf_counter()
        told = {OURS: [ours(clip, fps) for clip in sampled]}
        ms = {OURS: 1000 * (time.perf_counter() - start) / sum(map(len, sampled))}
        if python:
            for peer, answer in asked(python, clips=sampled, fps=fps).items():
                told[peer] = [boxes_of(clip, ids) for clip, ids in zip(sampled, answer["clips"], strict=True)]
                ms[peer] = answer["ms"]
            checked(python, sampled, told[OURS])
        for tracker, answers in told.items():
            results = [result(clip, answer) for clip, answer in zip(sampled, answers, strict=True)]
            for scene in (*dict.fromkeys(names), "all"):
                mine = [each for each, name in zip(results, names, strict=True) if scene in (name, "all")]
                rows.append(row(fps, scene, tracker, mine, ms[tracker] if scene == "all" else None))
            key = "_".join(tracker.lower().replace(",", "").replace("-", "").split())
            ratios[f"mota_{fps}_{key}"] = float(np.mean([scores.mota for scores, _ in results]))
            ratios[f"idf1_{fps}_{key}"] = float(np.mean([scores.idf1 for scores, _ in results]))
    header = (
        "fps",
        "scene",
        "tracker",
        "MOTA",
        "IDF1",
        "switches",
        "short kept",
        "long kept",
        "ms a frame",
    )
    print_result("tracking", header, rows, **ratios)


def result(clip: Sequence[Frame], answer: Sequence[Boxes]) -> tuple[Scores, dict[str, tuple[int, int]]]:
    truth, seconds = [frame.truth for frame in clip], [frame.seconds for frame in clip]
    return scored(truth, answer), absences(truth, answer, seconds, SHORT)


def row(fps: int, scene: str, tracker: str, results: Sequence, ms: float | None) -> tuple[str, ...]:
    kept = []
    for kind in ("short", "long"):
        good, of = (sum(each[kind][k] for _, each in results) for k in (0, 1))
        kept.append(f"{good} of {of}" if of else "-")
    mota, idf1 = (np.mean([getattr(scores, name) for scores, _ in results]) for name in ("mota", "idf1"))
    switches = sum(scores.switches for scores, _ in results)
    told = f"{ms:.2f}" if ms is not None else ""
    return str(fps), scene, tracker, f"{mota:.3f}", f"{idf1:.3f}", str(switches), *kept, told


def ours(clip: Sequence[Frame], fps: int) -> list[dict[int, np.ndarray]]:
    """Boxes by object of each frame, as ``timeline`` tells them."""
    scale = np.array([WIDTH, HEIGHT] * 2)
    kept = [frame.scores >= WEAK for frame in clip]
    found = FramesFound(
        WIDTH,
        HEIGHT,
        ("thing",),
        {},
        False,
        np.array([round(frame.seconds * 1e6) for frame in clip]),
        np.array([int(which.sum()) for which in kept]),
        np.concatenate([f.boxes[w] / scale for f, w in zip(clip, kept, strict=True)]).astype(np.float32),
        np.concatenate([f.scores[w] for f, w in zip(clip, kept, strict=True)]).astype(np.float32),
        np.zeros(sum(int(which.sum()) for which in kept), np.int32),
        np.concatenate([f.looks[w] for f, w in zip(clip, kept, strict=True)]),
        np.zeros((sum(int(which.sum()) for which in kept), 0), np.float32),
    )
    answer = timeline(found, frames_per_second=fps, model="bench", threshold=SURE)
    place = {at: n for n, at in enumerate(found.timestamps_us.tolist())}
    frames: list[dict[int, np.ndarray]] = [{} for _ in clip]
    for each in answer.objects:
        for seen in each.observations:
            if seen.box is not None:
                frames[place[seen.timestamp_us]][each.object_id] = np.array(seen.box) * scale
    return frames


def boxes_of(clip: Sequence[Frame], ids: Sequence[Sequence[int]]) -> list[dict[int, np.ndarray]]:
    """A peer's answer in the same form."""
    return [
        {number: frame.boxes[row] for row, number in enumerate(numbers) if number}
        for frame, numbers in zip(clip, ids, strict=True)
    ]


# --- peers --------------------------------------------------------------------------------------------


def made_peers() -> str:
    """An environment with the peers, made at the first full run."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "trackers", "motmetrics"], check=True)
    return str(python)


def asked(python: str, **task: object) -> dict:
    """What the peers' script answers."""
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        question, answer = Path(name) / "task.json", Path(name) / "answer.json"
        if "clips" in task:
            task["clips"], task["sure"] = [[plain(frame) for frame in clip] for clip in task["clips"]], SURE
        question.write_text(json.dumps(task))
        subprocess.run([python, str(HERE / "tracks_peers.py"), str(question), str(answer)], check=True)
        return json.loads(answer.read_text())


def plain(frame: Frame) -> dict:
    kept = frame.scores >= WEAK
    return {"boxes": frame.boxes[kept].tolist(), "scores": frame.scores[kept].tolist()}


def checked(python: str, clips: Sequence, told: Sequence) -> None:
    """Our numbers beside those of py-motmetrics."""
    both = [([frame.truth for frame in clip], answer) for clip, answer in zip(clips, told, strict=True)]
    as_lists = [
        [[{str(k): box.tolist() for k, box in frame.items()} for frame in side] for side in pair]
        for pair in both
    ]
    for pair, (mota, idf1, _) in zip(both, asked(python, pairs=as_lists), strict=True):
        mine = scored(*pair)
        if abs(mine.mota - mota) > 0.005 or abs(mine.idf1 - idf1) > 0.005:
            raise RuntimeError(f"motmetrics says MOTA {mota:.4f} and IDF1 {idf1:.4f}, we say {mine}")


if __name__ == "__main__":
    main()
