"""From an export to images laid out for training, with everything that can be wrong with one."""

from __future__ import annotations

import errno
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.trainable import CLASSES, Picture, box, export, order, png, polygon, squares

from tintype_studio.annotations.masks import mask_of_array
from tintype_studio.errors import InvalidInput, NotFound, Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.train import prepare as preparing
from tintype_studio.vision.train.prepare import prepare_data
from tintype_studio.vision.train.session import Prepared, prepare


def blank(name: str, *annotations: dict, size: tuple[int, int] = (120, 60), **values: object) -> Picture:
    pixels = np.full((size[1], size[0], 3), sum(name.encode()) % 200, np.float64)
    return Picture(name, png(pixels), size, list(annotations), **values)


def some(count: int = 10, **values: object) -> list[Picture]:
    return [squares(seed, **values) for seed in range(count)]


def test_boxes_land_on_what_they_name(tmp_path: Path) -> None:
    data = prepare_data(order(tmp_path, export(tmp_path, some(12)), image_size=64))
    assert data.prepared.classes == CLASSES
    assert len(data.items) == 12
    for index in range(12):
        image, target = data.image(index), data.target(index)
        assert image.shape == (64, 64, 3)
        for (left, top, right, bottom), label in zip(target.boxes, target.labels, strict=True):
            middle = image[int(top + bottom) // 2, int(left + right) // 2].astype(int)
            assert middle.argmax() == (0, 2)[label]
        truth = data.truth(index, original=True)
        assert (truth.width, truth.height) == (112, 96)
        np.testing.assert_allclose(truth.boxes * 64 / 112, target.boxes, rtol=1e-5)


def test_what_is_told_adds_up_and_survives_json(tmp_path: Path) -> None:
    work = order(tmp_path, export(tmp_path, some(20)))
    told = prepare(work)
    data = prepare_data(work)
    assert sum(told.images.values()) == 20
    assert {split: len(data.splits[split]) for split in told.images} == told.images
    assert sum(told.objects.values()) == sum(len(data.target(i).labels) for i in range(20))
    assert sum(sum(c.values()) for c in told.per_class.values()) == sum(told.objects.values())
    assert Prepared.from_json(told.as_json()) == told


def test_the_second_time_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = order(tmp_path, export(tmp_path, some()))
    first = prepare_data(work).prepared
    Blobs(work.blob_url).delete(work.export_sha256)
    assert prepare_data(work).prepared == first


def test_half_a_folder_is_made_anew(tmp_path: Path) -> None:
    work = order(tmp_path, export(tmp_path, some()))
    first = prepare_data(work).prepared
    (about,) = Path(work.work_dir).glob("*/about.json")
    about.unlink()
    (about.parent / "pixels").write_bytes(b"half")
    assert prepare_data(work).prepared == first


def test_a_broken_picture_is_left_out_and_named(tmp_path: Path) -> None:
    pictures = some(8)
    pictures[3].data = pictures[3].data[: len(pictures[3].data) // 2]
    pictures[5].data = b"no picture"
    told = prepare(order(tmp_path, export(tmp_path, pictures)))
    assert sum(told.images.values()) == 6
    assert any("2 images" in note and "3.png" in note and "5.png" in note for note in told.notes)


def test_too_few_that_can_be_read(tmp_path: Path) -> None:
    pictures = some(5)
    pictures[0].data = b"no picture"
    with pytest.raises(InvalidInput, match="at least 5") as refused:
        prepare(order(tmp_path, export(tmp_path, pictures)))
    assert refused.value.code == "too_few_images"


def test_unfinished_images_without_objects_teach_nothing(tmp_path: Path) -> None:
    pictures = [*some(6), blank("done.png"), blank("new.png", status="new")]
    told = prepare(order(tmp_path, export(tmp_path, pictures)))
    assert sum(told.images.values()) == 7
    assert any("not complete" in note for note in told.notes)
    assert any("background" in note for note in told.notes)


def test_given_splits_are_kept(tmp_path: Path) -> None:
    pictures = [*some(6, split="train"), squares(6, split="test"), squares(7, split="val"), squares(8)]
    data = prepare_data(order(tmp_path, export(tmp_path, pictures)))
    splits = {item.name: item.split for item in data.items}
    assert (splits["6.png"], splits["7.png"]) == ("test", "val")
    assert all(splits[f"{k}.png"] == "train" for k in range(6))


def test_all_held_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="val or test") as refused:
        prepare(order(tmp_path, export(tmp_path, some(6, split="test"))))
    assert refused.value.code == "too_few_images"


def test_the_class_filter_leaves_the_others_out(tmp_path: Path) -> None:
    told = prepare(order(tmp_path, export(tmp_path, some(20)), class_filter=("blue",)))
    assert told.classes == ("blue",)
    assert any("one class" in note for note in told.notes)


def test_a_class_with_one_example_is_told(tmp_path: Path) -> None:
    pictures = [*some(12), blank("rare.png", box("rare", 5, 5, 30, 30))]
    told = prepare(order(tmp_path, export(tmp_path, pictures, (*CLASSES, "rare"))))
    assert told.per_class["rare"] == {"train": 1, "val": 0, "test": 0}
    assert any("'rare' has one example" in note for note in told.notes)


def test_many_classes_with_one_example_are_told_in_one_note(tmp_path: Path) -> None:
    rare = [f"rare{k}" for k in range(30)]
    pictures = [*some(12), *(blank(f"{name}.png", box(name, 5, 5, 30, 30)) for name in rare)]
    told = prepare(order(tmp_path, export(tmp_path, pictures, (*CLASSES, *rare))))
    assert len(told.notes) < 6
    assert any(note.startswith("30 classes have one example") for note in told.notes)


@pytest.mark.parametrize(
    ("annotations", "code"), [([], "no_annotations"), ([box("red", -50, -50, 20, 20)], "no_annotations")]
)
def test_nothing_to_learn_from(tmp_path: Path, annotations: list, code: str) -> None:
    pictures = [blank(f"{k}.png", *annotations) for k in range(6)]
    with pytest.raises(InvalidInput) as refused:
        prepare(order(tmp_path, export(tmp_path, pictures)))
    assert refused.value.code == code


def test_points_and_lines_are_told(tmp_path: Path) -> None:
    point = {"name": "red", "type": "keypoint", "keypoint": {"x": 3, "y": 3}}
    pictures = [*some(6), blank("point.png", point, box("red", 5, 5, 30, 30))]
    told = prepare(order(tmp_path, export(tmp_path, pictures)))
    assert any(note.startswith("1 points and lines") for note in told.notes)


def test_boxes_do_not_teach_outlines(tmp_path: Path) -> None:
    for pipeline in ("detectron2", "sm_pytorch"):
        with pytest.raises(InvalidInput, match="no polygon") as refused:
            prepare(order(tmp_path, export(tmp_path, some()), pipeline))
        assert refused.value.code == "wrong_export"


def test_boxes_count_as_rectangles_for_a_class_without_polygons(tmp_path: Path) -> None:
    pictures = [
        blank(f"{k}.png", polygon("red", [(10, 10), (50, 10), (10, 50)]), box("blue", 60, 10, 40, 40))
        for k in range(6)
    ]
    pictures.append(blank("6.png", box("red", 10, 10, 40, 40)))
    data = prepare_data(order(tmp_path, export(tmp_path, pictures), "detectron2", image_size=128))
    index = next(k for k, item in enumerate(data.items) if item.name == "0.png")
    triangle, rectangle = data.target(index).polygons
    assert len(triangle[0]) == 3
    np.testing.assert_allclose(
        rectangle[0] * 120 / 128, [(60, 10), (100, 10), (100, 50), (60, 50)], rtol=1e-5
    )
    assert any("rectangles" in note and "blue" in note for note in data.prepared.notes)
    assert any(note.startswith("1 boxes of classes that are outlined") for note in data.prepared.notes)


def test_holes_survive(tmp_path: Path) -> None:
    from tintype_studio.vision.train.augment import rasterize, regions

    outer, inner = [(10, 10), (50, 10), (50, 50), (10, 50)], [(20, 20), (40, 20), (40, 40), (20, 40)]
    pictures = [blank(f"{k}.png", polygon("blue", outer, inner), box("red", 90, 5, 20, 20)) for k in range(6)]
    data = prepare_data(order(tmp_path, export(tmp_path, pictures), "sm_pytorch", image_size=128))
    target = data.target(0)
    mask = rasterize(target, 128)[0]
    scale = 128 / 120
    # Centres from 10.67 to 53.33, without those from 21.33 to 42.67.
    assert mask.sum() == 42**2 - 22**2
    assert mask[int(30 * scale), int(30 * scale)] == 0
    found = regions(target, 128)
    assert found[int(15 * scale), int(15 * scale)] == 2
    assert found[int(15 * scale), int(100 * scale)] == 1
    assert regions(target, 128, stride=4).shape == (32, 32)


def test_masks_teach_what_their_outlines_do(tmp_path: Path) -> None:
    from tintype_studio.vision.train.augment import rasterize

    pixels = np.zeros((60, 120), dtype=bool)
    pixels[10:50, 10:50] = True
    pixels[20:40, 20:40] = False
    mask = mask_of_array(pixels)
    assert mask is not None
    of_pixels = {"name": "blue", "type": "mask", "mask": mask.model_dump()}
    rain = {"name": "red", "type": "tag"}
    pictures = [blank(f"{k}.png", of_pixels, rain, box("red", 90, 5, 20, 20)) for k in range(6)]
    data = prepare_data(order(tmp_path, export(tmp_path, pictures), "sm_pytorch", image_size=128))
    assert rasterize(data.target(0), 128)[0].sum() == 42**2 - 22**2
    assert any(note.startswith("6 points and lines (or tags)") for note in data.prepared.notes)


def test_classes_of_images(tmp_path: Path) -> None:
    pictures = [
        *(blank(f"{k}.png", box("red", 1, 1, 9, 9), box("red", 20, 1, 9, 9)) for k in range(4)),
        *(blank(f"{k}.png", folder="/blue/more") for k in range(4, 8)),
        blank("none.png"),
        blank("elsewhere.png", folder="/green"),
    ]
    data = prepare_data(order(tmp_path, export(tmp_path, pictures), "classification"))
    assert data.prepared.classes == CLASSES
    assert not data.prepared.multi_label
    assert [data.target(k).labels.tolist() for k in range(8)] == [[0]] * 4 + [[1]] * 4 or len(data.items) == 8
    assert any("4 images was taken from their folder" in note for note in data.prepared.notes)
    assert any("2 images have no class" in note for note in data.prepared.notes)


def test_several_classes_of_an_image_make_it_multi_label(tmp_path: Path) -> None:
    pictures = [blank(f"{k}.png", box("red", 1, 1, 9, 9), box("blue", 20, 1, 9, 9)) for k in range(6)]
    assert prepare(order(tmp_path, export(tmp_path, pictures), "classification")).multi_label


def test_one_class_is_nothing_to_classify(tmp_path: Path) -> None:
    pictures = [blank(f"{k}.png", box("red", 1, 1, 9, 9)) for k in range(6)]
    with pytest.raises(InvalidInput, match="'red'") as refused:
        prepare(order(tmp_path, export(tmp_path, pictures), "classification"))
    assert refused.value.code == "one_class"


def test_an_export_without_images(tmp_path: Path) -> None:
    pictures = some(6)
    for picture in pictures:
        picture.data = None
    with pytest.raises(InvalidInput, match="without its images") as refused:
        prepare(order(tmp_path, export(tmp_path, pictures)))
    assert refused.value.code == "wrong_export"


@pytest.mark.parametrize("content", [b"no zip", None])
def test_another_file_than_such_an_export(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.zip"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("instances.json", "{}")
        content = path.read_bytes()
    digest = Blobs(str(tmp_path / "blobs")).put(content)
    with pytest.raises(InvalidInput) as refused:
        prepare(order(tmp_path, digest))
    assert refused.value.code == "wrong_export"


def test_a_purged_export(tmp_path: Path) -> None:
    Blobs(str(tmp_path / "blobs"))
    with pytest.raises(NotFound):
        prepare(order(tmp_path, "0" * 64))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, square: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(preparing._Pixels, "append", full)
    work = order(tmp_path, export(tmp_path, some()))
    with pytest.raises(Unavailable) as refused:
        prepare(work)
    assert refused.value.code == "disk_full"
    monkeypatch.undo()
    assert sum(prepare(work).images.values()) == 10


def test_large_sets_are_kept_as_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = order(tmp_path, export(tmp_path, some()))
    plain = prepare_data(work)
    monkeypatch.setattr(preparing, "PLAIN_BYTES", 1000)
    packed = prepare_data(order(tmp_path, work.export_sha256, seed=1))
    # Seeds divide otherwise, but the order of the images is the export's.
    for index in range(10):
        away = cv2.absdiff(np.ascontiguousarray(plain.image(index)), packed.image(index))
        assert away.mean() < 6
    sizes = [path.stat().st_size for path in sorted(Path(work.work_dir).glob("*/pixels"))]
    assert min(sizes) < max(sizes) / 2
