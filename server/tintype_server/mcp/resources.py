"""What the workspace holds as MCP resources. Reading one is a tool call, with all its guards and its audit.

A list is made of up to three such calls, each left out when its tool is not open to the caller.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import mcp.types as t
import orjson

from tintype_server.mcp.reads import Reader
from tintype_studio.errors import Forbidden, InvalidInput, NotFound
from tintype_studio.names import printable
from tintype_tools.call import Outcome

SCHEME = "tintype://"
JSON = "application/json"
PREVIEW_SIDE = 1024
"""Longest side of a picture that is read as a resource, in pixels."""
LOG_LINES = 500
LOG_FAILURES = 100
DATASETS_A_PAGE, MODELS_A_PAGE, JOBS_A_PAGE = 100, 50, 20
MAX_URI = 2000


@dataclass(frozen=True)
class Address:
    """A template of addresses, and the tool call that reads what is at one."""

    template: str
    name: str
    title: str
    description: str
    mime_type: str
    tool: str
    arguments: Callable[[dict[str, str]], dict[str, Any]]

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names in the template, in order."""
        return tuple(re.findall(r"\{(\w+)\}", self.template))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches an address of this template."""
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/?#]+)", re.escape(self.template)))


ADDRESSES = (
    Address(
        SCHEME + "datasets/{dataset_name}",
        "dataset",
        "Dataset",
        "A dataset's counts, classes and settings.",
        JSON,
        "get_dataset",
        lambda v: {"name": v["dataset_name"]},
    ),
    Address(
        SCHEME + "datasets/{dataset_name}/images",
        "dataset_images",
        "Images of a dataset",
        "A dataset with ids, file names, sizes and statuses of its images.",
        JSON,
        "get_dataset",
        lambda v: {"name": v["dataset_name"], "include_images": True},
    ),
    Address(
        SCHEME + "images/{image_id}",
        "image",
        "Image",
        f"The picture with its annotations drawn, at most {PREVIEW_SIDE} pixels a side, and its scale.",
        "image/jpeg",
        "preview_image",
        lambda v: {"image_uuid": v["image_id"], "max_side": PREVIEW_SIDE},
    ),
    Address(
        SCHEME + "images/{image_id}/annotations",
        "annotations",
        "Annotations of an image",
        "An image's annotations as data, in pixels of the upright image.",
        JSON,
        "get_annotations",
        lambda v: {"image_uuid": v["image_id"]},
    ),
    Address(
        SCHEME + "models/{model_id}",
        "model_card",
        "Model card",
        "How a model was trained, on what, and how well it finds each class.",
        JSON,
        "get_model",
        lambda v: {"model_id": v["model_id"]},
    ),
    Address(
        SCHEME + "jobs/{job_id}/log",
        "job_log",
        "Job log",
        "A job's status, the end of its log and its failed items.",
        JSON,
        "get_job",
        lambda v: {"job_id": v["job_id"], "log_lines": LOG_LINES, "failures": LOG_FAILURES},
    ),
)
_BY_NAME = {address.name: address for address in ADDRESSES}


def address_of(name: str, **values: str) -> str:
    """The address of one thing."""
    return _BY_NAME[name].template.format(**{k: quote(v, safe="") for k, v in values.items()})


def templates(reader: Reader) -> list[t.ResourceTemplate]:
    """Templates whose tool the caller may call."""
    return [
        t.ResourceTemplate(
            uri_template=address.template,
            name=address.name,
            title=address.title,
            description=address.description,
            # What a picture comes as depends on the picture.
            mime_type=None if address.mime_type.startswith("image/") else address.mime_type,
        )
        for address in ADDRESSES
        if reader.may_call(address.tool)
    ]


async def read(reader: Reader, uri: str) -> t.ReadResourceResult:
    """What is at an address. Raises ``TintypeError``: other organizations' things are not found."""
    address, values = _find(uri)
    outcome = await reader.call(address.tool, **address.arguments(values))
    return t.ReadResourceResult(contents=_contents(uri, outcome))


def _find(uri: str) -> tuple[Address, dict[str, str]]:
    if len(uri) <= MAX_URI:
        for address in ADDRESSES:
            found = address.pattern.fullmatch(uri)
            if found is not None:
                return address, {k: unquote(v, errors="replace") for k, v in found.groupdict().items()}
    raise NotFound(
        f"There is no resource {printable(uri[:200])!r}.",
        code="resource_not_found",
        fix="List the resource templates for the addresses there are.",
    )


def _contents(uri: str, outcome: Outcome) -> list[t.TextResourceContents | t.BlobResourceContents]:
    """The pictures, if any, then the value."""
    contents: list[t.TextResourceContents | t.BlobResourceContents] = [
        t.BlobResourceContents(
            uri=uri, mime_type=picture.mime_type, blob=base64.b64encode(picture.data).decode()
        )
        for picture in outcome.pictures
    ]
    contents.append(
        t.TextResourceContents(uri=uri, mime_type=JSON, text=orjson.dumps(outcome.value).decode())
    )
    return contents


class _Section(NamedTuple):
    """One kind of thing in the list."""

    tool: str
    field: str
    page: int
    entry: Callable[[dict[str, Any]], t.Resource]


def _dataset(found: dict[str, Any]) -> t.Resource:
    return t.Resource(
        uri=address_of("dataset", dataset_name=found["name"]),
        name=found["name"],
        title=f"Dataset {found['name']}",
        description=f"{found['image_count']} images, {found['annotation_count']} annotations.",
        mime_type=JSON,
    )


def _model(found: dict[str, Any]) -> t.Resource:
    return t.Resource(
        uri=address_of("model_card", model_id=found["id"]),
        name=found["name"],
        title=f"Model {found['name']}",
        description=f"Model card; {found['status']}.",
        mime_type=JSON,
    )


def _job(found: dict[str, Any]) -> t.Resource:
    return t.Resource(
        uri=address_of("job_log", job_id=found["job_id"]),
        name=f"{found['kind']} {found['job_id'][:8]}",
        title=f"Log of job {found['job_id'][:8]}",
        description=f"{found['kind']}; {found['status']}.",
        mime_type=JSON,
    )


SECTIONS = (
    _Section("list_datasets", "datasets", DATASETS_A_PAGE, _dataset),
    _Section("list_models", "models", MODELS_A_PAGE, _model),
    _Section("list_jobs", "jobs", JOBS_A_PAGE, _job),
)


async def listed(reader: Reader, cursor: str | None) -> t.ListResourcesResult:
    """A page: the newest of each kind, then what is older. Raises ``TintypeError``."""
    places = _places(cursor)
    resources: list[t.Resource] = []
    following: list[int | str | None] = []
    asked = False
    for section, place in zip(SECTIONS, places, strict=True):
        if place is None or not reader.may_call(section.tool):
            following.append(None)
            continue
        where = {"before": place} if isinstance(place, str) else {"offset": place} if place else {}
        try:
            outcome = await reader.call(section.tool, again=asked, limit=section.page, **where)
        except Forbidden:  # the key was narrowed meanwhile
            following.append(None)
            continue
        asked = True
        found: list[dict[str, Any]] = outcome.value.get(section.field, [])
        resources += [section.entry(each) for each in found]
        following.append(_next(section, place, found, cut="_truncated" in outcome.value))
    rest = any(place is not None for place in following)
    return t.ListResourcesResult(resources=resources, next_cursor=_cursor(following) if rest else None)


def _next(section: _Section, place: int | str, found: list[dict[str, Any]], *, cut: bool) -> int | str | None:
    """Where the next page of a section begins. The response cap may have cut this one short."""
    if not found or (len(found) < section.page and not cut):
        return None
    if section.field == "jobs":
        return str(found[-1]["job_id"])
    return (place if isinstance(place, int) else 0) + len(found)


def _cursor(places: list[int | str | None]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(places)).decode()


def _places(cursor: str | None) -> list[int | str | None]:
    if cursor is None:
        return [0] * len(SECTIONS)
    try:
        places = orjson.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except ValueError:
        places = None
    if (
        not isinstance(places, list)
        or len(places) != len(SECTIONS)
        or not all(_is_place(section, place) for section, place in zip(SECTIONS, places, strict=True))
    ):
        raise InvalidInput(
            "Invalid cursor.", code="invalid_cursor", fix="List from the start, without a cursor."
        )
    return places


def _is_place(section: _Section, place: Any) -> bool:
    if isinstance(place, str):
        return section.field == "jobs" and len(place) <= 80
    most = 0 if section.field == "jobs" else 1_000_000
    return place is None or (type(place) is int and 0 <= place <= most)
