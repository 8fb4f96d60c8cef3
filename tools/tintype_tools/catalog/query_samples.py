"""Find samples by conditions on what is known of them and marked in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.documents import set_row_id
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_studio.multisensor.query import QueryScope, condition_of, parse, text_of
from tintype_studio.multisensor.query.text import MAX_TEXT
from tintype_tools.call import Call, Output, Picture
from tintype_tools.sample_shapes import AnnotationSetName, SampleShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class QuerySamplesArgs(Args):
    """What is asked of which dataset."""

    dataset_name: DatasetName
    query: Annotated[
        str,
        Field(
            max_length=MAX_TEXT,
            description=(
                'Such as: group = "train" and count(label = "car") >= 2 and frame between 10 and 20. '
                "Of samples: filename, folder, group, sequence, frame, width, height, status, annotations, "
                "file, date, created, updated, degradation, source, latitude, longitude; "
                "near(lat, lon, 500 m); has(lidar.pcd). Of annotations: label, type, object_id, score, "
                "area (of the box), box_width, box_height, distance; any(label = car and score > 0.8), "
                "count(…) >= 2. Compare with = != < <= > >= ~ (pattern with *), in (…), between … and …, "
                "is known; join with and, "
                "or, not."
            ),
        ),
    ]
    annotation_set: AnnotationSetName = None
    limit: Annotated[int, Field(ge=0, le=100, description="0 counts only.")] = 20
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=40)] = None
    preview_grid: Annotated[
        bool, Field(description="Also return one picture of the first 30, numbered, with their annotations.")
    ] = False


class QuerySamplesResult(Result):
    """Samples in the order in which they came. ``query`` is what was understood; ``total`` counts all that
    match, on the first page.
    """

    query: str
    total: int | None = None
    samples: list[SampleShape]
    next_cursor: str | None = None


def handle(args: QuerySamplesArgs, call: Call) -> Output:
    """Look up."""
    studio = call.studio
    asked = parse(args.query)
    dataset = studio.datasets.get(call.principal, args.dataset_name)
    name = args.annotation_set or DEFAULT_SET
    with studio.database.read() as connection:
        set_id = set_row_id(connection, dataset.row_id, name)
    scope = QueryScope(set_id, name == DEFAULT_SET, studio.database.is_sqlite)
    where = [condition_of(asked, scope)]
    after = _after(args.cursor)
    found = QuerySamplesResult(query=text_of(asked), samples=[])
    if args.cursor is None:
        found.total = studio.multisensor.count(dataset, where=where)
    if args.limit == 0:
        return Output(found)
    page = studio.multisensor.page(
        dataset,
        annotation_set=set_id,
        with_annotations=args.preview_grid,
        where=where,
        after=after,
        limit=args.limit,
    )
    found.samples = [SampleShape.of(sample, call) for sample in page]
    found.next_cursor = f"s-{page[-1].row_id:x}" if len(page) == args.limit else None
    if not args.preview_grid or not page:
        return Output(found)
    from tintype_studio.multisensor.preview_grid import preview_grid

    classes = studio.classes.listed(dataset.row_id)
    sheet = preview_grid(page, classes, pictures=studio.samples, blobs=studio.blobs, check=call.check)
    return Output(found, pictures=() if sheet is None else (Picture(sheet[0], "image/jpeg", *sheet[1:]),))


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    digits = cursor.removeprefix("s-")
    try:
        if 0 < len(digits) <= 16:
            return min(int(digits, 16), 2**63 - 1)
    except ValueError:
        pass
    raise InvalidInput(
        "This cursor is not one of query_samples.",
        code="invalid_cursor",
        fix="Send next_cursor as it came, or leave it out for the first page.",
    )


TOOL = ToolSpec(
    name="query_samples",
    title="Query samples",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when the user wants the multi-sensor samples of a dataset that meet conditions: on sequence, "
        "frame, group, date, place, weather, files, or on what is marked in them (how many of a class, "
        "scores, object ids, sizes, distances). A small language of filters; the answer can include a "
        "numbered grid of pictures to look at. For tags alone use search_by_tag."
    ),
    args=QuerySamplesArgs,
    result=QuerySamplesResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
