"""Two states of a dataset side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tintype_studio.versions.manifest import Manifest, SampleRow

BATCH = 500
"""Samples whose documents are compared at a time."""
NAMED = 100
"""Samples that a difference names of each sort."""

_PLACE = (SampleRow._fields.index("folder"), SampleRow._fields.index("filename"))
_FACTS = slice(SampleRow._fields.index("filename"), SampleRow._fields.index("files"))


class Pair(NamedTuple):
    """A sample as it is in two states; None where it is not."""

    old: SampleRow | None
    new: SampleRow | None

    @property
    def facts(self) -> bool:
        """Whether its name, folder, status, group and the like differ."""
        return self.old is None or self.new is None or self.old[_FACTS] != self.new[_FACTS]

    @property
    def moved(self) -> bool:
        """Whether it has another place."""
        return (
            self.old is not None and self.new is not None and any(self.old[i] != self.new[i] for i in _PLACE)
        )

    @property
    def files(self) -> bool:
        """Whether its files differ."""
        return self.old is not None and self.new is not None and self.old.files != self.new.files

    @property
    def annotations(self) -> bool:
        """Whether it has other revisions, of whatever text."""
        return self.old is not None and self.new is not None and self.old.revisions != self.new.revisions


def pairs(old: Manifest, new: Manifest) -> Iterator[Pair]:
    """Samples that are not the same in two states, by id; equal blocks are not even read.

    A row id that another sample has now counts as one that went and one that came.
    """
    a, b = 0, 0
    while a < len(old.blocks) or b < len(new.blocks):
        left = old.blocks[a] if a < len(old.blocks) else None
        right = new.blocks[b] if b < len(new.blocks) else None
        if right is None or (left is not None and left.number < right.number):
            yield from (Pair(row, None) for row in old.rows(a))
            a += 1
        elif left is None or right.number < left.number:
            yield from (Pair(None, row) for row in new.rows(b))
            b += 1
        else:
            if left.digest != right.digest:
                yield from _of_block(old.rows(a), new.rows(b))
            a, b = a + 1, b + 1


def _of_block(old: Any, new: Any) -> Iterator[Pair]:
    before = {row.id: row for row in old}
    after = {row.id: row for row in new}
    for row_id in sorted(before.keys() | after.keys()):
        left, right = before.get(row_id), after.get(row_id)
        if left == right:
            continue
        if left is not None and right is not None and left.uuid != right.uuid:
            yield Pair(left, None)
            yield Pair(None, right)
        else:
            yield Pair(left, right)


@dataclass(slots=True)
class Difference:
    """What is other in a new state than in an old one. Names of samples are ``folder/filename``, at most
    ``NAMED`` of each sort; the counts are whole.
    """

    samples_added: int = 0
    samples_removed: int = 0
    samples_updated: int = 0
    """Name, folder, status, group, sequence, frame or metadata."""
    annotations_changed: int = 0
    """Samples whose annotations were saved in between, in whatever set."""
    files_changed: int = 0
    """Samples whose files are others."""
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    annotated: list[str] = field(default_factory=list)
    labels_added: list[str] = field(default_factory=list)
    labels_removed: list[str] = field(default_factory=list)
    labels_changed: list[str] = field(default_factory=list)
    """Same name, other index, type, colour, attributes or place in the list."""
    sets_added: list[str] = field(default_factory=list)
    sets_removed: list[str] = field(default_factory=list)
    groups_added: list[str] = field(default_factory=list)
    groups_removed: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether the two are the same."""
        return self == Difference()


def difference(
    old: Manifest, new: Manifest, rewritten: Callable[[Sequence[Pair]], set[int]] | None = None
) -> Difference:
    """Count and name what differs.

    ``rewritten`` tells of samples with other revisions which have other annotations: a document may be saved
    again as it was.
    """
    found = _of_heads(old.head, new.head)
    saved: list[Pair] = []

    def look_into() -> None:
        others = {pair.new.id for pair in saved if pair.new} if rewritten is None else rewritten(saved)
        for pair in saved:
            if pair.new is not None and pair.new.id in others:
                found.annotations_changed += 1
                _name(found.annotated, pair.new)
        saved.clear()

    for pair in pairs(old, new):
        if pair.old is None and pair.new is not None:
            found.samples_added += 1
            _name(found.added, pair.new)
        elif pair.new is None and pair.old is not None:
            found.samples_removed += 1
            _name(found.removed, pair.old)
        elif pair.new is not None:
            if pair.facts:
                found.samples_updated += 1
                _name(found.updated, pair.new)
            if pair.annotations:
                saved.append(pair)
            found.files_changed += pair.files
        if len(saved) >= BATCH:
            look_into()
    look_into()
    return found


def name_of(row: SampleRow) -> str:
    """A sample's folder and file name."""
    return f"{row.folder.rstrip('/')}/{row.filename}"


def _name(names: list[str], row: SampleRow) -> None:
    if len(names) < NAMED:
        names.append(name_of(row))


def _of_heads(old: dict[str, Any], new: dict[str, Any]) -> Difference:
    classes = [{c["name"]: (place, c) for place, c in enumerate(head["classes"])} for head in (old, new)]
    sets = [[each[2] for each in head["sets"]] for head in (old, new)]
    return Difference(
        labels_added=[n for n in classes[1] if n not in classes[0]],
        labels_removed=[n for n in classes[0] if n not in classes[1]],
        labels_changed=[n for n, c in classes[1].items() if n in classes[0] and classes[0][n] != c],
        sets_added=[n for n in sets[1] if n not in sets[0]],
        sets_removed=[n for n in sets[0] if n not in sets[1]],
        groups_added=[n for n in new["groups"] if n not in old["groups"]],
        groups_removed=[n for n in old["groups"] if n not in new["groups"]],
    )
