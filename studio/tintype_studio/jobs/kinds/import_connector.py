"""Imports datasets of another platform. Free; one item per image, and one per dataset.

``args``: ``provider``, and ``datasets``, each the members of a ``RemoteDataset`` with the name that it gets
here. The caller's key of the provider is in the memory of the process that does the job, and nowhere else
(``jobs.alone``): when that process dies, nobody can go on, and the job ends as ``import_interrupted``. The
next import of the same datasets goes on, because an image that is there is not fetched again.

Items of the dataset number 2 are ``2/<folder>/<name>`` for each image, and ``2`` when it is done with.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.extending import extend_classes
from tintype_studio.annotations.importing import Importing
from tintype_studio.connectors.protocol import Fetching, RemoteDataset
from tintype_studio.connectors.service import over_limit
from tintype_studio.errors import TintypeError, Unavailable
from tintype_studio.formats.reading.converted import sentences
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.arrivals import Arrivals, counted, keyed, place_of
from tintype_studio.jobs.commits import NOT_NOW
from tintype_studio.jobs.kind import JobPlan, Kind, Queue

if TYPE_CHECKING:
    from tintype_studio.connectors.protocol import Account, Connector
    from tintype_studio.formats.reading.base import Reader
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

CHUNK = 24
"""Images in one transaction: what a crash makes us fetch again."""
LOOKED_UP = 500


class ImportConnector(Kind):
    """See above."""

    name = "import_connector"
    queue = Queue.IO

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """What the provider has told of the datasets when the import was planned."""
        wanted = datasets_of(args)
        names = ", ".join(dataset.name for dataset in wanted)
        total = sum(dataset.image_count for dataset in wanted) + len(wanted)
        return JobPlan(f"Import {names} from {args['provider']}", total=total)

    def run(self, run: Run) -> dict[str, Any]:
        """Import dataset after dataset; one that cannot be imported leaves the others alone."""
        key = run.studio.jobs.secrets.get(run.job.id)
        if key is None:
            raise Unavailable(
                "The import was interrupted, and the key of the provider is not kept.",
                code="import_interrupted",
                fix="Call import_from_connector again with the same datasets; it goes on where it stopped.",
                retryable=False,
            )
        wanted = datasets_of(run.args)
        errors: list[TintypeError] = []
        notes: dict[str, list[str]] = {}
        counts = [dataset.image_count for dataset in wanted]
        with run.studio.connectors.open(
            run.args["provider"], key, check=run.check, pause=run.pause
        ) as connector:
            account = connector.account()
            for number, dataset in enumerate(wanted):
                try:
                    notes[dataset.name] = _Import(run, connector, account, counts, number).do()
                except TintypeError as error:
                    if error.code in NOT_NOW:
                        raise
                    errors.append(error)
                    run.fail(str(number), error)
                finally:
                    run.studio.connectors.archive(run.job.id).unlink(missing_ok=True)
        if len(errors) == len(wanted):
            raise errors[0]
        return {"notes": notes}

    def clear(self, studio: Studio, job_id: str) -> None:
        """The archive that was being read."""
        studio.connectors.archive(job_id).unlink(missing_ok=True)


def datasets_of(args: dict[str, Any]) -> list[RemoteDataset]:
    """Of a job's arguments."""
    return [RemoteDataset(**dataset) for dataset in args["datasets"]]


class _Import:
    """The import of one dataset."""

    def __init__(
        self, run: Run, connector: Connector, account: Account, counts: list[int], number: int
    ) -> None:
        """``counts``: the images of every dataset, as far as they are known; completed here."""
        self._run = run
        self._connector = connector
        self._account = account
        self._counts = counts
        self._number = number
        self._wanted = datasets_of(run.args)[number]

    def do(self) -> list[str]:
        """Fetch and import; returns what is to be said of it."""
        run, wanted = self._run, self._wanted
        run.stage("fetch")
        run.progress(wanted.name)
        found = self._account.find(wanted, self._connector.title)
        fetching = Fetching(
            run.studio.connectors.archive(run.job.id),
            progress=lambda text: run.progress(f"{wanted.name}: {text}"),
            pause=run.pause,
        )
        reader = self._connector.fetch(self._account, found, wanted.version, fetching)
        with reader.source:
            run.stage("scan")
            count = counted(run, reader)
            self._require_room(reader, count)
            self._counts[self._number] = count
            run.stage("import", total=sum(self._counts) + len(self._counts))
            run.progress(wanted.name)
            dataset = run.studio.datasets.get_or_create(run.principal, wanted.name)
            dataset = extend_classes(
                run.studio.database, run.studio.datasets, run.principal, dataset.name, reader.classes
            )
            arrivals = Arrivals(run, reader, dataset, same_size=True)
            arrivals.take_all(keyed(reader, f"{self._number}/"), CHUNK)
        noticed, annotations = self._noticed()
        detail = {"dataset_id": dataset.id, "images": count, "annotations": annotations}
        run.commit(str(self._number), detail=detail)
        return sentences(reader.counts + noticed)

    def _noticed(self) -> tuple[Counter[str], int]:
        """What was noticed about the dataset's images, and how many annotations came with them."""
        noticed: Counter[str] = Counter()
        annotations, prefix = 0, f"{self._number}/"
        after = prefix
        while page := self._run.studio.jobs.items(self._run.job, limit=LOOKED_UP, after=after):
            for item in page:
                if not item.key.startswith(prefix):
                    return noticed, annotations
                noticed.update(item.detail.get("noticed", {}))
                annotations += item.detail.get("annotations", 0)
            after = page[-1].key
        return noticed, annotations

    def _require_room(self, reader: Reader, count: int) -> None:
        """Before the first image is fetched; ``Conflict`` when the tier does not hold them all."""
        run, studio = self._run, self._run.studio
        here = studio.datasets.find(run.principal, self._wanted.name)
        limits = studio.connectors.limits(run.principal, count, 0)
        if limits.exceeded is None:
            return
        existing = 0
        if here is not None:
            importing = Importing(studio.database, studio.ingest, studio.documents)
            places = [place_of(item) for item in reader.items() if item.error is None]
            for start in range(0, len(places), LOOKED_UP):
                run.check()
                existing += len(importing.find(here, places[start : start + LOOKED_UP]))
        limits = studio.connectors.limits(run.principal, count - existing, 0)
        if limits.exceeded is not None:
            raise over_limit(count - existing, limits)


KIND = ImportConnector()
