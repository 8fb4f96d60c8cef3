"""Dry runs of the import."""

from __future__ import annotations

from typing import Any

from support.pictures import jpeg


def _folder(world: Any, **more: Any) -> dict[str, Any]:
    """A table of two images, one of which the dataset has."""
    folder = world.folder / "table"
    folder.mkdir(exist_ok=True)
    (folder / "x.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax\na.png,sign,1,2,3,4\nfresh.jpg,sign,1,2,3,4\n"
    )
    (folder / "fresh.jpg").write_bytes(jpeg(seed=77))
    return {"dataset_name": "signs", "path": str(folder), "wait_seconds": 0, **more}


READY = {"import_dataset": _folder}
REFUSED = [
    ("import_dataset", "file_not_found", lambda w: {"dataset_name": "signs", "path": "/no/such"}),
    ("import_dataset", "dataset_not_found", lambda w: _folder(w, dataset_name="x", create_if_missing=False)),
    ("import_dataset", "format_not_found", lambda w: _folder(w, format="coco")),
    ("import_dataset", "invalid_name", lambda w: _folder(w, dataset_name="a/b")),
]


def _queued(world: Any, told: dict[str, Any], outcome: Any) -> None:
    """The job does it later, so that the history has nothing yet."""
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["dataset"]) == ("images.added", 1, "signs")
    assert (affected["listed"], affected["existing"]) == (2, 1)
    assert outcome.value["job"]["status"] == "queued"


DONE = {"import_dataset": _queued}
