"""What the published client sends comes back to the last bit: boxes, outlines, solids, sequences, places."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.edgefirst import EdgeFirstSdk
from support.pictures import jpeg

SENT = """
import random, struct
chance = random.Random(seed)

def f32(low=0.0, high=1.0):
    return struct.unpack("f", struct.pack("f", chance.uniform(low, high)))[0]

def annotation(number):
    one = Annotation()
    one.set_object_id(f"object {number} ä№")
    one.set_label(f"class {number % 7}")
    kind = number % 4
    if kind == 0:
        one.set_box2d(Box2d(f32(0, 0.5), f32(0, 0.5), f32(0.01, 0.5), f32(0.01, 0.5)))
    elif kind == 1:
        one.set_polygon(Polygon([[(f32(), f32()) for _ in range(chance.randint(3, 9))]
            for _ in range(chance.randint(1, 3))]))
    elif kind == 2:
        one.set_box3d(Box3d(f32(-50, 50), f32(-50, 50), f32(-3, 3), f32(0.1, 5), f32(0.1, 5), f32(0.1, 5)))
    else:
        one.set_box2d(Box2d(f32(0, 0.5), f32(0, 0.5), f32(0.01, 0.5), f32(0.01, 0.5)))
        one.set_polygon(Polygon([[(f32(), f32()) for _ in range(5)]]))
        one.set_box3d(Box3d(f32(-50, 50), f32(-50, 50), f32(-3, 3), f32(0.1, 5), f32(0.1, 5), f32(0.1, 5)))
    return one

def told(one):
    box, solid, outline = one.box2d, one.box3d, one.polygon
    return [
        one.object_id, one.label,
        None if box is None else [box.left, box.top, box.width, box.height],
        None if solid is None else [solid.cx, solid.cy, solid.cz, solid.width, solid.height, solid.length],
        None if outline is None else [[list(point) for point in ring] for ring in outline.rings],
    ]

sent, samples = {}, []
for n, picture in enumerate(pictures):
    one = Sample()
    one.set_image_name(f"{n}.jpg")
    one.add_file(SampleFile("image", picture))
    marks = [annotation(chance.randrange(1000)) for _ in range(12)]
    for mark in marks:
        one.add_annotation(mark)
    sent[str(n)] = sorted(map(told, marks), key=str)
    samples.append(one)
dataset = client.create_dataset(str(client.projects("default")[0].id), name)
truth = client.create_annotation_set(dataset, "truth")
client.populate_samples(dataset, truth, samples)
back = {each.name: sorted(map(told, each.annotations), key=str) for each in client.samples(dataset, truth)}
return sent, back
"""


@pytest.mark.parametrize("seed", range(3))
def test_annotations_come_back_as_they_were_sent(sdk: EdgeFirstSdk, tmp_path: Path, seed: int) -> None:
    """In pictures whose sides divide no number evenly."""
    chance = random.Random(seed)
    pictures = []
    for number in range(4):
        picture = tmp_path / f"{number}.jpg"
        picture.write_bytes(jpeg(chance.choice([61, 127, 640]), chance.choice([47, 89, 480]), seed=number))
        pictures.append(str(picture))
    sent, back = sdk.run(SENT, seed=seed, name=f"values {seed} {sdk.version}", pictures=pictures)
    for name, marks in sent.items():
        for mark, found in zip(marks, back[name], strict=True):
            if mark[2] is None and mark[4] is not None:
                # An outline without a box has its own: so does every outline that is saved here.
                assert found[2] == pytest.approx(box_of(mark[4]), abs=1e-6)
                found[2] = None
            assert found == mark


def box_of(outline: list[list[list[float]]]) -> list[float]:
    """Left, top, width, height."""
    xs, ys = zip(*(point for ring in outline for point in ring), strict=True)
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


SEQUENCES = """
dataset = client.create_dataset(str(client.projects("default")[0].id), name)
samples = []
for sequence in ("drive a", "drive b", None):
    for frame in range(3):
        one = Sample()
        one.set_image_name(f"{(sequence or 'alone').replace(' ', '_')}_{frame:03}.camera.jpeg")
        one.set_group("train" if sequence else "val")
        if sequence:
            one.set_sequence_name(sequence)
            one.set_frame_number(frame)
        one.add_file(SampleFile("image", picture))
        samples.append(one)
results = client.populate_samples_with_concurrency(dataset, samples, concurrency=4)
told = [[each.name, each.sequence_name, each.frame_number, each.group] for each in client.samples(dataset)]
frame = client.samples_dataframe(dataset)
return sorted(told, key=str), len(results), sorted(frame.columns), frame.height
"""


def test_sequences(sdk: EdgeFirstSdk, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(jpeg())
    told, results, columns, height = sdk.run(SEQUENCES, name=f"sequences {sdk.version}", picture=str(picture))
    wanted: list[list[Any]] = [
        [f"{sequence.replace(' ', '_')}_{frame:03}", sequence, frame, "train"]
        for sequence in ("drive a", "drive b")
        for frame in range(3)
    ]
    assert [each for each in told if each[1]] == wanted
    assert [each[:2] + each[3:] for each in told if not each[1]] == [
        [f"alone_{frame:03}", None, "val"] for frame in range(3)
    ]
    assert (results, height) == (9, 9)
    assert {"name", "frame", "group", "size"} <= set(columns)


PLACES = """
dataset = client.create_dataset(str(client.projects("default")[0].id), name)
one = Sample()
one.set_image_name("a.jpg")
one.add_file(SampleFile("image", picture))
one.set_location(GpsData(45.5, -73.25))
one.set_pose(ImuData(0.5, -1.25, 90.0))
client.populate_samples_with_concurrency(dataset, [one])
frame = client.samples_dataframe(dataset).to_dicts()[0]
return list(frame["location"]), list(frame["pose"])
"""


def test_places_and_poses(sdk: EdgeFirstSdk, tmp_path: Path) -> None:
    """Only the newer client can set them."""
    if not sdk.newest:
        assert not hasattr_(sdk, "Sample", "set_location")
        return
    picture = tmp_path / "a.jpg"
    picture.write_bytes(jpeg())
    assert sdk.run(PLACES, name="places", picture=str(picture)) == [[45.5, -73.25], [0.5, -1.25, 90.0]]


def hasattr_(sdk: EdgeFirstSdk, kind: str, name: str) -> bool:
    return bool(sdk.run(f"return hasattr({kind}, name)", name=name))


AGAIN = """
dataset = client.create_dataset(str(client.projects("default")[0].id), name)
def send(names, group=None):
    samples = []
    for each in names:
        one = Sample()
        one.set_image_name(each)
        one.set_group(group)
        one.add_file(SampleFile("image", picture))
        samples.append(one)
    return client.populate_samples_with_concurrency(dataset, samples)
send(["a.jpg"])
send(["a.jpg"])
try:
    send(["b.jpg", "a.jpg"], "val")
except RuntimeError as error:
    return str(error), sorted(client.sample_names(dataset))
"""


def test_a_name_that_is_there_already(sdk: EdgeFirstSdk, tmp_path: Path) -> None:
    """The client makes a new UUID each time. What says the same is the same sample, sent again; another one
    is refused, with all of its call.
    """
    picture = tmp_path / "a.jpg"
    picture.write_bytes(jpeg())
    told, names = sdk.run(AGAIN, name=f"again {sdk.version}", picture=str(picture))
    assert "a.jpg" in told
    assert names == ["a"]


TOGETHER = """
import threading
dataset = client.create_dataset(str(client.projects("default")[0].id), name)
failures = []
def send(part):
    samples = []
    for number in range(8):
        one = Sample()
        one.set_image_name(f"{part}-{number}.jpg")
        one.set_group(f"group {number % 2}")
        one.add_file(SampleFile("image", picture))
        mark = Annotation()
        mark.set_label(f"label {number % 4}")
        mark.set_box2d(Box2d(0.25, 0.25, 0.5, 0.5))
        one.add_annotation(mark)
        samples.append(one)
    try:
        client.populate_samples_with_concurrency(dataset, samples, truth, concurrency=8)
    except BaseException as error:
        failures.append(str(error))
truth = client.create_annotation_set(dataset, "truth")
threads = [threading.Thread(target=send, args=(part,)) for part in range(6)]
for each in threads: each.start()
for each in threads: each.join()
labels = sorted(each.name for each in client.labels(dataset))
groups = sorted(each.name for each in client.groups(dataset))
return failures, client.samples_count(dataset, truth).total, labels, groups, len(client.annotations(truth))
"""


def test_many_at_once(sdk: EdgeFirstSdk, tmp_path: Path) -> None:
    """Labels and groups that several senders make at the same time are made once."""
    picture = tmp_path / "a.jpg"
    picture.write_bytes(jpeg())
    told = sdk.run(TOGETHER, name=f"together {sdk.version}", picture=str(picture))
    assert told == [[], 48, [f"label {n}" for n in range(4)], ["group 0", "group 1"], 48]
