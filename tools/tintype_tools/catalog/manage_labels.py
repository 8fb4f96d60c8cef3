"""Add, rename, renumber and remove labels of a dataset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.labels import LabelChange, NewLabel
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import Color, LabelIndex, LabelName, LabelShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MOST = 10_000
"""Labels of one call."""


class NewLabelArgs(Args):
    """A label to add; one that is there already is left alone."""

    name: LabelName
    index: LabelIndex = None
    color: Color = None


class LabelChangeArgs(Args):
    """What a label is to be; what is left out stays."""

    name: LabelName
    new_name: Annotated[
        str | None,
        Field(min_length=1, max_length=120, description="Also in all saved annotations."),
    ] = None
    index: LabelIndex = None
    color: Color = None


class ManageLabelsArgs(Args):
    """What is to change."""

    dataset_name: DatasetName
    add: Annotated[list[NewLabelArgs], Field(max_length=MOST, description="Without an index: the next.")] = []
    update: Annotated[list[LabelChangeArgs], Field(max_length=MOST, description="All at once.")] = []
    remove: Annotated[
        list[LabelName], Field(max_length=MOST, description="Labels that no annotation uses.")
    ] = []
    allow_shared_index: Annotated[
        bool, Field(description="Two labels may share an index, as between the calls of a swap.")
    ] = False


class ManageLabelsResult(Result):
    """How many labels changed, and those that were added or updated as they are now, by index."""

    changed: int
    labels: list[LabelShape]


def handle(args: ManageLabelsArgs, call: Call) -> ManageLabelsResult:
    """Change."""
    if not (args.add or args.update or args.remove):
        raise InvalidInput(
            "The call changes nothing.",
            code="nothing_to_change",
            fix="Send add, update or remove; list_labels shows what is there.",
        )
    labels = call.studio.labels
    changed = labels.change(
        call.principal,
        args.dataset_name,
        add=[NewLabel(each.name, each.index, each.color) for each in args.add],
        update=[LabelChange(u.name, u.new_name, u.index, u.color) for u in args.update],
        remove=args.remove,
        shared_index=args.allow_shared_index,
        check=call.check,
    )
    named = [*(new.name for new in args.add), *(_after(update) for update in args.update)]
    listed = labels.list(call.principal, args.dataset_name, names=named)
    return ManageLabelsResult(changed=changed, labels=[LabelShape.of(label) for label in listed])


def _after(update: LabelChangeArgs) -> str:
    return update.name if update.new_name is None else update.new_name


TOOL = ToolSpec(
    name="manage_labels",
    title="Manage labels",
    category=Category.DATASETS,
    toolset="samples",
    core=False,
    description=(
        "Use when single labels of a dataset are to be added, renamed (in all annotations, too), numbered "
        "otherwise, swapped, coloured or removed, while the others stay as they are."
    ),
    args=ManageLabelsArgs,
    result=ManageLabelsResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)
