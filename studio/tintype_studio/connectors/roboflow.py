"""Roboflow.

    GET /                                         the workspace of the key
    GET /{workspace}                              its projects
    GET /{workspace}/{project}                    a project and its versions
    GET /{workspace}/{project}/{version}          whether the version is made yet
    GET /{workspace}/{project}/{version}/coco     where the export is; 202 while it is being made

An export is a ZIP of COCO files with their images, a folder for each split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tintype_studio.connectors.protocol import (
    MAX_ARCHIVE_BYTES,
    Account,
    Connector,
    Fetching,
    RemoteDataset,
    segment,
    whole,
)
from tintype_studio.errors import NotFound, Unavailable
from tintype_studio.formats.reading.coco import CocoReader
from tintype_studio.formats.reading.source import open_source

if TYPE_CHECKING:
    from tintype_studio.formats.reading.base import Reader
    from tintype_studio.formats.reading.source import Source

FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 10.0
EXPORT_SECONDS = 2 * 3600.0
TOLD_BYTES = 16 << 20
VERSION_DIGITS = 9

T = TypeVar("T")


class Roboflow(Connector):
    """Roboflow."""

    name: ClassVar[str] = "roboflow"
    title: ClassVar[str] = "Roboflow"
    default_url: ClassVar[str] = "https://api.roboflow.com"

    @staticmethod
    def headers(key: str) -> Mapping[str, str]:
        """In the header, as Roboflow advises: an address would stand in logs."""
        return {"Authorization": f"Bearer {key}"}

    def account(self) -> Account:
        """The workspace of the key and its projects."""
        workspace = self.member(self._web.get(""), "workspace", str)
        answer = self._web.get(segment(workspace))
        listed = self.member(self.member(answer, "workspace", dict), "projects", list)
        return Account(workspace, tuple(self._project(entry) for entry in listed))

    def _project(self, entry: Any) -> RemoteDataset:
        id, name = self.member(entry, "id", str), self.member(entry, "name", str)
        return RemoteDataset(id, name, id.rpartition("/")[2], whole(entry.get("images")))

    def fetch(self, account: Account, found: RemoteDataset, version: int | None, job: Fetching) -> Reader:
        """Have the version exported as COCO, download it and open it."""
        project = f"{segment(account.workspace)}/{segment(found.slug)}"
        if version is None:
            version = self._newest(project)
        link = self._link(f"{project}/{version}", job)
        told = 0

        def progress(size: int) -> None:
            nonlocal told
            if size - told >= TOLD_BYTES:
                told = size
                job.progress(f"{size >> 20:,} MiB downloaded")

        self._web.archive(link, job.target, MAX_ARCHIVE_BYTES, progress)
        source = open_source(job.target)
        try:
            return RoboflowReader(source)
        except BaseException:
            source.close()
            raise

    def _newest(self, project: str) -> int:
        answer = self._web.get(project)
        versions = self.member(answer, "versions", list)
        numbers = [str(self.member(entry, "id", str)).rpartition("/")[2] for entry in versions]
        found = [
            int(number)
            for number in numbers
            if number.isascii() and number.isdigit() and len(number) <= VERSION_DIGITS
        ]
        if not found:
            raise NotFound(
                "The Roboflow project has no version yet.",
                code="connector_no_version",
                fix="Generate a version of it in Roboflow, then import again.",
            )
        return max(found)

    def _link(self, path: str, job: Fetching) -> str:
        """Where the export of a version can be downloaded, once both are made."""

        def generated() -> bool:
            version = self.member(self._web.get(path, nocache="true"), "version", dict)
            return not version.get("generating")

        def exported() -> str | None:
            status, answer = self._web.get_with_status(f"{path}/coco", nocache="true")
            if status == 202 or self.expect(answer, dict).get("ready") is False:
                return None
            return str(self.member(self.member(answer, "export", dict), "link", str))

        try:
            _until(generated, job, "Roboflow generates the version")
        except NotFound:
            raise NotFound(
                f"The Roboflow project has no version {path.rpartition('/')[2]}.",
                code="connector_no_version",
                fix="Send a version that it has, or none for the newest.",
            ) from None
        return _until(exported, job, "Roboflow prepares the export")


def _until(ask: Callable[[], T | None], job: Fetching, message: str) -> T:
    """What ``ask`` gives, once it gives something; asked less and less often."""
    pause, waited = FIRST_POLL_SECONDS, 0.0
    while waited < EXPORT_SECONDS:
        if found := ask():
            return found
        job.progress(message)
        job.pause(pause)
        waited += pause
        pause = min(2 * pause, LONGEST_POLL_SECONDS)
    raise Unavailable(
        "Roboflow did not export the version.",
        code="connector_export_failed",
        fix="Export it as COCO in Roboflow to see what is wrong, then import again.",
        retryable=False,
    )


class RoboflowReader(CocoReader):
    """An export. Its category 0 is the name of the whole project, which no annotation has."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, [path for path in source.paths if path.endswith(".json")])
        groups = {file.categories[0].name for file in self._files if 0 in file.categories}
        used = {
            file.categories[number].name
            for file in self._files
            for number in file.categories
            if number != 0 or any(e.get("category_id") == 0 for es in file.annotations.values() for e in es)
        }
        self.classes = [known for known in self.classes if known.name not in groups - used]
