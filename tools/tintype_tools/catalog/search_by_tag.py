"""Find images by tags."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_studio.search.tag_search import Wanted
from tintype_tools.call import Call, Output
from tintype_tools.found_images import ContactSheet, FoundImage, numbered, sheet
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, ToolSpec
from tintype_tools.tag_search import Attributes, Limit, Objects, Offset, Scenes, TaggedImages, note_on


class SearchByTagArgs(Args):
    """Which tags: one of each list must fit, and every list given."""

    dataset_name: DatasetName
    objects: Objects = None
    scenes: Scenes = None
    attributes: Attributes = None
    limit: Limit = 50
    offset: Offset = 0
    contact_sheet: ContactSheet = False


def handle(args: SearchByTagArgs, call: Call) -> Output:
    """Search."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    wanted = Wanted(args.objects, args.scenes, args.attributes)
    found = call.studio.search.by_tags(
        call.principal, dataset, wanted, limit=args.limit, offset=args.offset, check=call.check
    )
    value = TaggedImages(
        images=[FoundImage.of(hit, with_project=True) for hit in found.hits],
        count=len(found.hits),
        total=found.total or 0,
        not_indexed=found.not_indexed or None,
        note=note_on(wanted, found.not_indexed, call),
    )
    return Output(value, sheet(numbered(found), call) if args.contact_sheet else ())


TOOL = ToolSpec(
    name="search_by_tag",
    title="Search by tag",
    category=Category.SEARCH,
    toolset="search",
    description=(
        "Use when you want the images of a dataset that show something or look a certain way: objects are "
        "class names of annotations, attributes come from the picture. Any tag of a list, every list given."
    ),
    args=SearchByTagArgs,
    result=TaggedImages,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
