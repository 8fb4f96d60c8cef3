"""Opens the platform, without tools: the light half of ``runtime``."""

from __future__ import annotations

import errno

import sqlalchemy as sa
from obstore.exceptions import BaseError as BlobStoreError

from tintype_server.settings import Settings
from tintype_studio.errors import InvalidInput, TintypeError, Unavailable
from tintype_studio.studio import Studio, Workspace

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def open_studio(settings: Settings) -> Studio:
    """Open the workspace, migrating it and settling what a crash left.

    Whatever keeps it from opening (a home that is a file, a full disk, a wrong URL) is a ``TintypeError``.
    """
    try:
        return Studio(
            Workspace(
                settings.home,
                settings.database_url,
                settings.blob_url,
                embedder_model=settings.embedder_model,
                detector_model=settings.detector_model,
                vision_api=settings.vision_api,
                vision_model=settings.vision_model,
                sam_model=settings.sam_model,
                v7_url=settings.v7_url,
                roboflow_url=settings.roboflow_url,
                worker_processes=settings.worker_processes,
                prediction_days=settings.prediction_days,
            )
        )
    except TintypeError:
        raise
    except OSError as error:
        raise _unusable_home(error) from error
    except sa.exc.SQLAlchemyError as error:
        raise _unusable_database(error) from error
    except ModuleNotFoundError as error:
        if settings.database_url is None:
            raise
        raise _bad_url("DATABASE", f"its driver {error.name!r} is not installed") from error
    except (BlobStoreError, ValueError) as error:
        if settings.blob_url is None:
            raise
        raise _bad_url("BLOB", "no object store has such an address") from error


def _unusable_home(error: OSError) -> TintypeError:
    if error.errno in FULL:
        return Unavailable(
            "The disk that holds the workspace is full.",
            code="storage_failed",
            fix="Free disk space, or name a folder on another disk with --home (TINTYPE_HOME).",
        )
    if isinstance(error, FileExistsError | NotADirectoryError):
        problem = "a file is in the way"
    else:
        problem = error.strerror or type(error).__name__
    return InvalidInput(
        f"The workspace's folder cannot be used: {problem}.",
        code="home_unusable",
        fix="Name a folder that you may write to with --home (TINTYPE_HOME).",
    )


def _unusable_database(error: sa.exc.SQLAlchemyError) -> TintypeError:
    if isinstance(error, sa.exc.ArgumentError):
        return _bad_url("DATABASE", "it is not a SQLAlchemy URL of a known database")
    reason = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else type(error).__name__
    return Unavailable(
        f"The database cannot be opened: {(reason.splitlines() or ['no reason given'])[0]}.",
        code="database_unusable",
        fix="Check the workspace's tintype.db, or the server that TINTYPE_DATABASE_URL names.",
        retryable=False,
    )


def _bad_url(what: str, problem: str) -> InvalidInput:
    return InvalidInput(
        f"TINTYPE_{what}_URL cannot be used: {problem}.",
        code="invalid_setting",
        fix="Correct it, or unset it to keep everything in the workspace's folder.",
    )
