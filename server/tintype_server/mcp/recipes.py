"""The cookbook as prompts: what a person picks from a menu, and an agent follows.

A recipe names the tools that it needs; it is offered to those who may call them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Argument:
    """A blank in a recipe."""

    name: str
    description: str
    required: bool = False
    choices_of: tuple[str, str] | None = None
    """Tool and argument whose choices are this blank's."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A prompt."""

    name: str
    title: str
    description: str
    tools: tuple[str, ...]
    text: Callable[[Values], str]
    arguments: tuple[Argument, ...] = ()


_DATASET = Argument("dataset_name", "The dataset, by its exact name.", required=True)

_ASK_FIRST = (
    "Before you delete images, datasets, exports or models, or cancel a training, say exactly what will be "
    "gone and wait for the user's yes. A call that answers confirmation_required goes on with "
    "`confirm_call`, and only after that yes."
)
_PRICE_FIRST = (
    "Before a paid call, ask `preview_call` for its price, or `estimate_credit_cost` for a rough one, and "
    "`get_credit_balance` for what is left. Tell the user both figures; stop if the balance is too small."
)
_WHOLE_STEPS = (
    "Prefer the tools that do a whole task (`full_pipeline`, `upload_dataset_from_folder`, "
    "`auto_annotate_dataset`, `train_pipeline`) to chains of single calls: they stop at the first failure, "
    "know their price beforehand and go on as a job where they left off."
)


def _rules(_values: Values) -> str:
    return (
        "Follow these rules in all work with Tintype:\n"
        f"1. {_ASK_FIRST}\n2. {_PRICE_FIRST}\n3. {_WHOLE_STEPS}\n"
        "When something went wrong, `list_changes` shows what was done and `undo_call` takes it back."
    )


def _train(values: Values) -> str:
    pipeline = values.get("pipeline") or "yolox"
    return (
        f"Train a {pipeline} model on the dataset {values['dataset_name']!r} within the budget.\n"
        "1. `get_dataset`: check that its classes and completed images are what I mean to train on.\n"
        "2. `get_credit_balance`, then `estimate_credit_cost` for the minutes of the chosen gpu, or "
        "`preview_call` of `train_pipeline` for the most that it may cost.\n"
        "3. Tell me the price and the balance. If the balance is too small, tell me the gap and where to top "
        "up, and do not start.\n"
        "4. `train_pipeline` with that dataset and pipeline. When it answers with a job, follow it with "
        "`get_training_status`.\n"
        "5. Tell me the model's id, its metrics on images it never learned from, and that `download_model` "
        "writes its ONNX file."
    )


def _import(values: Values) -> str:
    provider = values.get("provider") or "v7"
    return (
        f"Bring the dataset {values['source_dataset']!r} over from {provider}, then add the class "
        f"{values['new_class']!r}.\n"
        "1. `validate_connector` with my key for that service: it lists the datasets that the key opens. Use "
        "the key in these calls only; do not repeat it in text.\n"
        "2. `import_from_connector` for that dataset. It works as a job: follow it with `get_job` to its "
        "end, and tell me what could not be brought over.\n"
        "3. Tell me the price of labelling the new class, then `auto_annotate_dataset` with that one class. "
        "Annotations that came with the images stay: images that have some are passed over unless "
        "overwrite is set.\n"
        "4. Look at some drafts with `preview_image`; tell me counts per class."
    )


def _annotate(values: Values) -> str:
    return (
        f"Label the dataset {values['dataset_name']!r} with these classes: {values['classes']}.\n"
        "1. Tell me the price first (`preview_call` of `auto_annotate_dataset`).\n"
        "2. `auto_annotate_dataset` with mode batch. When it answers with a job, follow it with `get_job`.\n"
        "3. If items failed, tell me how many, and take each of them again with `auto_annotate_text`, one "
        "image at a time, with the class name as the prompt and a lower confidence_threshold (0.3). "
        "`get_job` lists what failed, page by page.\n"
        "4. Look at a sample of drafts with `preview_image`. Take over good ones with `accept_annotations`, "
        "drop bad ones with `reject_annotations`.\n"
        "5. Sum up: images labelled, drafts per class, what still failed and why."
    )


def _export(values: Values) -> str:
    chosen = values.get("format") or "yolo"
    classes = values.get("classes")
    only = f"only these classes: {classes}" if classes else "all classes"
    return (
        f"Export the completed images of the dataset {values['dataset_name']!r} as {chosen}, {only}.\n"
        "1. `get_dataset`: check that the classes exist, letter for letter.\n"
        "2. `create_export` with status_filter complete, the class_filter, and a name that ends in today's "
        "date: a name can be used once.\n"
        "3. `download_export` to a file of mine, or give me its download_url.\n"
        "4. Tell me the counts of images and annotations, and the export's notes on what the format "
        "could not hold."
    )


def _clean_up(values: Values) -> str:
    which = values.get("which") or "test datasets that nobody needs any more"
    return (
        f"Help me delete datasets: {which}.\n"
        "1. `list_datasets`, and pick out those that fit.\n"
        "2. Show me their names with image and annotation counts, and ask me to repeat the names that are to "
        "go. Nothing else is a yes.\n"
        "3. For each name that I repeated: `delete_dataset`. It answers confirmation_required with a "
        "summary; if that matches what I agreed to, go on with `confirm_call`.\n"
        "4. Tell me which are gone. They stay in the recycle bin for a while (`list_deleted`), and "
        "`undo_call` brings one back. If my key's role is too low, say so and stop."
    )


def _sort(values: Values) -> str:
    folder = values.get("folder") or f"/{values['tag']}"
    return (
        f"Move all images of the dataset {values['dataset_name']!r} tagged {values['tag']!r} to the folder "
        f"{folder}.\n"
        "1. `search_by_tag` with that tag among attributes (objects and scenes are the other kinds of tag); "
        "read on with offset until nothing is left.\n"
        "2. Tell me how many you found; with contact_sheet=true you see them in one picture.\n"
        "3. `move_images` with all their ids at once: one call is one change, and `undo_call` takes back the "
        "whole of it.\n"
        "4. Tell me how many were moved."
    )


RECIPES = (
    Recipe(
        "house_rules",
        "Work safely and cheaply",
        "Three rules for an agent that may delete things and spend credits.",
        (),
        _rules,
    ),
    Recipe(
        "train_within_budget",
        "Train within the budget",
        "Check price and balance, train a model, report its metrics.",
        (
            "get_dataset",
            "get_credit_balance",
            "estimate_credit_cost",
            "train_pipeline",
            "get_training_status",
        ),
        _train,
        (_DATASET, Argument("pipeline", "What to train.", choices_of=("train_pipeline", "pipeline"))),
    ),
    Recipe(
        "import_and_extend",
        "Import from another service, add a class",
        "Bring a dataset over from another labelling service, then label one more class in it.",
        ("validate_connector", "import_from_connector", "auto_annotate_dataset", "get_job", "preview_image"),
        _import,
        (
            Argument("source_dataset", "The dataset's name at the other service.", required=True),
            Argument("new_class", "The class to add.", required=True),
            Argument("provider", "The other service.", choices_of=("validate_connector", "provider")),
        ),
    ),
    Recipe(
        "label_with_fallback",
        "Label a dataset, mend what failed",
        "Label in one batch, take failed images again one by one, then review.",
        (
            *("preview_call", "auto_annotate_dataset", "get_job", "auto_annotate_text", "preview_image"),
            *("accept_annotations", "reject_annotations"),
        ),
        _annotate,
        (_DATASET, Argument("classes", "Class names, comma-separated.", required=True)),
    ),
    Recipe(
        "export_finished",
        "Export what is finished",
        "Export the completed images, some classes of them, in one format.",
        ("get_dataset", "create_export", "download_export"),
        _export,
        (
            _DATASET,
            Argument("classes", "Class names, comma-separated; all if left out."),
            Argument("format", "Export format.", choices_of=("create_export", "format")),
        ),
    ),
    Recipe(
        "clean_up_datasets",
        "Delete old datasets",
        "Find datasets to delete, have the names confirmed, delete those and no others.",
        ("list_datasets", "delete_dataset", "confirm_call", "undo_call"),
        _clean_up,
        (Argument("which", "Which ones, in words."),),
    ),
    Recipe(
        "sort_into_folders",
        "Move tagged images to a folder",
        "Find images by tag and move them in one call.",
        ("search_by_tag", "move_images", "undo_call"),
        _sort,
        (
            _DATASET,
            Argument("tag", "The tag, such as blurry.", required=True),
            Argument("folder", "Where to, such as /blurry; the tag's name if left out."),
        ),
    ),
)
