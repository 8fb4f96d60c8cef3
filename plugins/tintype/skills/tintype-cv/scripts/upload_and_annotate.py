"""Uploads a folder of pictures and drafts labels for what has none."""

from __future__ import annotations

import argparse

from tintype_command import classes_of, finish, tintype, until_ended


def main() -> None:
    """Upload, start the labelling, wait for its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--folder", help="pictures; leave it out with --no-upload")
    parser.add_argument("--no-upload", action="store_true")
    parser.add_argument("--classes", default="", help="name:bbox or name:polygon, comma-separated")
    parser.add_argument("--mode", default="batch", choices=["batch", "text"])
    parser.add_argument("--overwrite", action="store_true", help="label images anew that have drafts")
    parser.add_argument("--max-workers", type=int, default=8)
    given = parser.parse_args()
    if not given.no_upload and given.folder is None:
        parser.error("--folder is needed, unless --no-upload")
    report = {}
    if not given.no_upload:
        flags = ["--workers", str(given.max_workers), "--json"]
        report["upload"] = tintype("datasets", "upload", given.dataset, given.folder, *flags, may_fail=True)
    classes = classes_of(given.classes)
    if classes:
        arguments = {
            "dataset_name": given.dataset,
            "classes": classes,
            "mode": given.mode,
            "overwrite": given.overwrite,
        }
        report["annotate"] = until_ended("auto_annotate_dataset", arguments)
    ended_well = report.get("annotate", {}).get("job", {}).get("status", "completed") == "completed"
    finish(report, ok=ended_well and not report.get("upload", {}).get("failures"))


if __name__ == "__main__":
    main()
