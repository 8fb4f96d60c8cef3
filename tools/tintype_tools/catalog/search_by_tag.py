"""Find images by tags."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.search.tag_search import Wanted
from tintype_studio.vision.tags import ATTRIBUTES, known_attribute
from tintype_tools.call import Call, Output
from tintype_tools.found_images import ContactSheet, FoundImage, not_indexed_note, numbered, sheet
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MAX_TAGS = 100


class SearchByTagArgs(Args):
    """Which tags: one of each list must fit, and every list given."""

    dataset_name: DatasetName
    objects: Annotated[
        list[str] | None, Field(max_length=MAX_TAGS, description="Class names of annotations.")
    ] = None
    scenes: Annotated[
        list[str] | None, Field(max_length=MAX_TAGS, description="Scenes; need an engine with weights.")
    ] = None
    attributes: Annotated[
        list[str] | None, Field(max_length=MAX_TAGS, description=f"Of {', '.join(ATTRIBUTES)}.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=500, description="Most images to list.")] = 50
    offset: Annotated[int, Field(ge=0, description="Images to skip.")] = 0
    contact_sheet: ContactSheet = False


class SearchByTagResult(Result):
    """A page of images in upload order; ``total`` fit."""

    images: list[FoundImage]
    count: int
    total: int
    not_indexed: int | None = None
    note: str | None = None


def handle(args: SearchByTagArgs, call: Call) -> Output:
    """Search."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    found = call.studio.search.by_tags(
        call.principal,
        dataset,
        Wanted(args.objects, args.scenes, args.attributes),
        limit=args.limit,
        offset=args.offset,
        check=call.check,
    )
    value = SearchByTagResult(
        images=[FoundImage.of(hit, with_project=True) for hit in found.hits],
        count=len(found.hits),
        total=found.total or 0,
        not_indexed=found.not_indexed or None,
        note=_note(args, found.not_indexed, call),
    )
    return Output(value, sheet(numbered(found), call) if args.contact_sheet else ())


def _note(args: SearchByTagArgs, not_indexed: int, call: Call) -> str | None:
    notes = []
    if args.scenes and (about := call.studio.search.about_scenes(args.scenes)):
        notes.append(about)
    unknown = [a for a in args.attributes or () if known_attribute(a) not in ATTRIBUTES]
    if unknown:
        notes.append(f"No image gets these attributes: {', '.join(map(repr, unknown))[:200]}.")
    if waiting := not_indexed_note(not_indexed):
        notes.append(waiting)
    return " ".join(notes) or None


TOOL = ToolSpec(
    name="search_by_tag",
    title="Search by tag",
    category=Category.SEARCH,
    toolset="search",
    description=(
        "Use when you want the images of a dataset that show something or look a certain way: objects are "
        "class names of annotations, attributes come from the picture itself (blurry is a guess with a "
        "confidence). Lists are combined: any tag of a list, every list given."
    ),
    args=SearchByTagArgs,
    result=SearchByTagResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
