"""Trackers of a library in its own environment, for ``bench_tracking.py``: the same detections in, ids out.

Also ``py-motmetrics``, as a second opinion on the metrics.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    answer = judged(task["pairs"]) if "pairs" in task else tracked(task)
    Path(sys.argv[2]).write_text(json.dumps(answer))


def tracked(task):
    import supervision as sv
    import trackers

    fps, sure = task["fps"], task["sure"]
    made = {
        "ByteTrack": lambda: trackers.ByteTrackTracker(frame_rate=fps),
        "ByteTrack, our threshold": lambda: trackers.ByteTrackTracker(
            frame_rate=fps, track_activation_threshold=sure, high_conf_det_threshold=sure
        ),
        "OC-SORT": lambda: trackers.OCSORTTracker(frame_rate=fps),
    }
    found = {}
    for name, make in made.items():
        clips, spent, count = [], 0.0, 0
        for clip in task["clips"]:
            tracker, ids = make(), []
            for frame in clip:
                boxes = np.array(frame["boxes"], np.float32).reshape(-1, 4)
                detections = sv.Detections(
                    xyxy=boxes,
                    confidence=np.array(frame["scores"], np.float32),
                    class_id=np.zeros(len(boxes), int),
                    data={"row": np.arange(len(boxes))},
                )
                start = time.perf_counter()
                told = tracker.update(detections)
                spent += time.perf_counter() - start
                count += 1
                row = [0] * len(boxes)
                for at, number in zip(told.data.get("row", []), told.tracker_id, strict=True):
                    row[int(at)] = max(0, int(number) + 1) if number is not None else 0
                ids.append(row)
            clips.append(ids)
        found[name] = {"clips": clips, "ms": 1000 * spent / max(1, count)}
    return found


def judged(pairs):
    # The library has not followed numpy 2.
    np.asfarray = lambda values: np.asarray(values, float)
    import motmetrics as mm

    host = mm.metrics.create()
    results = []
    for truth, told in pairs:
        accumulator = mm.MOTAccumulator(auto_id=True)
        for real, found in zip(truth, told, strict=True):
            boxes = [corner_size(real.values()), corner_size(found.values())]
            accumulator.update(list(real), list(found), mm.distances.iou_matrix(*boxes, max_iou=0.5))
        row = host.compute(accumulator, metrics=["mota", "idf1", "num_switches"]).iloc[0]
        results.append([float(row["mota"]), float(row["idf1"]), int(row["num_switches"])])
    return results


def corner_size(boxes):
    boxes = np.array(list(boxes), float).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


if __name__ == "__main__":
    main()
