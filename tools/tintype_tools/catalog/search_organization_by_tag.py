"""Find images of all datasets by tags."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Output
from tintype_tools.found_images import ContactSheet
from tintype_tools.spec import Args, Category, Effect, ToolSpec
from tintype_tools.tag_search import Attributes, Limit, Objects, Offset, Scenes, TaggedImages, search


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
    return search(args, None, call)


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
