"""A sample on its way in: as it is told, and as it was read."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tintype_studio import clock
from tintype_studio.annotations.documents import as_text
from tintype_studio.annotations.geometry import Annotation, points_of, with_box
from tintype_studio.catalog.ingest import stored_name
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import InvalidInput, TintypeError
from tintype_studio.multisensor.file_types import IMAGE, file_type
from tintype_studio.multisensor.sample_meta import NOTHING, SampleMeta
from tintype_studio.multisensor.sizes import MAX_SIDE, Size, rescaled
from tintype_studio.multisensor.staging import Staged, clean_file_name, require_picture_name
from tintype_studio.names import clean_folder, clean_name, clean_text, printable

MOST_SHARES = 4
"""Of a side of a picture; what lies farther out was meant as pixels."""
MAX_FRAME = 2**31 - 1
MAX_ANNOTATIONS = 10_000
"""Of one sample."""


@dataclass(frozen=True, slots=True)
class NewSample:
    """What is known of a sample that comes in. None and empty mean unknown: they take nothing away."""

    image_name: str | None = None
    """Its file name; else that of its picture, or of another file, or its UUID."""
    uuid: str | None = None
    """None for a new one."""
    group: str | None = None
    sequence_name: str | None = None
    sequence_uuid: str | None = None
    sequence_description: str | None = None
    frame_number: int | None = None
    width: int | None = None
    """Pixels of the upright picture; what the picture itself tells counts more."""
    height: int | None = None
    meta: SampleMeta = NOTHING
    status: Status | None = None
    """None: ``complete`` with annotations, else ``new``."""
    annotations: Sequence[Annotation] = ()
    """In pixels of ``width`` x ``height``, or of a 1 x 1 picture where these are unknown."""
    label_indices: Mapping[str, int] = field(default_factory=dict)
    """What class names that the dataset does not have yet are to have as index."""
    files: Sequence[Staged] = ()
    """Files that are stored already."""
    expected: Mapping[str, str] = field(default_factory=dict)
    """Names of files that will come under links, by type."""
    display_name: str | None = None
    folder: str | None = None
    """Of a sample that is no frame; None: ``/``."""


@dataclass(frozen=True, slots=True)
class Populated:
    """What became of one ``NewSample``."""

    row_id: int
    id: str
    sent_uuid: str
    """The UUID as it was sent; another than ``id`` where that was taken, or the sample was known by place."""
    created: bool
    changed: bool
    """Whether anything of a sample that was there has changed."""
    expected: Mapping[str, str]
    """Types and names of the files that are to come."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A ``NewSample`` whose names and numbers are good."""

    new: NewSample
    uuid: str
    folder: str
    filename: str
    group: str | None
    sequence: str | None
    sequence_uuid: str | None
    files: Mapping[str, Staged]
    expected: Mapping[str, str]
    document: str
    """Its annotations as they are kept; empty for none."""
    classes: Counter[str]

    @property
    def size(self) -> Size:
        """Width and height: of the picture if that is there."""
        image = self.files.get(IMAGE)
        return (self.new.width, self.new.height) if image is None else (image.width, image.height)

    def document_in(self, size: Size) -> str:
        """Its annotations in a picture of another size than was told."""
        return rescaled(self.document, (self.new.width, self.new.height), size)

    @property
    def has_picture(self) -> bool:
        """Whether the picture is there, or will come."""
        return IMAGE in self.files or IMAGE in self.expected

    @property
    def place(self) -> tuple[str, str]:
        """Folder and file name."""
        return self.folder, self.filename


def read_arrivals(news: Sequence[NewSample]) -> list[Arrival]:
    """Check every sample by itself and beside the others; an ``InvalidInput`` says which one is wrong."""
    arrivals: list[Arrival] = []
    uuids: set[str] = set()
    places: set[tuple[str, str]] = set()
    for number, new in enumerate(news, 1):
        try:
            arrival = _read(new)
        except TintypeError as error:
            tell_which(error, number, new.image_name or new.uuid)
            raise
        if arrival.uuid in uuids or arrival.place in places:
            raise InvalidInput(
                f"Sample {number} is {arrival.filename!r} in {arrival.folder!r} once more.",
                code="duplicate_sample",
                fix="Send each sample once; give samples of other sequences their sequence_name.",
            )
        uuids.add(arrival.uuid)
        places.add(arrival.place)
        arrivals.append(arrival)
    return arrivals


def tell_which(error: TintypeError, number: int, name: str | None) -> None:
    """Have an error say which sample of a call it is about, counted from 1."""
    which = f"Sample {number}" + (f" ({printable(name[:80])!r})" if name else "")
    error.message = f"{which}: {error.message}"


def _read(new: NewSample) -> Arrival:
    sent = clock.new_id() if new.uuid is None else _uuid(new.uuid, "uuid")
    sequence = clean_name(new.sequence_name, "Sequence name") if new.sequence_name else None
    files: dict[str, Staged] = {}
    for staged in new.files:
        if files.setdefault(staged.file.type, staged) is not staged:
            raise _invalid(f"There are two files of type {staged.file.type}.", "Send one file of each type.")
    expected: dict[str, str] = {}
    for name, filename in new.expected.items():
        kind = file_type(name).name
        if kind in expected or kind in files:
            raise _invalid(f"There are two files of type {kind}.", "Send one file of each type.")
        expected[kind] = clean_file_name(filename)
    if IMAGE in expected:
        require_picture_name(expected[IMAGE])
    _require_numbers(new)
    document = [with_box(annotation) for annotation in new.annotations]
    if len({annotation.id for annotation in document}) < len(document):
        raise _invalid("An annotation id occurs twice.", "Give each annotation its own id.")
    return Arrival(
        new=new,
        uuid=sent,
        folder=f"/{sequence}" if sequence else clean_folder(new.folder or "/"),
        filename=_filename(new, sent, files, expected),
        group=clean_name(new.group, "Group") if new.group else None,
        sequence=sequence,
        sequence_uuid=_uuid(new.sequence_uuid, "sequence_uuid") if new.sequence_uuid else None,
        files=files,
        expected=expected,
        document=as_text(document) if document else "",
        classes=Counter(annotation.name for annotation in document),
    )


def _filename(new: NewSample, sent: str, files: Mapping[str, Staged], expected: Mapping[str, str]) -> str:
    names = {**expected, **{kind: staged.file.filename for kind, staged in files.items()}}
    name = new.image_name or names.get(IMAGE)
    if name is None and names:
        kind, filename = next(iter(names.items()))
        name = filename.removesuffix(file_type(kind).suffix)
        name = name.rpartition(".")[0] if name == filename and "." in name.strip(".") else name
    if name is None and new.sequence_name and new.frame_number is not None:
        name = f"{new.sequence_name}_{new.frame_number:03}"
    name = clean_name(name or sent, "Image name", max_length=255)
    return stored_name(name) if IMAGE in names else name


def _require_numbers(new: NewSample) -> None:
    if new.frame_number is not None and not 0 <= new.frame_number <= MAX_FRAME:
        raise _invalid(f"frame_number {new.frame_number} is not 0 to {MAX_FRAME}.", "Correct the number.")
    if (new.width is None) != (new.height is None):
        raise _invalid("Only one of width and height is given.", "Send both, or none of them.")
    for side in (new.width, new.height):
        require_side(side)
    if new.width is None and IMAGE not in {staged.file.type for staged in new.files}:
        _require_shares(new.annotations)
    if len(new.annotations) > MAX_ANNOTATIONS:
        raise _invalid(f"It has more than {MAX_ANNOTATIONS:,} annotations.", "Send fewer.")
    if new.display_name is not None:
        clean_text(new.display_name, "Display name", max_length=255)


def _require_shares(annotations: Iterable[Annotation]) -> None:
    """Coordinates in a picture whose size nobody knows are shares of it; some may lie beyond its border."""
    for annotation in annotations:
        if any(max(abs(point.x), abs(point.y)) > MOST_SHARES for point in points_of(annotation)):
            raise _invalid(
                f"Annotation {printable(annotation.id[:40])!r} has coordinates over {MOST_SHARES}, and the "
                "size of the picture is not told.",
                "Send width and height with coordinates in pixels, or coordinates from 0 to 1.",
            )


def require_side(side: int | None) -> None:
    """``InvalidInput`` for a width or height that no picture has."""
    if side is not None and not 1 <= side <= MAX_SIDE:
        raise _invalid(f"A side of {side} pixels is not 1 to {MAX_SIDE:,}.", "Correct width and height.")


def _uuid(text: str, what: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        shown = printable(text[:60])
        raise _invalid(f"{what} {shown!r} is no UUID.", "Send a UUID, or leave it out.") from None


def _invalid(message: str, fix: str) -> InvalidInput:
    return InvalidInput(message, code="invalid_sample", fix=fix)
