"""The platform in one object: opens a workspace and holds its services."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tintype_studio.annotations.classes import Classes
from tintype_studio.annotations.documents import Documents
from tintype_studio.annotations.labels import Labels
from tintype_studio.annotations.removal import Removal
from tintype_studio.annotations.review import Review
from tintype_studio.annotations.sets import AnnotationSets
from tintype_studio.approvals.service import Approvals
from tintype_studio.catalog.batch import Batch
from tintype_studio.catalog.bin import RecycleBin
from tintype_studio.catalog.bin_items import BinItems
from tintype_studio.catalog.datasets import Datasets
from tintype_studio.catalog.groups import Groups
from tintype_studio.catalog.ingest import Ingest
from tintype_studio.catalog.projects import Projects
from tintype_studio.catalog.samples import Samples
from tintype_studio.connectors.service import Connectors
from tintype_studio.experiments.service import Experiments
from tintype_studio.exports.service import Exports
from tintype_studio.history.audit import Audit
from tintype_studio.history.changes import Changes
from tintype_studio.history.idempotency import Idempotency
from tintype_studio.history.results import Results
from tintype_studio.history.undo import Undo
from tintype_studio.identity.bootstrap import ensure_local_organization
from tintype_studio.identity.invites import Invites
from tintype_studio.identity.keys import Keys
from tintype_studio.identity.logins import Logins
from tintype_studio.identity.organizations import Organizations
from tintype_studio.jobs.service import Jobs
from tintype_studio.later import Later
from tintype_studio.ledger.ledger import Ledger
from tintype_studio.limits.concurrency import Concurrency
from tintype_studio.limits.rate import RateLimits
from tintype_studio.multisensor.editing import Editing
from tintype_studio.multisensor.links import SampleLinks
from tintype_studio.multisensor.population import Population
from tintype_studio.multisensor.samples import MultiSamples
from tintype_studio.predictions.service import PredictionTasks
from tintype_studio.search.service import Search
from tintype_studio.snapshots.service import Snapshots
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.migrate import migrate
from tintype_studio.storage.signing import Signer, load_secret
from tintype_studio.storage.uploads import Uploads
from tintype_studio.tasks.service import Tasks
from tintype_studio.training.models import Models
from tintype_studio.training.service import Training
from tintype_studio.versions.restorer import Restorer
from tintype_studio.versions.service import Versions
from tintype_studio.video.service import Videos
from tintype_studio.vision.detect.chain import Detectors, DetectorSettings
from tintype_studio.vision.prompts import Prompts


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where state lives. ``database_url`` and ``blob_url`` default to places inside ``home``."""

    home: Path
    database_url: str | None = None
    blob_url: str | None = None
    embedder_model: str | None = None
    """Folder or hub id of the SigLIP model for similarity; None for the embedded descriptor."""
    sam_model: str | None = None
    """Folder or hub id of the SAM-family model for prompts; None for the embedded engine."""
    detector_model: str | None = None
    """Folder or hub id of the open-vocabulary detector; None for none."""
    vision_api: str | None = None
    """``anthropic`` or ``openai``: a vision model there may be sent pictures; None for none."""
    vision_model: str | None = None
    """Its name; None for the provider's usual one."""
    v7_url: str | None = None
    """Where V7 Darwin is; None for its public address."""
    roboflow_url: str | None = None
    """Where Roboflow's API is; None for its public address."""
    worker_processes: int | None = None
    """Child processes that do the work of jobs; None for one per core."""
    prediction_days: int = 7
    """How long a prediction task is kept, with its file and its result."""


class Studio:
    """Opens a workspace: migrates it, makes the local organization on first start, settles what a crash left.

    Thread-safe. Close it to flush the audit trail.
    """

    def __init__(self, workspace: Workspace) -> None:
        home = workspace.home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.home = home
        self.workspace = workspace
        scratch = home / "tmp"
        scratch.mkdir(exist_ok=True)
        self.signer = Signer(load_secret(home))
        self.liveness = Liveness(home / "run")
        self.database = Database(workspace.database_url or _sqlite_url(home / "tintype.db"))
        migrate(self.database, home / "migrate.lock")
        ensure_local_organization(self.database, self.signer, home)
        self.blobs = Blobs(workspace.blob_url or str(home / "blobs"))
        self.uploads = Uploads(self.blobs, self.signer, scratch)
        self.videos = Videos(self.uploads)

        self.later = Later()
        self._open_identity()
        self.projects = Projects(self.database)
        self.datasets = Datasets(self.database)
        self.annotation_sets = AnnotationSets(self.database, self.datasets)
        self.labels = Labels(self.database, self.datasets)
        self.groups = Groups(self.database, self.datasets)
        self.samples = Samples(self.database, self.blobs)
        self.search = Search(
            self.database, self.blobs, self.samples, home / "search", model=workspace.embedder_model
        )
        self.ingest = Ingest(self.database, self.blobs, self.samples, self.search.indexer.uploading)
        self.multisensor = MultiSamples(self.database)
        self.population = Population(self.database, self.blobs, self.ingest, self.search.indexer.uploading)
        self.editing = Editing(self.database, self.ingest)
        self.sample_links = SampleLinks(self.database, self.signer, self.population)
        self.batch = Batch(self.database, self.datasets, self.search.indexer.uploading)
        self.classes = Classes(self.database, self.datasets)
        self.documents = Documents(self.database, self.samples)
        self.exports = Exports(
            self.database,
            self.blobs,
            self.liveness,
            self.datasets,
            self.samples,
            self.documents,
            scratch,
        )
        self.prompts = Prompts(workspace.sam_model)
        self.models = Models(self.database)
        self.detectors = Detectors(
            self.database,
            self.blobs,
            workspace.blob_url or str((home / "blobs").resolve()),
            self.samples,
            self.documents,
            DetectorSettings(workspace.detector_model, workspace.vision_api, workspace.vision_model),
            self.models,
        )
        self.removal = Removal(self.database, self.datasets)
        self.review = Review(self.database, self.samples, self.documents)
        self._open_history(scratch)
        self._open_guards()
        self.jobs = Jobs(self)
        self.training = Training(self)
        self.connectors = Connectors(self)
        self.predictions = PredictionTasks(self)
        self.snapshots = Snapshots(self)
        self.tasks = Tasks(self)
        self.experiments = Experiments(self)
        self.settle()

    def _open_identity(self) -> None:
        """Who calls, and what with."""
        self.keys = Keys(self.database, self.signer)
        self.logins = Logins(self.database, self.signer, self.keys)
        self.organizations = Organizations(self.database, self.keys)
        self.invites = Invites(self.database, self.signer)
        self.ledger = Ledger(self.database, self.liveness, self.later)

    def _open_history(self, scratch: Path) -> None:
        """What was, and the ways back to it."""
        self.recycle_bin = RecycleBin(self.database, self.blobs)
        self.bin_items = BinItems(self.database, self.recycle_bin)
        self.changes = Changes(self.database)
        restorer = Restorer(self.database, self.blobs, scratch)
        self.undo = Undo(self.database, restorer)
        self.versions = Versions(self.database, self.blobs, self.datasets, restorer, scratch)

    def _open_guards(self) -> None:
        """What the guards of calls keep."""
        self.approvals = Approvals(self.database, self.signer, self.liveness, self.later)
        self.rate_limits = RateLimits(self.database, self.liveness)
        self.concurrency = Concurrency()
        self.audit = Audit(self.database)
        self.idempotency = Idempotency(self.database, self.liveness, self.later)
        self.results = Results(self.database)

    def settle(self) -> None:
        """Free holds and end exports of processes that died, and drop what has expired.

        Done at every start; a server that runs for long does it now and then.
        """
        self.later.catch_up()
        self.ledger.release_dead()
        self.exports.fail_dead()
        self.idempotency.sweep()
        self.results.sweep()
        self.approvals.sweep()
        self.rate_limits.sweep()
        self.recycle_bin.sweep()
        self.predictions.sweep()
        self.uploads.sweep(self.predictions.kept_uploads)
        self.snapshots.sweep()
        self.training.settle()
        self.connectors.settle()
        self.jobs.sweep()
        self.experiments.sweep()
        self.liveness.sweep()
        self.search.indexer.wake()

    def close(self) -> None:
        """Flush and release everything."""
        with contextlib.suppress(Exception):
            self.search.close()
        with contextlib.suppress(Exception):
            self.jobs.close()
        with contextlib.suppress(Exception):
            self.videos.close()
        with contextlib.suppress(Exception):
            self.snapshots.close()
        with contextlib.suppress(Exception):
            self.audit.close()
        with contextlib.suppress(Exception):
            self.rate_limits.close()
        self.liveness.close()
        self.database.close()


def _sqlite_url(path: Path) -> sa.URL:
    # Not as text: a question mark in the folder's name would start the URL's query.
    return sa.URL.create("sqlite", database=str(path))
