"""From a folder of pictures to a trained model: uploads, labels what has no labels, trains."""

from __future__ import annotations

import argparse

from tintype_command import classes_of, finish, until_ended


def main() -> None:
    """Start it, wait for its end, tell the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--classes", required=True, help="name:bbox or name:polygon, comma-separated")
    parser.add_argument("--pipeline", default="yolox")
    parser.add_argument("--gpu", default="a10g")
    parser.add_argument("--no-annotate", action="store_true")
    parser.add_argument("--no-train", action="store_true")
    parser.add_argument(
        "--min-credits", type=int, default=1, help="end before paid work below this; 0: never"
    )
    parser.add_argument("--yes", action="store_true", help="the user has agreed to the price")
    given = parser.parse_args()
    arguments = {
        "dataset_name": given.dataset,
        "folder": given.folder,
        "classes": classes_of(given.classes),
        "pipeline": given.pipeline,
        "gpu": given.gpu,
        "annotate": not given.no_annotate,
        "train": not given.no_train,
        "min_credits": given.min_credits or None,
    }
    report = until_ended("full_pipeline", arguments, *(["--yes"] if given.yes else []))
    finish(report, ok=bool(report.get("success")))


if __name__ == "__main__":
    main()
