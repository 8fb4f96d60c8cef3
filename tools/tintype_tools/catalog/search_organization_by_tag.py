"""Find images of all datasets by tags."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_studio.search.tag_search import Wanted
from tintype_tools.call import Call, Output
from tintype_tools.found_images import ContactSheet, FoundImage, numbered, sheet
from tintype_tools.spec import Args, Category, Effect, ToolSpec
from tintype_tools.tag_search import Attributes, Limit, Objects, Offset, Scenes, TaggedImages, note_on


class SearchOrganizationByTagArgs(Args):
    """Which tags: one of each list must fit, and every list given."""

    objects: Objects = None
    scenes: Scenes = None
    attributes: Attributes = None
    limit: Limit = 50
    offset: Offset = 0
    contact_sheet: ContactSheet = False


def handle(args: SearchOrganizationByTagArgs, call: Call) -> Output:
    """Search."""
    wanted = Wanted(args.objects, args.scenes, args.attributes)
    found = call.studio.search.by_tags(
        call.principal, None, wanted, limit=args.limit, offset=args.offset, check=call.check
    )
    value = TaggedImages(
        images=[FoundImage.of(hit, with_dataset=True) for hit in found.hits],
        count=len(found.hits),
        total=found.total or 0,
        not_indexed=found.not_indexed or None,
        note=note_on(wanted, found.not_indexed, call),
    )
    return Output(value, sheet(numbered(found), call) if args.contact_sheet else ())


TOOL = ToolSpec(
    name="search_organization_by_tag",
    title="Search all datasets by tag",
    category=Category.SEARCH,
    toolset="search",
    core=False,
    description=(
        "Use when you do not know which dataset has the images that show something or look a certain way: as "
        "search_by_tag, in all datasets of the organization; each image tells its dataset."
    ),
    args=SearchOrganizationByTagArgs,
    result=TaggedImages,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
