"""What an upload did, in forms that are easy to compare."""

from __future__ import annotations

import hashlib

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.ingest import UploadReport
from tintype_studio.catalog.samples import Sample
from tintype_studio.studio import Studio


def places(studio: Studio, dataset: Dataset) -> dict[str, Sample]:
    """Every image of a dataset by folder and file name, its bytes checked against its digest."""
    found = {}
    for sample in studio.samples.page(dataset, limit=5000):
        data = studio.samples.image_bytes(sample)
        assert hashlib.sha256(data).hexdigest() == sample.sha256
        assert len(data) == sample.file_size
        found[f"{sample.folder.rstrip('/')}/{sample.filename}"] = sample
    return found


def codes(report: UploadReport) -> dict[str, str]:
    """The failures: path → code."""
    return {failure.path: failure.code for failure in report.failures}


def numbers(report: UploadReport) -> tuple[int, int, int, int]:
    """Attempted, uploaded, skipped, failed."""
    return (report.images_attempted, report.images_uploaded, report.images_skipped, len(report.failures))
