"""``tintype datasets download``: a dataset's images and annotations into a local folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintype_server.cli.files import make_folder, save_file
from tintype_studio.errors import TintypeError
from tintype_tools.call import Progress

if TYPE_CHECKING:
    from tintype_server.cli.calling import Caller

PAGE = 10_000


@dataclass(slots=True)
class Report:
    """What became of a dataset's files."""

    dataset_id: str = ""
    images: int = 0
    annotations: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Count another's files as well."""
        self.images += other.images
        self.annotations += other.annotations
        self.failures += other.failures


class Download:
    """A download into ``folder``, which is made if need be.

    ``mode`` is ``full``, ``images_only`` or ``annotations_only``. A file that is there already and the same
    is left; another is replaced with ``overwrite``, and a failure without.
    """

    def __init__(self, caller: Caller, folder: Path, *, mode: str, overwrite: bool, workers: int) -> None:
        self._caller = caller
        self._folder = folder
        self._mode = mode
        self._overwrite = overwrite
        self._workers = workers
        self._principal = caller.principal()
        self._stopped = threading.Event()

    def run(self, dataset: str, status: str, progress: Progress) -> Report:
        """Download the dataset's images of a status. What fails is reported; the rest goes on."""
        report = Report()
        found = self._listed(dataset, status, report)
        make_folder(self._folder)
        pool = ThreadPoolExecutor(self._workers)
        try:
            for number, one in enumerate(pool.map(self._one, found), 1):
                report.add(one)
                progress(number, len(found), dataset)
        finally:
            self._stopped.set()
            pool.shutdown(cancel_futures=True)
        return report

    def _listed(self, dataset: str, status: str, report: Report) -> list[tuple[str, str]]:
        """Id and file name of each image."""
        from tintype_server.download_names import NamesApart

        names, found = NamesApart(), []
        for page in self._pages(dataset, status):
            report.dataset_id = page["dataset_id"]
            ids = [image["id"] for image in page["images"]]
            found += list(zip(ids, names(page["images"]), strict=True))
        return found

    def _pages(self, dataset: str, status: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            asked = {"dataset_name": dataset, "status": status, "limit": PAGE, "offset": offset}
            page = self._caller.call("list_dataset_files", asked).value
            yield page
            offset += len(page["images"])
            # A page may be short because the key's response budget has cut it.
            if not page["images"] or (len(page["images"]) < PAGE and "_truncated" not in page):
                return

    def _one(self, image: tuple[str, str]) -> Report:
        image_id, name = image
        report = Report()
        if self._stopped.is_set():
            return report
        studio = self._caller.studio
        try:
            sample, annotations = studio.documents.get(self._principal, image_id)
            if self._mode != "annotations_only":
                report.images += self._save(name, report, studio.blobs.stream(sample.sha256), sample.sha256)
        except TintypeError as error:
            report.failures.append(_failure(name, error))
            return report
        if self._mode != "images_only":
            import orjson

            plain = [each.model_dump(mode="json", exclude_none=True) for each in annotations]
            text = orjson.dumps(plain, option=orjson.OPT_INDENT_2)
            report.annotations += self._save(f"{name}.json", report, iter([text]), None)
        return report

    def _save(self, name: str, report: Report, chunks: Iterator[bytes], sha256: str | None) -> int:
        """1 if the file is there now, 0 if the report has why not."""
        try:
            save_file(self._caller.files, self._folder / name, chunks, sha256, overwrite=self._overwrite)
        except TintypeError as error:
            report.failures.append(_failure(name, error))
            return 0
        return 1


def _failure(path: str, error: TintypeError) -> dict[str, str]:
    return {"path": path, "code": error.code, "reason": error.message}
