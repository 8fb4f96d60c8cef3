"""Which images train, validate and test: the same for the same seed, and never a picture beside its twin.

Images that were given a split keep it. The others are divided in the order of a hash of seed and image id, so
that new images hardly move the old ones. Copies of a picture and neighbouring frames of a sequence stay
together.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from tintype_studio.formats.base import SPLITS

TRAIN, VAL, TEST = SPLITS
TEST_FROM = 10
"""Images, from which on some are kept for the test."""

STRETCH = 0.05
"""Share of all images that a stretch of a sequence may have; longer sequences are cut into stretches."""

_FRAME = re.compile(r"(?P<name>.*?)[-_ .]?(?:frame|frm)[-_ .]?(?P<number>\d+)$", re.IGNORECASE)
_COPY = re.compile(r"(?:\.rf\.[0-9a-f]{8,}|[-_ ]aug[-_ ]?\d*|[-_ ]copy(?: ?\d+)?| ?\(\d+\))$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Divisible:
    """What of an image decides about its place."""

    image_id: str
    folder: str = "/"
    filename: str = ""
    split: str | None = None
    """What it was given."""
    content: Hashable | None = None
    """Equal for equal files."""
    labels: frozenset[int] = frozenset()
    """The classes in it."""


@dataclass(slots=True)
class _Group:
    """Images that stay together."""

    members: list[int]
    labels: set[int] = field(default_factory=set)


def divide(
    images: Sequence[Divisible], *, val_fraction: float, test_fraction: float, seed: int
) -> tuple[list[str], list[str]]:
    """The split of each image, and sentences about what was unusual.

    There is at least one image to validate on, unless all were given another split; and one to test on from
    ``TEST_FROM`` images on (below, and with a ``test_fraction`` of 0, none). A class with one example trains;
    as far as there is a choice, every class trains, and classes with several groups validate too.
    """
    splits: list[str | None] = [each.split for each in images]
    notes: list[str] = []
    groups = _groups(images)
    _follow_the_given(groups, splits)
    free = [g for g in groups if splits[g.members[0]] is None]
    for group in free:
        group.labels = set().union(*(images[i].labels for i in group.members))
    free.sort(key=lambda group: min(_order(seed, images[i].image_id) for i in group.members))
    count = sum(len(group.members) for group in free)
    wanted = {VAL: round(count * val_fraction), TEST: round(count * test_fraction)}
    if VAL not in splits:
        wanted[VAL] = max(1, wanted[VAL])
    if len(images) < TEST_FROM or not test_fraction:
        wanted[TEST] = 0
    elif TEST not in splits:
        wanted[TEST] = max(1, wanted[TEST])
    examples = Counter(label for group in free for label in group.labels)
    for index, given in enumerate(splits):
        if given == TRAIN:
            examples.update(images[index].labels)
    for split in (VAL, TEST):
        for group in _held_out(free, examples, wanted[split]):
            free.remove(group)
            for index in group.members:
                splits[index] = split
    for group in free:
        for index in group.members:
            splits[index] = TRAIN
    done = [split or TRAIN for split in splits]
    movable = [i for group in free for i in group.members]
    if VAL not in done and movable and done.count(TRAIN) > 1:
        # Nothing could be spared: each class has one example, or all images belong together.
        done[max(movable, key=lambda i: _order(seed, images[i].image_id))] = VAL
        notes.append(
            "No image could be spared for validation, so one was taken that training would have needed; "
            "its figures say little. More images help."
        )
    return done, notes


def _groups(images: Sequence[Divisible]) -> list[_Group]:
    """Connected by an equal name or equal content, in the order of their first images."""
    parent = list(range(len(images)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[Hashable, int] = {}
    names = _name_keys(images)
    for index, each in enumerate(images):
        for key in (names[index], each.content and ("content", each.content)):
            if key is not None:
                parent[root(index)] = root(first.setdefault(key, index))
    found: dict[int, _Group] = {}
    for index in range(len(images)):
        found.setdefault(root(index), _Group([])).members.append(index)
    return list(found.values())


def _name_keys(images: Sequence[Divisible]) -> list[Hashable | None]:
    """What the names say: which images are copies of one picture, which are a stretch of one sequence."""
    sequences: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    keys: list[Hashable | None] = [None] * len(images)
    for index, each in enumerate(images):
        stem = each.filename.rpartition(".")[0] or each.filename
        if frame := _FRAME.fullmatch(stem):
            sequences[each.folder, frame["name"].lower()].append((int(frame["number"]), index))
        elif stem:
            keys[index] = ("picture", each.folder, _COPY.sub("", stem).lower())
    longest = max(1, int(len(images) * STRETCH))
    for sequence, frames in sequences.items():
        for place, (_, index) in enumerate(sorted(frames)):
            keys[index] = ("frames", *sequence, place // longest)
    return keys


def _follow_the_given(groups: list[_Group], splits: list[str | None]) -> None:
    for group in groups:
        given = {splits[i] for i in group.members} - {None}
        if given:
            # Of a picture that both trains and validates, a further copy can do no harm in training.
            one = given.pop() if len(given) == 1 else TRAIN
            for index in group.members:
                splits[index] = splits[index] or one


def _held_out(free: list[_Group], examples: Counter[int], wanted: int) -> list[_Group]:
    """Groups to hold out, about ``wanted`` images; ``examples`` counts what stays to train on."""
    chosen: list[_Group] = []
    taken = 0

    def take(group: _Group) -> None:
        nonlocal taken
        chosen.append(group)
        taken += len(group.members)
        examples.subtract(group.labels)

    def fits(group: _Group) -> bool:
        room = wanted - taken
        small = len(group.members) <= room or (not chosen and len(group.members) <= max(2 * room, 1))
        return small and all(examples[label] > 1 for label in group.labels)

    missing = {label for label, count in examples.items() if count > 2}
    for label in sorted(missing, key=lambda label: (examples[label], label)):
        if label in missing and taken < wanted:
            group = next((g for g in free if g not in chosen and label in g.labels and fits(g)), None)
            if group is not None:
                take(group)
                missing -= group.labels
    for group in free:
        if taken >= wanted:
            break
        if group not in chosen and fits(group):
            take(group)
    if not chosen and wanted:
        # Only large groups are left: the smallest that training can spare.
        spare = [g for g in free if all(examples[label] > 1 for label in g.labels)]
        if spare and len(free) > 1:
            take(min(spare, key=lambda g: len(g.members)))
    return chosen


def _order(seed: int, image_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
