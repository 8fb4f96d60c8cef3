"""Drafts in training: counted and told where they are learned from, and left out where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.trainable import Picture, box, export, order, png, squares

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.train.prepare import prepare_data
from tintype_studio.vision.train.session import Prepared, prepare

DRAFT = [{"review": "draft"}]


def blank(name: str, *annotations: dict[str, Any], **values: Any) -> Picture:
    pixels = np.full((60, 120, 3), sum(name.encode()) % 200, np.float64)
    return Picture(name, png(pixels), (120, 60), list(annotations), **values)


def draft(name: str, x: float = 5) -> dict[str, Any]:
    return {**box(name, x, 5, 30, 30), "attributes": DRAFT}


def final(name: str, x: float = 60) -> dict[str, Any]:
    return {**box(name, x, 5, 30, 30), "attributes": [{"review": "done"}, {"weather": "rain"}]}


PICTURES = [
    *(blank(f"final {k}.png", final("red")) for k in range(6)),
    *(blank(f"draft {k}.png", draft("red"), draft("blue", 60)) for k in range(3)),
    blank("both.png", draft("blue"), final("red")),
    blank("empty.png"),
]
EMPTY = 1


def about(told: Prepared) -> list[str]:
    return [note for note in told.notes if "draft" in note]


def names(data: Any) -> set[str]:
    return {item.name for item in data.items}


def test_drafts_are_learned_from_and_told(tmp_path: Path) -> None:
    told = prepare(order(tmp_path, export(tmp_path, PICTURES)))
    assert sum(told.images.values()) == len(PICTURES)
    assert (sum(told.objects.values()), told.drafts) == (14, 7)
    [note] = about(told)
    assert note.startswith("7 of 14 annotations are drafts that nobody has reviewed.")
    assert Prepared.from_json(told.as_json()) == told


def test_without_drafts_nothing_is_said(tmp_path: Path) -> None:
    told = prepare(order(tmp_path, export(tmp_path, [squares(seed) for seed in range(6)])))
    assert (told.drafts, about(told)) == (0, [])


def test_what_is_left_out_for_another_reason_is_not_counted(tmp_path: Path) -> None:
    point = {"name": "red", "type": "keypoint", "keypoint": {"x": 3, "y": 3}, "attributes": DRAFT}
    broken = Picture("broken.png", b"no picture", (120, 60), [draft("red")])
    pictures = [*PICTURES, blank("point.png", point, final("red")), broken]
    told = prepare(order(tmp_path, export(tmp_path, pictures), class_filter=("red",)))
    assert about(told)[0].startswith("3 of 11 annotations are drafts")


def test_skipped_drafts_take_their_images_with_them(tmp_path: Path) -> None:
    data = prepare_data(order(tmp_path, export(tmp_path, PICTURES), drafts="skip"))
    told = data.prepared
    assert names(data) == {*(f"final {k}.png" for k in range(6)), "both.png", "empty.png"}
    assert (sum(told.objects.values()), told.drafts) == (7, 0)
    # blue was in drafts only.
    assert told.classes == ("red",)
    assert about(told) == [
        "7 drafts that nobody has reviewed were left out, and with them 3 images that hold nothing else to "
        "learn from.",
        "In 1 images that have both, what only a draft marks counts as background.",
    ]
    assert f"{EMPTY} complete images without an object teach what is background." in told.notes


@pytest.mark.parametrize(
    ("annotations", "stays"),
    [
        ([draft("red")], False),
        # Whether there is a red thing has not been looked at.
        ([draft("red"), final("blue")], False),
        # All of it is a guess, of other classes only: nobody has looked for red.
        ([draft("blue")], False),
        ([final("blue")], True),
        ([draft("blue"), final("blue")], True),
        ([draft("blue"), final("red")], True),
        ([], True),
    ],
)
def test_an_image_is_background_only_if_somebody_has_looked(
    tmp_path: Path, annotations: list[dict[str, Any]], stays: bool
) -> None:
    pictures = [*PICTURES[:6], blank("asked.png", *annotations)]
    work = order(tmp_path, export(tmp_path, pictures), class_filter=("red",), drafts="skip")
    assert ("asked.png" in names(prepare_data(work))) is stays


def test_with_and_without_are_prepared_apart(tmp_path: Path) -> None:
    digest = export(tmp_path, PICTURES)
    assert len(prepare_data(order(tmp_path, digest)).items) == len(PICTURES)
    assert len(prepare_data(order(tmp_path, digest, drafts="skip")).items) == len(PICTURES) - 3


def test_when_only_drafts_are_there_the_error_says_what_to_do(tmp_path: Path) -> None:
    pictures = [blank(f"{k}.png", draft("red")) for k in range(8)]
    with pytest.raises(InvalidInput, match="there are 0") as refused:
        prepare(order(tmp_path, export(tmp_path, pictures), drafts="skip"))
    assert refused.value.code == "too_few_images"
    assert refused.value.fix.startswith("8 drafts were left out: accept the right ones")


def test_classes_of_images_are_drafts_too(tmp_path: Path) -> None:
    pictures = [blank(f"{k}.png", (draft, final)[k % 2](("red", "blue")[k // 6])) for k in range(12)]
    pictures.append(blank("folder.png", folder="/red"))
    digest = export(tmp_path, pictures)
    told = prepare(order(tmp_path, digest, "classification", run_id="use"))
    assert told.drafts == 6
    assert about(told)[0].startswith("6 of 12 annotations are drafts")
    told = prepare(order(tmp_path, digest, "classification", run_id="skip", drafts="skip"))
    assert sum(told.images.values()) == 7
    assert about(told)[0].startswith(
        "6 drafts that nobody has reviewed were left out, and with them 6 images"
    )
