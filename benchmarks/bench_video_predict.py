"""How fast a video is looked at, beside the time that decoding and the detector take by themselves.

    python benchmarks/bench_video_predict.py [--quick] [--seconds N] [--minutes N]

A clip of 1920 x 1080 at 30 frames per second is made (H.264, a key frame each second), in which coloured
squares move, and is looked at 30, 5 and 1 times a second. ``decode``: the wanted frames are decoded and
turned into pictures, nothing else. ``detector``: the same pictures, ready in memory, are given to the model
eight at a time, on as many threads as there are cores. ``whole``: everything, as a job does it: in a child
process, with the boxes' looks, packed, then followed and put together. ``speed`` is (decode + detector) /
whole.

The model is a graph made here, of a network with as many multiplications as a small detector, that finds the
squares. Best of three rounds, by turns.

Memory: the peak of the child after a clip of one minute, and after one of ``--minutes`` (10), both looked at
``MEMORY_FPS`` times a second; they are the same ten seconds, repeated.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import orjson
from _common import print_result
from onnx import TensorProto, helper, numpy_helper

from tintype_studio.jobs.pool import Pool
from tintype_studio.predictions.detecting import WORKERS
from tintype_studio.predictions.looking import Eye
from tintype_studio.predictions.shapes import MediaPrediction
from tintype_studio.storage.blobs import Blobs
from tintype_studio.video.choice import Span, Wanted, choose
from tintype_studio.video.frames import Reader
from tintype_studio.video.upright import upright_rgb
from tintype_studio.vision.infer.model import BATCH, OnnxModel
from tintype_studio.vision.tasks import METADATA_KEY, Signature, Task

WIDTH, HEIGHT, FPS = 1920, 1080, 30
SIZE, CELLS = 320, 16
RATES = (30, 5, 1)
ROUNDS = 3
SQUARE = 120
MEMORY_FPS = 1
MOST_IN_MEMORY = 64
"""Pictures that the detector is measured with; more would not fit."""
DETECT = "tintype_studio.predictions.detecting:detect"
ASSEMBLE = "tintype_studio.predictions.timeline:assemble"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 seconds of video, one round, no memory")
    parser.add_argument("--seconds", type=int, default=20, help="length of the clip")
    parser.add_argument(
        "--minutes", type=int, default=10, help="of the clip whose memory is measured; 0: none"
    )
    options = parser.parse_args()
    seconds, rounds = (4, 1) if options.quick else (options.seconds, ROUNDS)
    minutes = 0 if options.quick else options.minutes
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        folder = Path(name)
        blobs, model = Blobs(str(folder / "blobs")), detector()
        eye = Eye("bench@1", blobs.put(model))
        video = made_clip(folder / "clip.mp4", seconds)
        for fps in RATES[1:2] if options.quick else RATES:
            wanted = choose(str(video), Span(float(fps))).frames
            pictures = some_pictures(video, wanted[:MOST_IN_MEMORY])
            pool = Pool(1)
            works: dict[str, Callable[[], Any]] = {
                "decode": lambda wanted=wanted: decoded(video, wanted),
                "detector": lambda pictures=pictures: detected(model, pictures),
                "whole": lambda wanted=wanted, fps=fps, pool=pool: whole(
                    pool, video, wanted, eye, folder, fps
                ),
            }
            works["whole"]()  # starts the child and loads the model
            times = dict.fromkeys(works, float("inf"))
            for _ in range(rounds):
                for work, do in works.items():
                    start = time.perf_counter()
                    do()
                    times[work] = min(times[work], time.perf_counter() - start)
            pool.close()
            times["detector"] *= len(wanted) / len(pictures)
            speed = (times["decode"] + times["detector"]) / times["whole"]
            per_frame = [f"{1000 * times[work] / len(wanted):.1f}" for work in works]
            rows.append(
                (
                    str(fps),
                    str(len(wanted)),
                    *per_frame,
                    f"{len(wanted) / times['whole']:.1f}",
                    f"{speed:.2f}",
                )
            )
            ratios[f"speed_{fps}"] = speed
        if minutes:
            peaks = [peak_memory(video, n, seconds, eye, folder) for n in (1, minutes)]
            print(
                f"Peak memory of the child: {peaks[0]:.0f} MiB after 1 minute, {peaks[1]:.0f} after {minutes}"
            )
            ratios["memory"] = peaks[1] / peaks[0]
    header = ("fps", "frames", "decode, ms", "detector, ms", "whole, ms", "frames/s", "speed")
    print_result("video_predict", header, rows, **ratios)


def decoded(video: Path, wanted: Sequence[Wanted]) -> None:
    """All frames as pictures, none kept."""
    reader = Reader(str(video), 2)
    for each in wanted:
        frame = reader.frame(each)
        assert frame is not None
        upright_rgb(frame)
    reader.close()


def some_pictures(video: Path, wanted: Sequence[Wanted]) -> list[np.ndarray]:
    reader = Reader(str(video), 2)
    found = [upright_rgb(frame) for frame in map(reader.frame, wanted) if frame is not None]
    reader.close()
    return found


def detected(model: bytes, pictures: Sequence[np.ndarray]) -> None:
    """The detector alone, batches on all cores."""
    opened = OnnxModel.from_bytes(model, threads=1)
    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(lambda batch: opened.predict(batch, threshold=0.3), batches))
    assert all(len(each.objects) >= 3 for batch in found for each in batch)


def whole(
    pool: Pool, video: Path, wanted: Sequence[Wanted], eye: Eye, folder: Path, fps: int
) -> MediaPrediction:
    """As a job does it: minute by minute, then the answer."""
    parts = []
    for start in range(0, len(wanted), 60 * fps):
        part = list(wanted[start : start + 60 * fps])
        parts.append(pool.call(DETECT, str(video), part, eye, str(folder / "blobs"), 0.5))
    answer = MediaPrediction.from_json(pool.call(ASSEMBLE, parts, fps, eye.label, 0.5))
    assert len(answer.frame_timestamps_us) == len(wanted)
    assert len(answer.objects) >= 3
    return answer


def peak_memory(video: Path, minutes: int, seconds: int, eye: Eye, folder: Path) -> float:
    """MiB of a child that looks through so many minutes."""
    long = repeated(video, folder / f"{minutes}.mp4", 60 * minutes // seconds)
    pool = Pool(1)
    try:
        wanted = choose(str(long), Span(float(MEMORY_FPS))).frames
        whole(pool, long, wanted, eye, folder, MEMORY_FPS)
        (child,) = pool._all
        status = Path(f"/proc/{child._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    finally:
        pool.close()


# --- what is looked at --------------------------------------------------------------------------------


def made_clip(path: Path, seconds: int) -> Path:
    """Four squares that move over a ground with noise such as cameras have."""
    random = np.random.default_rng(0)
    coarse = random.integers(70, 150, (HEIGHT // 40, WIDTH // 40, 1), np.uint8).repeat(40, 0).repeat(40, 1)
    ground = np.broadcast_to(coarse, (HEIGHT, WIDTH, 3))
    noise = random.integers(0, 12, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", FPS
        stream.options = {"preset": "veryfast", "crf": "23"}
        for number in range(seconds * FPS):
            pixels = ground + noise[number % 4]
            for k in range(4):
                x = int(200 * k + 5 * number) % (WIDTH - SQUARE)
                y = 120 + 240 * k
                pixels[y : y + SQUARE, x : x + SQUARE] = (250, 10, 10) if k % 2 else (10, 10, 250)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def repeated(video: Path, path: Path, times: int) -> Path:
    """The same packets several times."""
    with av.open(str(path), "w") as out:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(video)) as container:
                source = container.streams.video[0]
                stream = stream or out.add_stream_from_template(source)
                length = source.duration or 0
                for packet in container.demux(source):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)
            shift += length
    return path


def detector() -> bytes:
    """Cells of ``CELLS`` x ``CELLS`` that are as likely an object as they are red (or blue), and beside it a
    network whose answer counts nothing, for the time that it takes.
    """
    signature = Signature(Task.DETECTION, "bench", ("red", "blue"), SIZE, nms_iou=0.2)
    step, random = SIZE // CELLS, np.random.default_rng(0)
    grid = [(x * step, y * step, (x + 1) * step, (y + 1) * step) for y in range(CELLS) for x in range(CELLS)]
    weights = np.array([[1, -0.5, -0.5], [-0.5, -0.5, 1]], np.float32).reshape(2, 3, 1, 1) / 255
    tensors = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([grid], np.float32), "grid"),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.array([0, 2, -1], np.int64), "flat"),
        numpy_helper.from_array(np.array([-1, 1, 1], np.int64), "rows"),
    ]
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[step] * 2, strides=[step] * 2),
        helper.make_node("Conv", ["pooled", "weights"], ["raw"]),
        helper.make_node("Clip", ["raw", "zero"], ["positive"]),
        helper.make_node("Reshape", ["positive", "flat"], ["by_class"]),
        helper.make_node("Transpose", ["by_class"], ["scores"], perm=[0, 2, 1]),
    ]
    last, channels = "images", 3
    for number, (width, stride) in enumerate(
        [(24, 2), (48, 2), (48, 1), (96, 2), (96, 1), (96, 1), (160, 2), (160, 1)]
    ):
        kernel = random.normal(0, 0.05, (width, channels, 3, 3)).astype(np.float32)
        tensors.append(numpy_helper.from_array(kernel, f"kernel{number}"))
        nodes.append(
            helper.make_node(
                "Conv", [last, f"kernel{number}"], [f"conv{number}"], strides=[stride] * 2, pads=[1] * 4
            )
        )
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]))
        last, channels = f"relu{number}", width
    nodes += [
        helper.make_node("ReduceMean", [last], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "rows"], ["none_of_it"]),
        helper.make_node("Add", ["none_of_it", "grid"], ["boxes"]),
    ]
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", CELLS**2, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CELLS**2, 2]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    graph = helper.make_graph(nodes, "bench", [images], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: orjson.dumps(signature.as_json()).decode()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
