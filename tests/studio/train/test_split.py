"""Splits: whatever the images, nothing is lost, what belongs together stays, and the same comes out again."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tintype_studio.vision.train.split import STRETCH, TEST_FROM, Divisible, divide

DEFAULTS = {"val_fraction": 0.15, "test_fraction": 0.1, "seed": 0}


@st.composite
def image_sets(draw: st.DrawFn) -> list[Divisible]:
    count = draw(st.integers(2, 60))
    return [
        Divisible(
            f"image-{k}",
            draw(st.sampled_from(["/", "/a"])),
            draw(st.sampled_from([f"{k}.jpg", f"cut_frame_{k:05}.jpg", f"{k % 7} copy.jpg", f"{k % 7}.jpg"])),
            draw(st.sampled_from([None, None, None, "train", "val", "test"])),
            draw(st.sampled_from([k, k, k, k % 5])),
            frozenset(draw(st.sets(st.integers(0, 4), max_size=3))),
        )
        for k in range(count)
    ]


@settings(max_examples=200, deadline=None)
@given(images=image_sets(), seed=st.integers(0, 3))
def test_properties(images: list[Divisible], seed: int) -> None:
    values = {"val_fraction": 0.2, "test_fraction": 0.2, "seed": seed}
    splits, _ = divide(images, **values)
    assert set(splits) <= {"train", "val", "test"}
    assert all(each.split in {None, split} for each, split in zip(images, splits, strict=True))
    assert divide(images, **values)[0] == splits
    if not any(each.split for each in images):
        assert {"train", "val"} <= set(splits)
        assert ("test" in splits) <= (len(images) >= TEST_FROM)


@settings(max_examples=200, deadline=None)
@given(images=image_sets())
def test_equal_files_stay_together_where_no_split_was_given(images: list[Divisible]) -> None:
    free = [Divisible(i.image_id, i.folder, f"{i.image_id}.jpg", None, i.content, i.labels) for i in images]
    splits, notes = divide(free, **DEFAULTS)
    of_content = defaultdict(set)
    for each, split in zip(free, splits, strict=True):
        of_content[each.content].add(split)
    assert notes or all(len(found) == 1 for found in of_content.values())


@settings(max_examples=200, deadline=None)
@given(images=image_sets())
def test_every_class_trains_where_there_is_a_choice(images: list[Divisible]) -> None:
    free = [Divisible(i.image_id, "/", f"{i.image_id}.jpg", None, i.image_id, i.labels) for i in images]
    splits, notes = divide(free, **DEFAULTS)
    trained = set().union(*(i.labels for i, s in zip(free, splits, strict=True) if s == "train"))
    assert notes or trained == set().union(*(i.labels for i in free))


def test_shares_are_met() -> None:
    images = [Divisible(f"id-{k}", filename=f"{k}.jpg", labels=frozenset({k % 3})) for k in range(200)]
    counts = Counter(divide(images, **DEFAULTS)[0])
    assert (counts["val"], counts["test"], counts["train"]) == (30, 20, 150)


def test_new_images_hardly_move_the_old_ones() -> None:
    images = [Divisible(f"id-{k}", filename=f"{k}.jpg", labels=frozenset({0})) for k in range(220)]
    before, after = divide(images[:200], **DEFAULTS)[0], divide(images, **DEFAULTS)[0][:200]
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 12


def test_another_seed_divides_otherwise() -> None:
    images = [Divisible(f"id-{k}", filename=f"{k}.jpg", labels=frozenset({0})) for k in range(100)]
    assert divide(images, **DEFAULTS)[0] != divide(images, **{**DEFAULTS, "seed": 1})[0]


def test_neighbouring_frames_stay_together() -> None:
    images = [
        Divisible(f"id-{k}", "/video", f"street_frame_{k:05}.jpg", labels=frozenset({0})) for k in range(200)
    ]
    splits, _ = divide(images, **DEFAULTS)
    changes = sum(a != b for a, b in pairwise(splits))
    # Random frames would change nearly sixty times.
    assert changes <= 2 / STRETCH
    assert {"train", "val", "test"} == set(splits)


def test_copies_stay_together() -> None:
    names = [f"{k}{tail}.jpg" for k in range(30) for tail in ("", "_copy", " (1)", ".rf.0123456789abcdef")]
    images = [Divisible(name, filename=name, labels=frozenset({0})) for name in names]
    splits, _ = divide(images, **DEFAULTS)
    assert all(len(set(splits[k : k + 4])) == 1 for k in range(0, 120, 4))


def test_the_only_example_of_a_class_trains() -> None:
    images = [Divisible(f"id-{k}", filename=f"{k}.jpg", labels=frozenset({0})) for k in range(40)]
    images.append(Divisible("rare", filename="rare.jpg", labels=frozenset({0, 1})))
    for seed in range(20):
        splits, _ = divide(images, **{**DEFAULTS, "seed": seed})
        assert splits[-1] == "train"


def test_five_images_of_five_classes_still_validate_and_say_so() -> None:
    images = [Divisible(f"id-{k}", filename=f"{k}.jpg", labels=frozenset({k})) for k in range(5)]
    splits, notes = divide(images, **DEFAULTS)
    assert sorted(splits) == ["train"] * 4 + ["val"]
    assert notes
