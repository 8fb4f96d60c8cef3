"""The demo's last act: pictures of road signs become a model that finds signs on pictures it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from tintype_server.demo.agent import Agent
from tintype_server.demo.signs import NAMES, Sign, draw, truth

DATASET, UNSEEN = "signs", "unseen"
PICTURES = 100
FIRST_UNSEEN = 10_000
"""Seed of the first picture that is kept from training."""
LOOKED_AT = 6
PIPELINE = "yolox"
CONFIG = {"epochs": 20, "image_size": 256, "max_minutes": 4, "seed": 1}
LONGEST_WAIT = 300
SAME = 0.5
"""Intersection over union from which a box counts as the sign."""


def draw_pictures(folder: Path) -> dict[str, list[Sign]]:
    """Write the pictures to learn from, and those to be asked about; returns the signs by file name."""
    signs = {}
    for name, first, count in ((DATASET, 0, PICTURES), (UNSEEN, FIRST_UNSEEN, LOOKED_AT)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture, shown = draw(first + number)
            file = f"{name}-{number:03}.jpg"
            picture.save(folder / name / file, quality=92)
            signs[file] = shown
    return signs


async def train(agent: Agent, console: Console, folder: Path, previews: Path) -> None:
    """Label, train, and look at what the model finds."""
    signs = draw_pictures(folder)
    for dataset in (DATASET, UNSEEN):
        await agent.call(
            "upload_dataset_from_folder", {"dataset_name": dataset, "folder": str(folder / dataset)}
        )
    images = (await _listed(agent, DATASET))["images"]
    for number, image in enumerate(images):
        arguments = {"image_uuid": image["id"], "annotations": truth(signs[image["filename"]])}
        (await agent.call("save_annotations", arguments, quiet=number > 0)).need()
    console.print(f"  [dim]… and the same for {len(images) - 1} more pictures[/dim]")
    answer = await agent.call_with_bar(
        "train_pipeline",
        {"dataset_name": DATASET, "pipeline": PIPELINE, "config": CONFIG, "wait_seconds": LONGEST_WAIT},
    )
    trained = answer.need()
    run = trained["training_run"]["id"]
    status = await agent.call("get_training_status", {"run_id": run, "include_curves": True})
    _keep(status.pictures, previews / "training-curves")
    model = trained.get("model")
    if model is None:
        console.print("  [dim]The training had not ended in time; get_training_status tells its end.[/dim]")
        return
    right = found = there = 0
    for number, image in enumerate((await _listed(agent, UNSEEN))["images"]):
        answer = await agent.call(
            "predict_image",
            {
                "model": model["id"],
                "image_uuid": image["id"],
                # Where the model itself balanced precision and recall best, on its test pictures.
                "confidence_threshold": model["metrics"]["score_threshold"],
            },
            quiet=number > 0,
        )
        _keep(answer.pictures, previews / Path(image["filename"]).stem)
        predictions = [
            {"name": each["categories"][0]["name"], "bounding_box": each["bounding_box"]}
            for each in answer.need()["objects"]
        ]
        shown = signs[image["filename"]]
        right += sum(any(matches(p, sign) for p in predictions) for sign in shown)
        found, there = found + len(predictions), there + len(shown)
    console.print(
        f"  On {LOOKED_AT} pictures that it had never seen, the model found {right} of {there} signs "
        f"({', '.join(NAMES)}) with {found} boxes. They are drawn in previews/unseen-*.jpg"
    )


async def _listed(agent: Agent, dataset: str) -> dict[str, Any]:
    return await agent.need("get_dataset", {"name": dataset, "include_images": True, "images_limit": 1000})


def matches(prediction: dict[str, Any], sign: Sign) -> bool:
    """Whether a prediction or an annotation is that sign: its class, and an IoU of one half."""
    if prediction["name"] != sign.name:
        return False
    one, other = prediction["bounding_box"], sign.box
    width = min(one["x"] + one["w"], other["x"] + other["w"]) - max(one["x"], other["x"])
    height = min(one["y"] + one["h"], other["y"] + other["h"]) - max(one["y"], other["y"])
    both = max(width, 0.0) * max(height, 0.0)
    either = one["w"] * one["h"] + other["w"] * other["h"] - both
    return bool(both >= SAME * either)


def _keep(pictures: list[bytes], stem: Path) -> None:
    for picture in pictures:
        stem.with_suffix(".png" if picture.startswith(b"\x89PNG") else ".jpg").write_bytes(picture)
