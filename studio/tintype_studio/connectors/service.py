"""Validates keys, compares with the tier's limits, starts imports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.catalog.ingest import stored_in_all
from tintype_studio.connectors.protocol import Account, Connector, RemoteDataset, require_key
from tintype_studio.errors import Conflict, InvalidInput, NotFound, RateLimited
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.tiers import tier_of
from tintype_studio.names import FORBIDDEN_IN_NAMES, clean_name, printable
from tintype_studio.storage.job_tables import jobs

if TYPE_CHECKING:
    from tintype_studio.jobs.job import Job
    from tintype_studio.studio import Studio

PROVIDERS = ("v7", "roboflow")
KIND = "import_connector"
ARCHIVE_PREFIX = "import-"
MAX_DATASETS = 100
AT_A_TIME = 2
"""Imports of an organization; each is a process."""
ASKING_PAUSE_SECONDS = 3.0
"""A call waits no longer for a provider that is busy."""
ASKING_TRIES = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What an import would leave of the tier's limits. Sizes in bytes."""

    current_images: int
    image_limit: int
    images_after_import: int
    current_storage_bytes: int
    storage_limit_bytes: int
    storage_after_import_bytes: int

    @property
    def exceeded(self) -> str | None:
        """``images``, ``storage``, ``both``, or None when it fits."""
        images = self.images_after_import > self.image_limit
        storage = self.storage_after_import_bytes > self.storage_limit_bytes
        if images and storage:
            return "both"
        return "images" if images else "storage" if storage else None


class Connectors:
    """Datasets of other platforms."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._db = studio.database

    @contextmanager
    def open(
        self,
        provider: str,
        key: str,
        *,
        check: Callable[[], None] = lambda: None,
        pause: Callable[[float], None] | None = None,
    ) -> Iterator[Connector]:
        """A connector with a key. With ``pause`` it has the patience of a job, otherwise that of a call."""
        from tintype_studio.connectors.web import Web

        kind, base_url = self._kind(provider), self._address(provider)
        patience: dict[str, Any] = {"longest_pause": ASKING_PAUSE_SECONDS, "tries": ASKING_TRIES}
        if pause is not None:
            patience = {"pause": pause}
        web = Web(kind.title, base_url, kind.headers(require_key(key)), check=check, **patience)
        try:
            yield kind(web)
        finally:
            web.close()

    def validate(self, provider: str, key: str, check: Callable[[], None] = lambda: None) -> Account:
        """What the key can read; raises as ``Connector.account`` does."""
        with self.open(provider, key, check=check) as connector:
            return connector.account()

    def limits(self, principal: Principal, images: int, size: int) -> Limits:
        """What so many more images, of so many bytes together, would come to."""
        tier = tier_of(principal.tier)
        with self._db.read() as connection:
            has_images, has_size = stored_in_all(connection, principal)
        return Limits(
            current_images=has_images,
            image_limit=tier.max_images,
            images_after_import=has_images + images,
            current_storage_bytes=has_size,
            storage_limit_bytes=tier.max_storage_bytes,
            storage_after_import_bytes=has_size + size,
        )

    def plan(
        self,
        principal: Principal,
        provider: str,
        key: str,
        datasets: Sequence[RemoteDataset],
        check: Callable[[], None] = lambda: None,
    ) -> list[RemoteDataset]:
        """The datasets as the provider tells them, under the names that they will have here.

        Asks the provider. Raises as ``validate`` does, and:

            NotFound: the key can read no such dataset (``connector_dataset_not_found``).
            InvalidInput: a name is not fit, or two are the same.
            Conflict: it is too much for the tier (``import_over_limit``).
        """
        if not 1 <= len(datasets) <= MAX_DATASETS:
            raise InvalidInput(f"An import is of 1 to {MAX_DATASETS} datasets.", code="invalid_arguments")
        account = self.validate(provider, key, check)
        title = self._kind(provider).title
        found = []
        for wanted in datasets:
            remote = account.find(wanted, title)
            found.append(replace(remote, name=local_name(wanted.name), version=wanted.version))
        names = [dataset.name for dataset in found]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInput(
                f"Two of the datasets would be named {printable(twice)!r} here.",
                code="dataset_twice",
                fix="Send another name for one of them: it becomes the dataset's name here.",
            )
        self._require_room(principal, found)
        return found

    def start(self, principal: Principal, provider: str, key: str, datasets: Sequence[RemoteDataset]) -> Job:
        """Start the import of what ``plan`` has found, in the caller's transaction.

        ``RateLimited`` (``too_many_imports``) while the organization has ``AT_A_TIME`` of them.
        """
        with self._db.read() as connection:
            count = connection.execute(
                sa.select(sa.func.count()).where(
                    jobs.c.organization_id == principal.organization_id,
                    jobs.c.kind == KIND,
                    jobs.c.finished_at.is_(None),
                )
            ).scalar_one()
        if count >= AT_A_TIME:
            raise RateLimited(
                f"{count} imports are under way.",
                code="too_many_imports",
                fix="Wait for one of them to end (list_jobs shows them), or cancel one.",
                details={"retry_after": 60},
            )
        args = {"provider": provider, "datasets": [asdict(dataset) for dataset in datasets]}
        return self._studio.jobs.start(principal, KIND, args, secret=require_key(key))

    def get(self, principal: Principal, import_id: str) -> Job:
        """The job of an import; ``NotFound`` for another kind of job."""
        job = self._studio.jobs.get(principal, import_id)
        if job.kind != KIND:
            raise NotFound(
                f"The job {printable(import_id[:80])!r} is no import from a connector.",
                code="import_not_found",
                fix="get_job shows jobs of every kind.",
            )
        return job

    def settle(self) -> None:
        """Remove archives of imports that are over, which a crash has left."""
        for path in self._scratch().glob(f"{ARCHIVE_PREFIX}*"):
            job_id = path.stem.removeprefix(ARCHIVE_PREFIX)
            query = sa.select(jobs.c.id).where(jobs.c.uuid == job_id, jobs.c.finished_at.is_(None))
            with self._db.read() as connection:
                goes_on = connection.execute(query).first() is not None
            if not goes_on:
                path.unlink(missing_ok=True)

    def archive(self, import_id: str) -> Path:
        """Where an import puts the archive that it reads."""
        return self._scratch() / f"{ARCHIVE_PREFIX}{import_id}.zip"

    def _scratch(self) -> Path:
        return self._studio.home.resolve() / "tmp"

    def _require_room(self, principal: Principal, found: Sequence[RemoteDataset]) -> None:
        fresh = 0
        for dataset in found:
            here = self._studio.datasets.find(principal, dataset.name)
            # What an import that was interrupted has brought in is there already.
            fresh += max(0, dataset.image_count - (here.image_count if here is not None else 0))
        limits = self.limits(principal, fresh, 0)
        if limits.exceeded is not None:
            raise over_limit(fresh, limits)

    def _kind(self, provider: str) -> type[Connector]:
        from tintype_studio.connectors.roboflow import Roboflow
        from tintype_studio.connectors.v7 import V7

        kinds: dict[str, type[Connector]] = {"v7": V7, "roboflow": Roboflow}
        if provider not in kinds:
            raise InvalidInput(
                f"There is no connector {printable(provider[:40])!r}.",
                code="unknown_provider",
                fix=f"provider is one of: {', '.join(PROVIDERS)}.",
            )
        return kinds[provider]

    def _address(self, provider: str) -> str:
        workspace = self._studio.workspace
        own = {"v7": workspace.v7_url, "roboflow": workspace.roboflow_url}
        return own[provider] or self._kind(provider).default_url


def over_limit(images: int, limits: Limits) -> Conflict:
    """The refusal of an import that the tier has no room for."""
    return Conflict(
        f"{images:,} more images are over the limit of the organization's tier: it holds "
        f"{limits.current_images:,} of {limits.image_limit:,} images.",
        code="import_over_limit",
        fix="Import fewer datasets, delete what is not needed, or move to a larger tier.",
        details=asdict(limits),
    )


def local_name(name: str) -> str:
    """A remote dataset's name as one of ours: what may not stand in it becomes ``-``."""
    text = "".join("-" if char in FORBIDDEN_IN_NAMES else char for char in printable(name)).strip()
    return clean_name(f"-{text}" if text in {".", ".."} else text, "Dataset name")
