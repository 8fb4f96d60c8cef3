"""Find images by tags."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Output
from tintype_tools.found_images import ContactSheet
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, ToolSpec
from tintype_tools.tag_search import Attributes, Limit, Objects, Offset, Scenes, TaggedImages, search


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
    return search(args, call.studio.datasets.get(call.principal, args.dataset_name), call)


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
