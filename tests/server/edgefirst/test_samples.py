"""Samples in the dialect, spoken bare: every form that clients send, what they choke on, and bad input."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from support.clouds import pcd
from support.edgefirst_rpc import Spoken, open_spoken
from support.pictures import jpeg

from tintype_server.edgefirst.sample_reading import annotation_arguments, sample_arguments
from tintype_server.edgefirst.sample_wire import WireView

_names = itertools.count(1)
NO_ID = 10**12
RING = [[0.1, 0.2], [0.4, 0.2], [0.4, 0.6]]
SPACE = {"x": 1.0, "y": 2.0, "z": 3.0, "w": 1.0, "h": 1.5, "l": 4.0}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with open_spoken(tmp_path_factory.mktemp("samples") / "home") as opened:
        yield opened


@pytest.fixture
def dataset(spoken: Spoken) -> int:
    return make(spoken)


def make(spoken: Spoken, bearer: str = "owner") -> int:
    project = spoken.ok("project.list", bearer=bearer)[0]["id"]
    params = {"project_id": f"p-{project:x}", "name": f"samples {next(_names)}"}
    return int(spoken.ok("dataset.create", params, bearer=bearer)["id"])


def populate(spoken: Spoken, dataset: int, *samples: dict[str, Any], **given: Any) -> list[dict[str, Any]]:
    params = {"dataset_id": dataset, "presigned_urls": True, "samples": list(samples), **given}
    found: list[dict[str, Any]] = spoken.ok("samples.populate2", params)
    return found


def put(spoken: Spoken, url: str, data: bytes) -> Any:
    return spoken.rest.client.put(urlsplit(url).path, content=data)


def get(spoken: Spoken, url: str) -> bytes:
    answer = spoken.rest.client.get(urlsplit(url).path)
    assert answer.status_code == 200
    content: bytes = answer.content
    return content


def listed(spoken: Spoken, dataset: int, **given: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = spoken.ok("samples.list", {"dataset_id": dataset, **given})["samples"]
    return found


def test_samples_come_back_as_they_were_sent(spoken: Spoken, dataset: int) -> None:
    uuid, sequence = str(uuid4()), str(uuid4())
    sent = {
        "uuid": uuid,
        "image_name": "front.jpg",
        "group": "train",
        "sequence_name": "drive",
        "sequence_uuid": sequence,
        "sequence_description": "at night",
        "frame_number": 0,
        "width": 64,
        "height": 48,
        "degradation": "rain",
        "source": "car 1",
        "date": "2026-01-02T03:04:05+01:00",
        "sensors": {"gps": {"lat": 45.5, "lon": -73.6}, "imu": {"roll": 1, "pitch": 2, "yaw": 3}},
        "neg_label_indices": [4],
        "files": {"image": "front.jpg", "lidar.pcd": "front.lidar.pcd"},
        "annotations": [
            {
                "label_name": "car",
                "label_index": 7,
                "object_reference": "o-1",
                "box2d": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4},
                "box3d": SPACE,
                "mask": [RING, [[0, 0], [1, 1]]],
                "iscrowd": True,
            },
            {"box2d": {"x": 0.5, "y": 0.5, "w": 0.123456, "h": 0.2}},
        ],
    }
    ((made),) = populate(spoken, dataset, sent)
    assert made["uuid"] == uuid
    assert sorted(url["filename"] for url in made["urls"]) == ["front.jpg", "front.lidar.pcd"]
    files = {"front.jpg": jpeg(64, 48), "front.lidar.pcd": pcd(3)}
    for url in made["urls"]:
        assert put(spoken, url["url"], files[url["filename"]]).status_code == 200
    (found,) = listed(spoken, dataset)
    for name in ("uuid", "image_name", "sequence_name", "sequence_uuid", "sequence_description"):
        assert found[name] == sent[name]
    for name in ("frame_number", "width", "height", "degradation", "source", "date", "neg_label_indices"):
        assert found[name] == sent[name]
    assert (found["group_name"], "group" in found) == ("train", False)
    assert get(spoken, found["image_url"]) == files["front.jpg"]
    assert get(spoken, found["sensors"].pop("lidar.pcd")) == files["front.lidar.pcd"]
    assert found["sensors"] == sent["sensors"]
    outlined, boxed = found["annotations"]
    assert (outlined["label_name"], outlined["label_index"], outlined["object_reference"]) == (
        "car",
        7,
        "o-1",
    )
    # A ring of two points is none.
    assert outlined["mask"] == [[[pytest.approx(x), pytest.approx(y)] for x, y in RING]]
    assert (outlined["box3d"], outlined["iscrowd"]) == (SPACE, True)
    assert "label_name" not in boxed
    assert boxed["box2d"] == pytest.approx({"x": 0.5, "y": 0.5, "w": 0.123456, "h": 0.2})
    for annotation in found["annotations"]:
        for pair in (("mask", "polygon"), ("iscrowd", "ignore"), ("object_reference", "object_id")):
            assert sum(name in annotation for name in pair) <= 1
    labels = spoken.ok("label.list", {"dataset_id": dataset})
    assert {("car", 7)} <= {(each["name"], each["index"]) for each in labels}


def test_pictures_that_stand_alone_have_no_sequence_at_all(spoken: Spoken, dataset: int) -> None:
    populate(spoken, dataset, {"image_name": "a.jpg", "sequence_name": "", "frame_number": -1})
    (found,) = listed(spoken, dataset)
    assert {"sequence_name", "sequence_uuid", "sequence_description", "frame_number"}.isdisjoint(found)


def test_pages_go_on_to_the_end(spoken: Spoken, dataset: int) -> None:
    populate(spoken, dataset, *({"image_name": f"{n}.jpg", "group": "ab"[n % 2]} for n in range(7)))
    assert spoken.ok("samples.count", {"dataset_id": dataset}) == {"total": 7}
    assert spoken.ok("samples.count", {"dataset_id": dataset, "group_names": ["a"]}) == {"total": 4}
    names, token = [], None
    for _ in range(10):
        page = spoken.ok("samples.list", {"dataset_id": dataset, "limit": 3, "continue_token": token})
        names.append([sample["image_name"] for sample in page["samples"]])
        token = page["continue_token"]
        if not token:
            break
    assert names == [["0.jpg", "1.jpg", "2.jpg"], ["3.jpg", "4.jpg", "5.jpg"], ["6.jpg"]]
    for bad in ("x", "-1", "1" * 30, "²"):
        code, text = spoken.no("samples.list", {"dataset_id": dataset, "continue_token": bad})
        assert (code, "continue_token" in text) == (3, True)


def test_types_choose_files_and_places(spoken: Spoken, dataset: int) -> None:
    made = populate(
        spoken,
        dataset,
        {
            "image_name": "a.jpg",
            "width": 64,
            "height": 48,
            "files": {"image": "a.jpg"},
            "annotations": [
                {"label_name": "car", "mask": [RING]},
                {"label_name": "van", "box3d": SPACE},
                {"label_name": "tag"},
            ],
        },
        {"files": {"lidar.pcd": "scan.lidar.pcd"}},
        {"image_name": "to come.jpg", "files": {"image": "to come.jpg"}},
    )
    put(spoken, made[0]["urls"][0]["url"], jpeg(64, 48))
    put(spoken, made[1]["urls"][0]["url"], pcd(3))

    def names(*types: str) -> list[str | None]:
        found = listed(spoken, dataset, types=list(types))
        assert spoken.ok("samples.count", {"dataset_id": dataset, "types": list(types)})["total"] == len(
            found
        )
        return [sample.get("image_name") for sample in found]

    assert names() == ["a.jpg", "scan", "to come.jpg"]
    assert names("image", "gps", "imu") == ["a.jpg"]
    assert names("lidar.pcd", "gps", "imu") == ["scan"]
    # A newer client that wants pictures gives up over a name without an address.
    assert names("image", "lidar.pcd", "gps", "imu") == ["a.jpg", None]
    assert names("image", "lidar.pcd") == ["a.jpg", "scan"]
    shown = {
        types: [
            sorted(a.keys() - {"label_index"})
            for a in listed(spoken, dataset, types=list(types))[0]["annotations"]
        ]
        for types in ((), ("box3d",), ("mask", "mask"), ("box2d",))
    }
    assert shown == {
        (): [["box2d", "label_name", "mask"], ["box3d", "label_name"], ["label_name"]],
        ("box3d",): [["box3d", "label_name"]],
        ("mask", "mask"): [["label_name", "mask"]],
        ("box2d",): [["box2d", "label_name"]],
    }


def test_what_is_put_wrongly_leaves_nothing(spoken: Spoken, dataset: int) -> None:
    ((made),) = populate(spoken, dataset, {"files": {"image": "a.jpg", "lidar.pcd": "a.pcd"}})
    urls = {url["filename"]: url["url"] for url in made["urls"]}
    for name, data in (("a.jpg", b""), ("a.jpg", jpeg()[:99]), ("a.jpg", pcd()), ("a.pcd", pcd(9)[:-1])):
        answer = put(spoken, urls[name], data)
        assert answer.status_code in {415, 422}
        assert answer.text.strip()
    assert put(spoken, "http://x/_sample/none", jpeg()).status_code == 403
    assert spoken.rest.client.get(urlsplit(urls["a.jpg"]).path).status_code == 405
    too_long = spoken.rest.client.put(
        urlsplit(urls["a.jpg"]).path, content=b"x", headers={"Content-Length": str(2**31)}
    )
    assert too_long.status_code == 413
    assert listed(spoken, dataset)[0].keys().isdisjoint({"image_url", "sensors"})
    assert put(spoken, urls["a.jpg"], jpeg()).status_code == 200
    assert put(spoken, urls["a.jpg"], jpeg()).status_code == 200
    # Not 409: clients would try again for a minute.
    assert put(spoken, urls["a.jpg"], jpeg(seed=5)).status_code == 422


def test_a_request_that_is_sent_again_makes_nothing_new(spoken: Spoken, dataset: int) -> None:
    sent = [
        {
            "uuid": str(uuid4()),
            "image_name": f"{n}.jpg",
            "annotations": [{"label_name": "car", "box2d": _box()}],
        }
        for n in range(3)
    ]
    first = populate(spoken, dataset, *sent)
    before = listed(spoken, dataset)
    again = populate(spoken, dataset, *sent, presigned_urls=False)
    assert [each["uuid"] for each in again] == [each["uuid"] for each in first]
    assert [each["urls"] for each in again] == [[], [], []]
    assert listed(spoken, dataset) == before


def _box(**given: Any) -> dict[str, Any]:
    return {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4, **given}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}, {"type": "bbox", "bounding_box": True}),
        ({"x": 0.1, "y": 0.2, "w": 0, "h": 0.4}, {"type": "tag"}),
        ({"box2d": _box(w=0)}, {"type": "bbox", "bounding_box": True}),
        ({"polygon": RING and [[0.1, 0.2, 0.4, 0.2, 0.4, 0.6]]}, {"type": "polygon", "polygon": True}),
        ({"polygon": {"rings": [RING]}}, {"type": "polygon", "polygon": True}),
        ({"mask": {"polygon": [RING]}}, {"type": "polygon", "polygon": True}),
        ({"mask": "iVBORw0KGgo="}, {"type": "tag"}),
        ({"mask": []}, {"type": "tag"}),
        (
            {"mask": [RING], "polygon": None, "box3d": SPACE},
            {"type": "polygon", "polygon": True, "box3d": True},
        ),
        ({"object_id": "o"}, {"type": "tag", "object_id": "o"}),
        ({"box2d": _box(), "box2d_score": 0.25, "mask_score": 2}, {"confidence": 0.25}),
        ({"ignore": True, "exclude": False}, {"attributes": [{"ignore": True}]}),
        ({"label_name": "  "}, {"name": "unlabeled"}),
        ({"attributes": {"truncation": 1}}, {"attributes": [{"truncation": 1}]}),
    ],
)
def test_annotations_are_read_in_every_form(sent: dict[str, Any], expected: dict[str, Any]) -> None:
    read = annotation_arguments(sent, (100, 50), "1")
    for name, value in expected.items():
        assert (name in read) if value is True else (read[name] == value)


def test_coordinates_come_back_exactly() -> None:
    view = WireView({"car": 0}, lambda file: file.filename)
    for share in (0.1, 1 / 3, 0.123456789, 1e-7, 0.9999999):
        sent = {"label_name": "car", "box2d": {"x": share, "y": share, "w": share, "h": share}}
        read = annotation_arguments(sent, (641, 479), "1")
        back = view.annotation(read, 641, 479)
        assert back is not None
        assert back["box2d"] == pytest.approx(sent["box2d"], rel=1e-15)


def test_a_pixel_mask_is_told_by_its_outline() -> None:
    import numpy as np

    from tintype_studio.annotations.masks import mask_of_array

    bits = np.zeros((10, 20), dtype=np.bool_)
    bits[2:6, 4:14] = True
    mask = mask_of_array(bits)
    assert mask is not None
    shown = WireView({}, lambda file: file.filename).annotation(
        {"name": "x", "type": "mask", "mask": mask.model_dump()}, 20, 10
    )
    assert shown is not None
    xs = [x for ring in shown["mask"] for x, _ in ring]
    assert (min(xs), max(xs)) == (pytest.approx(0.2), pytest.approx(0.7))


BAD: list[tuple[Any, str]] = [
    ("x", "samples"),
    ({"uuid": 5}, "uuid"),
    ({"uuid": "no"}, "UUID"),
    ({"width": 1.5}, "width"),
    ({"frame_number": "1"}, "frame_number"),
    ({"files": {"image": 5}}, "files"),
    ({"files": {"image": "a.txt"}}, "Sample 2"),
    ({"sensors": "x"}, "sensors"),
    ({"sensors": {"gps": {"lat": 1}}}, "gps"),
    ({"sensors": {"gps": {"lat": 91, "lon": 0}}}, "lat"),
    ({"annotations": "x"}, "annotations"),
    ({"annotations": [5]}, "annotations"),
    ({"annotations": [{"box2d": {"x": 0}}]}, "box2d"),
    ({"annotations": [{"box2d": _box(w=-1)}]}, "negative"),
    ({"annotations": [{"mask": [[["a", "b"]]]}]}, "mask"),
    ({"annotations": [{"mask": 5}]}, "mask"),
    ({"annotations": [{"label_name": "x" * 200}]}, "annotations"),
    ({"date": "yesterday"}, "date"),
    ({"image_name": "../a.jpg"}, "Sample 2"),
]


@pytest.mark.parametrize(("sample", "told"), BAD)
def test_one_bad_sample_stops_the_request(spoken: Spoken, dataset: int, sample: Any, told: str) -> None:
    good = {"uuid": str(uuid4()), "image_name": "good.jpg"}
    params = {"dataset_id": dataset, "presigned_urls": True, "samples": [good, sample]}
    code, text = spoken.no("samples.populate2", params)
    assert code == 3
    assert told in text
    assert spoken.ok("samples.count", {"dataset_id": dataset}) == {"total": 0}


def test_others_datasets_are_not_found(spoken: Spoken, dataset: int) -> None:
    ((made),) = populate(spoken, dataset, {"image_name": "a.jpg", "files": {"image": "a.jpg"}})
    row = listed(spoken, dataset)[0]["id"]
    own_set = spoken.ok("annset.list", {"dataset_id": dataset})[0]["id"]
    other = make(spoken)
    theirs = make(spoken, "elsewhere")
    for bearer, params in (("elsewhere", {"dataset_id": dataset}), ("owner", {"dataset_id": theirs})):
        for method, more in (
            ("samples.count", {}),
            ("samples.list", {}),
            ("samples.populate2", {"samples": [{"image_name": "x.jpg"}]}),
            ("samples.update_dimensions", {"samples": [{"id": row, "width": 5, "height": 5}]}),
            ("image.delete_from_dataset", {"image_ids": [row]}),
        ):
            assert spoken.no(method, params | more, bearer=bearer)[0] == 101
    box = {"type": "box", "image_id": row, "annotation_set_id": own_set, **_box()}
    added = {"annotation_set_id": own_set, "annotations": [box]}
    assert spoken.no("annotation.add_bulk", added, bearer="elsewhere")[0] == 101
    assert spoken.no("samples.list", {"dataset_id": other, "annotation_set_id": own_set})[0] == 101
    assert spoken.no("image.delete_from_dataset", {"dataset_id": other, "image_ids": [row]})[0] == 101
    sizes = {"dataset_id": other, "samples": [{"id": row, "width": 5, "height": 5}]}
    assert spoken.ok("samples.update_dimensions", sizes) == {"updated": 0}
    assert spoken.no("samples.populate2", {"dataset_id": dataset, "samples": [{}]}, bearer="viewer")[0] == 403
    assert made["urls"]


def test_dimensions_are_filled_in(spoken: Spoken, dataset: int) -> None:
    populate(spoken, dataset, {"image_name": "a", "annotations": [{"label_name": "car", "box2d": _box()}]})
    (found,) = listed(spoken, dataset)
    assert "width" not in found
    sizes = {"dataset_id": dataset, "samples": [{"id": found["id"], "width": 640, "height": 480}]}
    assert spoken.ok("samples.update_dimensions", sizes) == {"updated": 1}
    (after,) = listed(spoken, dataset)
    assert (after["width"], after["height"]) == (640, 480)
    assert after["annotations"][0]["box2d"] == pytest.approx(_box())
    for bad in ({"id": found["id"], "width": 0, "height": 1}, {"id": found["id"]}, 5):
        assert spoken.no("samples.update_dimensions", {"dataset_id": dataset, "samples": [bad]})[0] == 3


def test_annotations_are_added_and_taken_in_bulk(spoken: Spoken, dataset: int) -> None:
    populate(spoken, dataset, {"image_name": "a", "width": 100, "height": 50})
    row = listed(spoken, dataset)[0]["id"]
    set_id = spoken.ok("annset.add", {"dataset_id": dataset, "name": "model", "operator": "x"})["id"]
    spoken.ok("label.add2", {"dataset_id": dataset, "labels": [{"name": "car"}]})
    label = spoken.ok("label.list", {"dataset_id": dataset})[0]["id"]
    common = {"image_id": row, "annotation_set_id": set_id}
    box = {"type": "box", "label_id": label, "score": 0.5, "object_reference": "o", **_box(), **common}
    outline = {"type": "seg", "label_id": label, "polygon": f"[{RING}]", **_box(), **common}
    params = {"annotation_set_id": set_id, "annotations": [box, outline]}
    assert len(spoken.ok("annotation.add_bulk", params)) == 2

    def kinds() -> list[list[str]]:
        (found,) = listed(spoken, dataset, annotation_set_id=set_id)
        return [sorted({"box2d", "mask"} & a.keys()) for a in found["annotations"]]

    assert kinds() == [["box2d"], ["box2d", "mask"]]
    taken = {"annotation_set_id": set_id, "image_ids": [row]}
    # Clients want text.
    assert isinstance(spoken.ok("annotation.bulk.del", taken | {"annotation_types": ["seg"]}), str)
    assert kinds() == [["box2d"], ["box2d"]]
    spoken.ok("annotation.bulk.del", taken | {"annotation_types": ["box"]})
    assert kinds() == []
    for bad in (
        {"annotations": [box | {"image_id": NO_ID}]},
        {"annotations": [box | {"label_id": NO_ID}]},
        {"annotation_set_id": NO_ID, "annotations": [box]},
    ):
        assert spoken.no("annotation.add_bulk", {"annotation_set_id": set_id, **bad})[0] == 101
    for bad in ({"annotations": 5}, {"annotations": [5]}, {"annotations": [box | {"type": "x"}]}):
        assert spoken.no("annotation.add_bulk", {"annotation_set_id": set_id, **bad})[0] == 3
    assert spoken.no("annotation.bulk.del", taken | {"annotation_types": ["x"]})[0] == 3


def test_samples_go_into_the_bin(spoken: Spoken, dataset: int) -> None:
    populate(
        spoken,
        dataset,
        *({"image_name": f"{n}.jpg", "sequence_name": "s" if n < 2 else None} for n in range(6)),
    )
    rows = [sample["id"] for sample in listed(spoken, dataset)]

    def delete(**given: Any) -> list[int]:
        params = {"dataset_id": dataset, "image_ids": [], "sequence_ids": [], "delete_all": False, **given}
        assert isinstance(spoken.ok("image.delete_from_dataset", params), str)
        return [sample["id"] for sample in listed(spoken, dataset)]

    assert delete(image_ids=rows[4:]) == rows[:4]
    studio = spoken.rest.runtime.studio
    sequence = studio.multisensor.of_row(spoken.rest.owner, rows[0]).sequence
    assert sequence is not None
    assert delete(sequence_ids=[sequence.row_id]) == rows[2:4]
    assert delete(delete_all=True) == []
    assert spoken.no("image.delete_from_dataset", {"dataset_id": dataset, "image_ids": rows})[0] == 101


def test_a_sample_reads_the_same_whatever_order_it_is_sent_in() -> None:
    sent = {"annotations": {"bbox": [{"box2d": _box()}], "mask": [{"mask": [RING]}], "box3d": None}}
    read = sample_arguments(
        {**sent, "sensors": [{"gps": {"lat": 1, "lon": 2}}, {"imu": None}]}, with_files=True
    )
    assert [each["type"] for each in read["annotations"]] == ["bbox", "polygon"]
    assert (read["location"], "pose" in read) == ({"lat": 1, "lon": 2}, False)
