"""What the tools share that find images by tags: the tags, and the answer."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.search.tag_search import Wanted
from tintype_studio.vision.tags import ATTRIBUTES, known_attribute
from tintype_tools.call import Call, Output
from tintype_tools.found_images import FoundImage, not_indexed_note, numbered, sheet
from tintype_tools.spec import Result

MAX_TAGS = 100

Objects = Annotated[list[str] | None, Field(max_length=MAX_TAGS, description="Class names of annotations.")]
Scenes = Annotated[
    list[str] | None, Field(max_length=MAX_TAGS, description="Scenes; need an engine with weights.")
]
Attributes = Annotated[
    list[str] | None, Field(max_length=MAX_TAGS, description=f"Of {', '.join(ATTRIBUTES)}.")
]
Limit = Annotated[int, Field(ge=1, le=500, description="Most images to list.")]
Offset = Annotated[int, Field(ge=0, le=10**12, description="Skip so many.")]


class TaggedImages(Result):
    """A page of images in upload order; ``total`` fit."""

    images: list[FoundImage]
    count: int
    total: int
    not_indexed: int | None = None
    note: str | None = None


class Asked(Protocol):
    """The arguments that such tools have in common."""

    objects: list[str] | None
    scenes: list[str] | None
    attributes: list[str] | None
    limit: int
    offset: int
    contact_sheet: bool


def search(args: Asked, dataset: Dataset | None, call: Call) -> Output:
    """Search one dataset, or all of the organization; then each image tells its dataset."""
    wanted = Wanted(args.objects, args.scenes, args.attributes)
    found = call.studio.search.by_tags(
        call.principal, dataset, wanted, limit=args.limit, offset=args.offset, check=call.check
    )
    everywhere = dataset is None
    value = TaggedImages(
        images=[
            FoundImage.of(hit, with_dataset=everywhere, with_project=not everywhere) for hit in found.hits
        ],
        count=len(found.hits),
        total=found.total or 0,
        not_indexed=found.not_indexed or None,
        note=_note_on(wanted, found.not_indexed, call),
    )
    return Output(value, sheet(numbered(found), call) if args.contact_sheet else ())


def _note_on(wanted: Wanted, not_indexed: int, call: Call) -> str | None:
    """What there is to say about tags that no image can have, and about images that may be missing."""
    notes = []
    if wanted.scenes and (about := call.studio.search.about_scenes(wanted.scenes)):
        notes.append(about)
    unknown = [a for a in wanted.attributes or () if known_attribute(a) not in ATTRIBUTES]
    if unknown:
        notes.append(f"No image gets these attributes: {', '.join(map(repr, unknown))[:200]}.")
    if waiting := not_indexed_note(not_indexed):
        notes.append(waiting)
    return " ".join(notes) or None
