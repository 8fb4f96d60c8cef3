"""A dataset of several sensors, and all that is known of one, to compare it with another."""

from __future__ import annotations

from typing import Any

import numpy as np
from support.pictures import jpeg

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.new_sample import NewSample
from tintype_studio.multisensor.pcd import pcd_of
from tintype_studio.multisensor.sample_meta import SampleMeta
from tintype_studio.studio import Studio


def _mask() -> dict[str, Any]:
    from tintype_studio.annotations.masks import mask_of_array

    bits = np.zeros((16, 24), dtype=np.bool_)
    bits[3:7, 5:11] = True
    mask = mask_of_array(bits)
    assert mask is not None
    return mask.model_dump()


ANNOTATED: list[dict[str, Any]] = [
    {
        "id": "a",
        "name": "cat",
        "confidence": 0.9,
        "attributes": ["wet", {"iscrowd": True}, {"truncation": 2}],
        "object_id": "track-1",
        "type": "polygon",
        "polygon": {"paths": [[{"x": 1.25, "y": 2.5}, {"x": 10.123456, "y": 3}, {"x": 7.7, "y": 9.99}]]},
    },
    {"id": "k", "name": "cat", "type": "keypoint", "keypoint": {"x": 3.3333333, "y": 2.0}},
    {
        "id": "l",
        "name": "cat",
        "confidence": 0.51234567891,
        "type": "polyline",
        "polyline": {"path": [{"x": 3.3333333, "y": 2.0}, {"x": 5.0, "y": 7.0}]},
    },
    {"id": "t", "name": "unlabeled", "type": "tag"},
    {"id": "m", "name": "dog", "type": "mask", "mask": _mask()},
    {
        "id": "b",
        "name": "dog",
        "type": "bbox",
        "created_by": "someone",
        "bounding_box": {"x": 1.0, "y": 2.0, "w": 3.0, "h": 4.44},
        "box3d": {"x": 1.0, "y": 2.123456789, "z": 3.5, "w": 1.1, "h": 1.2, "l": 1.3},
    },
]


def _cloud() -> bytes:
    return pcd_of({"x": np.arange(3.0), "y": np.arange(3.0), "z": np.arange(3.0)})


def drive(studio: Studio, owner: Principal) -> Any:
    """Frames of a sequence with a point cloud, a picture by itself, and a sample with only a cloud."""
    told = studio.datasets.create(owner, name="drive")
    alone, cloud = jpeg(24, 16, 1), _cloud()
    meta = SampleMeta.model_validate(
        {
            "location": {"lat": 45.123456789, "lon": -73.5},
            "pose": {"roll": 1, "pitch": 2, "yaw": 3.1},
            "degradation": "rain",
            "source": "car 7",
            "date": "2026-01-02T03:04:05Z",
            "neg_label_indices": [4],
            "timing": {"load": 5},
            "further": {"altitude": 12.5},
        }
    )
    stage = studio.population.stage
    news = [
        NewSample(
            image_name=f"cam {n}.jpg",
            sequence_name="seq A",
            sequence_description="first drive",
            frame_number=n,
            group="train",
            meta=meta,
            annotations=ANNOTATIONS.validate_python(ANNOTATED) if n == 1 else (),
            label_indices={"cat": 7, "dog": 3},
            files=(stage(jpeg(24, 16, n), "image", f"cam {n}.jpg"), stage(cloud, "lidar.pcd", "x.pcd")),
        )
        for n in (1, 2)
    ]
    news.append(
        NewSample(
            image_name="alone.jpg",
            files=(stage(alone, "image", "alone.jpg"),),
            group="held out",
            folder="/stop/left",
        )
    )
    news.append(
        NewSample(
            image_name="only.lidar.pcd",
            files=(stage(cloud, "lidar.pcd", "only.lidar.pcd"),),
            annotations=ANNOTATIONS.validate_python(
                [{"id": "z", "name": "cat", "type": "box3d", "box3d": ANNOTATED[5]["box3d"]}]
            ),
        )
    )
    studio.population.populate(owner, told, news)
    return studio.datasets.get(owner, "drive")


def state_of(studio: Studio, principal: Principal, name: str) -> list[Any]:
    found = studio.multisensor.page(studio.datasets.get(principal, name))
    return [
        (
            s.filename,
            s.folder,
            s.status,
            s.group,
            s.width,
            s.height,
            s.sequence.name if s.sequence else None,
            s.sequence.description if s.sequence else None,
            s.frame_number,
            s.meta,
            {kind: (file.filename, file.sha256) for kind, file in s.files.items()},
            s.entries,
        )
        for s in found
    ]
