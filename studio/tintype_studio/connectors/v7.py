"""V7 Darwin.

    GET  /api/users/token_info                              the team of the key
    GET  /api/datasets                                      its datasets
    GET  /api/v2/teams/{team}/datasets/{slug}/exports       releases of a dataset
    POST /api/v2/teams/{team}/datasets/{slug}/exports       asks for a new one

A release is a ZIP of Darwin JSON 2.0, one file per item; the images are fetched from the addresses that these
tell. A new release is made for an import, and used again by the next one within ``REUSE``, which goes on with
what was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tintype_studio import clock
from tintype_studio.catalog.image_files import MAX_FILE_BYTES
from tintype_studio.connectors.protocol import (
    MAX_ARCHIVE_BYTES,
    Account,
    Connector,
    Fetching,
    RemoteDataset,
    segment,
    whole,
)
from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.formats.reading.darwin import DarwinReader
from tintype_studio.formats.reading.source import open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from tintype_studio.connectors.web import Web
    from tintype_studio.formats.reading.base import Reader
    from tintype_studio.formats.reading.source import Source

RELEASE_PREFIX = "tintype-"
FORMAT = "darwin_json_2"
REUSE = timedelta(hours=1)
STATUSES = ("new", "annotate", "review", "complete")
"""Of the items to export; V7 exports only complete ones unless it is told."""
FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 10.0
RELEASE_SECONDS = 2 * 3600.0


class V7(Connector):
    """V7 Darwin."""

    name: ClassVar[str] = "v7"
    title: ClassVar[str] = "V7"
    default_url: ClassVar[str] = "https://darwin.v7labs.com"

    @staticmethod
    def headers(key: str) -> Mapping[str, str]:
        """As V7 documents it."""
        return {"Authorization": f"ApiKey {key}"}

    def account(self) -> Account:
        """The team of the key and its datasets."""
        team = self.member(self._web.get("api/users/token_info"), "selected_team", dict)
        slug = self.member(team, "slug", str)
        listed = self.expect(self._web.get("api/datasets"), list)
        return Account(slug, tuple(self._dataset(entry) for entry in listed))

    def _dataset(self, entry: Any) -> RemoteDataset:
        name, slug = self.member(entry, "name", str), self.member(entry, "slug", str)
        count = entry.get("num_items")
        if count is None:
            count = whole(entry.get("num_images")) + whole(entry.get("num_videos"))
        return RemoteDataset(str(self.expect(entry.get("id"), int)), name, slug, whole(count))

    def fetch(self, account: Account, found: RemoteDataset, version: int | None, job: Fetching) -> Reader:
        """Make a release, wait for it and open it. Datasets of V7 have no versions."""
        path = f"api/v2/teams/{segment(account.workspace)}/datasets/{segment(found.slug)}/exports"
        url = self._release(path, job)
        self._web.archive(url, job.target, MAX_ARCHIVE_BYTES, lambda _size: None)
        source = open_source(job.target)
        try:
            return V7Reader(source, self._web)
        except BaseException:
            source.close()
            raise

    def _release(self, path: str, job: Fetching) -> str:
        """Where a whole release can be downloaded."""
        release = self._newest(path)
        if release is None:
            name = f"{RELEASE_PREFIX}{clock.now():%Y%m%d-%H%M%S}"
            self._create(path, name)
        else:
            name = self.member(release, "name", str)
        pause, waited = FIRST_POLL_SECONDS, 0.0
        while waited < RELEASE_SECONDS:
            release = next((r for r in self._releases(path) if r.get("name") == name), None)
            status = release.get("status") if release is not None else "pending"
            if release is not None and status == "complete" and release.get("download_url"):
                return str(self.member(release, "download_url", str))
            if status == "failed":
                break
            job.progress("V7 prepares the release")
            job.pause(pause)
            waited += pause
            pause = min(2 * pause, LONGEST_POLL_SECONDS)
        raise Unavailable(
            "V7 did not make a release of the dataset.",
            code="connector_export_failed",
            fix="Make a release of it in V7 to see what is wrong, then import again.",
            retryable=False,
        )

    def _create(self, path: str, name: str) -> None:
        body: dict[str, Any] = {
            "name": name,
            "format": FORMAT,
            "include_authorship": False,
            "include_export_token": False,
            "annotation_filters": {},
        }
        try:
            self._web.post(path, {**body, "filters": {"statuses": list(STATUSES)}})
        except InvalidInput as error:
            if error.code != "connector_refused":
                raise
            # An older V7 that does not know the filter exports the complete items.
            self._web.post(path, body)

    def _newest(self, path: str) -> dict[str, Any] | None:
        """The newest release of ours that is new enough to go on with."""
        mine = [
            (at, release)
            for release in self._releases(path)
            if str(release.get("name")).startswith(RELEASE_PREFIX)
            and release.get("format") == FORMAT
            and release.get("status") != "failed"
            and (at := _time(release.get("inserted_at"))) is not None
            and clock.now() - at < REUSE
        ]
        return max(mine, key=lambda pair: pair[0])[1] if mine else None

    def _releases(self, path: str) -> list[dict[str, Any]]:
        return [self.expect(release, dict) for release in self.expect(self._web.get(path), list)]


class V7Reader(DarwinReader):
    """A release; each image is fetched when it is asked for."""

    def __init__(self, source: Source, web: Web) -> None:
        self._web = web
        files = [path for path in source.paths if path.endswith(".json") and not path.startswith(".v7/")]
        super().__init__(source, files)

    def _fetched(self, item: Mapping[str, Any]) -> Callable[[], bytes] | None:
        slots = item.get("slots") or [{}]
        files = slots[0].get("source_files") or []
        first = files[0] if isinstance(files, list) and files and isinstance(files[0], dict) else {}
        url = first.get("url")
        return partial(self._image, url) if isinstance(url, str) and url else None

    def _image(self, url: str) -> bytes:
        try:
            return self._web.image(url, MAX_FILE_BYTES)
        except InvalidInput as error:
            if error.code != "connector_key_refused":
                raise
            # The key has just been used: it is this one image that it may not read.
            raise InvalidInput(
                "V7 does not let this key read the image.",
                code="image_refused",
                fix="Check the image's storage in V7, then import again.",
            ) from None


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=clock.now().tzinfo)
