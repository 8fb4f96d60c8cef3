"""How well and how fast a pipeline learns three kinds of generated road signs, by the functions a job calls.

    python benchmarks/bench_train.py [--quick] [--pipeline yolox] [--seconds 120] [--images 200] [--size N]
        [--peer PIPELINE] [--config JSON] [--curve]
    python benchmarks/bench_train.py --speed [--pipeline yolox | --pipeline all] [--rounds 200]

Pictures are those of ``signs.py`` with three kinds of signs; test pictures are never trained on. Time is
that of training, with validation and checkpoints. ``--peer`` trains another pipeline on the same pictures for
the same time and reports it beside (for detection, ``rfdetr_detection``: RF-DETR of transformers). A
classifier gets the squares around the signs. ``--speed`` trains nothing: it asks random networks about one
picture, torch and ONNX Runtime by turns, with as many threads. Torch is asked in its plain layout, as it
validates here (pixels channels last), and in its fastest (weights, too). Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import io
import json
import os
import platform
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scenes import Image, _background, _camera, _clutter
from signs import NAMES, _put

from tintype_studio import clock
from tintype_studio.annotations.geometry import BBoxAnnotation, BoundingBox, PolygonAnnotation
from tintype_studio.formats.base import ExportClass, ExportItem
from tintype_studio.formats.pictograph import PictographWriter
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.polygons import mask_to_polygon
from tintype_studio.vision.tasks import Signature
from tintype_studio.vision.train.config import TrainConfig, read_config
from tintype_studio.vision.train.export_onnx import export, onnx_answer
from tintype_studio.vision.train.pipelines import PIPELINES, pipeline_of
from tintype_studio.vision.train.protocol import Trainer
from tintype_studio.vision.train.session import EpochReport, Finished, Order, epoch, finish, prepare
from tintype_studio.vision.train.validate import torch_answer

KINDS = 3
SEEDS = {"train": 0, "val": 100_000, "test": 200_000}
ROUNDS, WARM = 100, 5
"""In which torch and ONNX Runtime are asked by turns, and those before that do not count."""
OUTLINE = 0.7
"""Pixels that a polygon may be off its mask."""


@dataclass(frozen=True)
class Outcome:
    """A run."""

    pipeline: str
    finished: Finished
    reports: list[EpochReport]
    wall: float
    cpu: float
    speed: dict[str, float]
    """Of ``by_turns``."""

    def row(self) -> dict[str, Any]:
        last, metrics = self.reports[-1], self.finished.metrics
        images = sum(r.images_per_second * r.seconds for r in self.reports)
        seconds = sum(r.seconds for r in self.reports)
        return {
            "pipeline": self.pipeline,
            "mAP_50": metrics.get("mAP_50"),
            "mAP": metrics.get("mAP"),
            **{k: metrics[k] for k in ("mIoU", "accuracy", "f1") if k in metrics and "mAP_50" not in metrics},
            "seconds": round(self.wall, 1),
            "cpu_seconds": round(self.cpu, 1),
            "epochs": len(self.reports),
            "images_per_second": round(images / seconds, 1),
            "data_share": round(sum(r.data_share * r.seconds for r in self.reports) / seconds, 3),
            "peak_memory_mb": round(last.peak_memory_bytes / 1e6),
            "parameters": self.finished.parameters,
            **self.speed,
            "onnx_difference": self.finished.onnx_check["max_difference"],
            "onnx_metric_off": abs(
                self.finished.onnx_check["metric_onnx"] - self.finished.onnx_check["metric_torch"]
            ),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipeline", default="yolox", choices=[*PIPELINES, "all"])
    parser.add_argument("--peer", choices=list(PIPELINES), help="train this one too, for the same time")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--images", type=int, default=200, help="to train on")
    parser.add_argument("--size", type=int, help="side of the trained images, in pixels")
    parser.add_argument("--config", default="{}", help="JSON for the training's configuration")
    parser.add_argument("--quick", action="store_true", help="40 pictures, 12 seconds")
    parser.add_argument("--curve", action="store_true", help="print each epoch")
    parser.add_argument("--speed", action="store_true", help="only ask torch and ONNX Runtime, by turns")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often, for --speed")
    chosen = parser.parse_args()
    if chosen.speed:
        names = list(PIPELINES) if chosen.pipeline == "all" else [chosen.pipeline]
        _print([speed_of_random(name, chosen.rounds) for name in names])
        return
    if chosen.pipeline == "all":
        parser.error("all goes with --speed")
    if chosen.quick:
        chosen.images, chosen.seconds = 40, min(chosen.seconds, 12.0)
        chosen.size = chosen.size or 160
    counts = {"train": chosen.images, "val": max(8, chosen.images // 6), "test": max(16, chosen.images // 2)}
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        folder = Path(name)
        blobs = Blobs(str(folder / "blobs"))
        for pipeline in filter(None, (chosen.pipeline, chosen.peer)):
            alone = pipeline == "classification"
            export = make_export(folder, blobs, counts, most=1 if alone else 4)
            raw = {"epochs": 1000, "patience": 0, "seed": 1, **json.loads(chosen.config)}
            if chosen.size:
                raw["image_size"] = chosen.size
            outcomes.append(run(pipeline, export, folder, raw, chosen.seconds, curve=chosen.curve))
    curve = {f"mAP_50_at_{s}s": value for s, value in _curve(outcomes[0]).items()}
    _print([each.row() for each in outcomes], curve)


def _print(rows: list[dict[str, Any]], more: dict[str, float] | None = None) -> None:
    for key in rows[0]:
        print(f"{key:22}" + "".join(f"{_cell(row.get(key)):>21}" for row in rows))
    print(
        json.dumps(
            {
                "benchmark": "train",
                **rows[0],
                **(more or {}),
                "peer": rows[1] if len(rows) == 2 else rows[1:] or None,
                "cores": os.cpu_count(),
                "threads": torch.get_num_threads(),
                "python": platform.python_version(),
                "versions": {p: version(p) for p in ("torch", "onnxruntime", "transformers")},
            }
        )
    )


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _curve(outcome: Outcome) -> dict[int, float]:
    """mAP@50 on the validation pictures at about so many seconds of training."""
    seconds, told = 0.0, {}
    for report in outcome.reports:
        seconds += report.seconds
        if "val_mAP_50" in report.metrics:
            told[round(seconds)] = round(report.metrics["val_mAP_50"], 3)
    return told


def run(
    pipeline: str, export: str, folder: Path, raw: dict[str, Any], seconds: float, *, curve: bool
) -> Outcome:
    """Train for so many seconds, then finish."""
    config, ignored = read_config(pipeline_of(pipeline), raw)
    if ignored:
        raise SystemExit(" ".join(ignored))
    order = Order(
        clock.new_id(), str(folder / "blobs"), export, pipeline, config, str(folder / "work" / pipeline)
    )
    prepare(order)
    reports: list[EpochReport] = []
    left, checkpoint, batch = seconds, None, config.batch_size
    started, cpu = time.perf_counter(), time.process_time()
    while not reports or not reports[-1].stop:
        report = epoch(order, len(reports) + 1, checkpoint, left, batch)
        checkpoint, batch, left = report.checkpoint, report.batch_size, left - report.seconds
        reports.append(report)
        order = replace(order, history=(*order.history, report.metrics))
        if curve:
            told = {k: round(v, 3) for k, v in report.metrics.items()}
            print(
                f"{seconds - left:6.1f} s",
                report.number,
                told,
                f"{report.images_per_second:.1f}/s",
                flush=True,
            )
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert checkpoint is not None
    finished = finish(order, checkpoint)
    return Outcome(
        pipeline, finished, reports, wall, cpu, speed_of_trained(pipeline, config, finished, order)
    )


def speed_of_trained(
    pipeline: str, config: TrainConfig, finished: Finished, order: Order
) -> dict[str, float]:
    """Of a trained network, with what its training has stored."""
    blobs = Blobs(order.blob_url)
    trainer, signature = _trainer(pipeline), Signature.from_json(finished.signature)
    module = trainer.build(signature, config).module
    kept = torch.load(io.BytesIO(blobs.get(finished.checkpoint.sha256)), weights_only=True)
    module.load_state_dict(kept["state_dict"])
    return by_turns(trainer, module, blobs.get(finished.onnx.sha256), signature.image_size, ROUNDS)


def speed_of_random(pipeline: str, rounds: int) -> dict[str, Any]:
    """Of a network of random numbers at the pipeline's own size: it does the same work."""
    trainer, (config, _) = _trainer(pipeline), read_config(pipeline_of(pipeline), {})
    signature = trainer.signature(NAMES[:KINDS], config)
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    module = trainer.build(signature, config).module
    exported = export(trainer.exportable(module), signature, _noise(4, signature.image_size))
    return {
        "pipeline": pipeline,
        **by_turns(trainer, module, exported.data, signature.image_size, rounds),
        "onnx_difference": exported.difference,
    }


def by_turns(
    trainer: Trainer, module: torch.nn.Module, data: bytes, size: int, rounds: int
) -> dict[str, float]:
    """Medians of many rounds, in each of which all are asked: what else the machine does meets all alike."""
    asked, fast = trainer.exportable(module).eval(), copy.deepcopy(module)
    fastest = trainer.exportable(fast.to(memory_format=torch.channels_last)).eval()
    image = _noise(1, size)

    def plain() -> list[Any]:
        with torch.inference_mode():
            return [each.numpy() for each in asked(torch.from_numpy(image))]

    cpu = torch.device("cpu")
    ways = {
        "torch": partial(torch_answer(asked, cpu), image),
        "torch_plain": plain,
        "torch_fastest": partial(torch_answer(fastest, cpu), image),
        "onnx": partial(onnx_answer(data), image),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + WARM):
        for name, ask in ways.items():
            started = time.perf_counter()
            ask()
            if number >= WARM:
                seconds[name].append(time.perf_counter() - started)
    medians = {f"{name}_ms": round(statistics.median(taken) * 1000, 2) for name, taken in seconds.items()}
    onnx = seconds.pop("onnx")
    ratios = {
        name: statistics.median(a / b for a, b in zip(taken, onnx, strict=True))
        for name, taken in seconds.items()
    }
    return {
        **medians,
        "onnx_speedup": round(ratios["torch"], 2),
        "beside_plain": round(ratios["torch_plain"], 2),
        "beside_fastest": round(ratios["torch_fastest"], 2),
    }


def _trainer(pipeline: str) -> Trainer:
    module, _, name = pipeline_of(pipeline).trainer.partition(":")
    made: Trainer = getattr(importlib.import_module(module), name)()
    return made


def _noise(count: int, size: int) -> Any:
    return np.random.default_rng(0).uniform(0, 255, (count, 3, size, size)).astype(np.float32)


def make_export(folder: Path, blobs: Blobs, counts: dict[str, int], *, most: int) -> str:
    """An export of generated pictures with polygons, in the blob store; returns its digest."""
    path = folder / f"export-{most}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        classes = [ExportClass(name) for name in NAMES[:KINDS]]
        with PictographWriter(
            archive, dataset_name="signs", classes=classes, created_at=clock.now()
        ) as writer:
            for split, count in counts.items():
                for number in range(count):
                    image, annotations = picture(SEEDS[split] + number, most=most)
                    if most == 1:
                        image = _around(image, annotations[0])
                        annotations = [_frame(annotations[0].name, image)]
                    writer.add(
                        ExportItem(
                            f"{split}-{number}",
                            f"{split}-{number}.jpg",
                            "/",
                            image.shape[1],
                            image.shape[0],
                            "complete",
                            split,
                            annotations,
                            _jpeg(image),
                        )
                    )
            writer.finish()
    with path.open("rb") as file:
        return blobs.put_file(file)[0]


def _around(image: Image, sign: PolygonAnnotation) -> Image:
    """The square around a sign, twice as wide: what a classifier of whole images is given."""
    points = np.array([(p.x, p.y) for ring in sign.polygon.paths for p in ring])
    low, high = points.min(0), points.max(0)
    (x, y), half = (low + high) / 2, max(high - low)
    left, top = max(0, int(x - half)), max(0, int(y - half))
    return np.ascontiguousarray(image[top : int(y + half), left : int(x + half)])


def _frame(name: str, image: Image) -> BBoxAnnotation:
    height, width = image.shape[:2]
    return BBoxAnnotation(id="0", name=name, bounding_box=BoundingBox(x=0, y=0, w=width, h=height))


def picture(seed: int, *, most: int) -> tuple[Image, list[PolygonAnnotation]]:
    """Picture number ``seed`` with one to ``most`` signs, and their outlines."""
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(400, 641)), int(rng.integers(360, 641))
    canvas = _background(rng, width, height)
    _clutter(rng, canvas)
    taken = np.zeros((height, width), bool)
    annotations = []
    while not annotations:
        for _ in range(int(rng.integers(1, most + 1))):
            label = int(rng.integers(KINDS))
            mask = _put(rng, canvas, taken, label)
            polygon = None if mask is None else mask_to_polygon(mask, tolerance=OUTLINE)
            if polygon is not None:
                annotations.append(
                    PolygonAnnotation(id=str(len(annotations)), name=NAMES[label], polygon=polygon)
                )
    return _camera(rng, canvas), annotations


def _jpeg(image: Image) -> Callable[[], bytes]:
    return partial(_encoded, image)


def _encoded(image: Image) -> bytes:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return data.tobytes()


if __name__ == "__main__":
    main()
