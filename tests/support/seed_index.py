"""Every Python block of the seed documentation: which test runs it, or why the published SDK cannot.

The document is not part of this repository. A block is named by its page and its ordinal there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What becomes of a block."""

    RUNS = "runs"
    PARTLY = "partly"
    """The published SDK differs from its documentation: the test shows how, and runs what it has instead."""
    NO_CALL = "no call"


@dataclass(frozen=True, slots=True)
class Block:
    """``tests`` perform its calls; ``why`` says what they cannot, or why there is nothing to call."""

    kind: Kind
    tests: tuple[str, ...] = ()
    why: str = ""


def runs(*tests: str) -> Block:
    return Block(Kind.RUNS, tests)


def partly(*tests: str, why: str) -> Block:
    return Block(Kind.PARTLY, tests, why)


def no_call(why: str) -> Block:
    return Block(Kind.NO_CALL, (), why)


CLIENT = runs("test_a_client_from_the_environment")
SIGNATURE = runs("test_documented_signatures")
SHAPE = runs("test_documented_reports")

RESOURCES = {
    *("datasets", "projects", "images", "annotations", "auto_annotate", "batch", "exports", "training"),
    *("models", "credits", "search", "connectors", "video", "organizations", "api_keys"),
}
OF_OTHERS = {
    "OpenAI": {"name", "instructions", "tools", "end", "flush"},
    "Dynamic discovery": {"headers", "description", "args_schema"},
}
"""Arguments of openai-agents, requests and LangChain, on the pages that show the SDK among them."""

INDEX: dict[str, list[Block]] = {
    "Agents": [
        runs("test_a_toolkit_from_the_environment"),
        runs("test_tools_for_the_model_providers"),
        partly(
            "test_tools_for_the_agent_sdks",
            why="To openai-agents it passes an argument (`params_json_schema`) that 0.24 does not know.",
        ),
    ],
    "Claude": [
        runs("test_a_conversation_with_claude"),
        runs("test_tools_for_the_agent_sdks"),
    ],
    "OpenAI": [
        runs("test_a_conversation_with_openai"),
        partly(
            "test_tools_for_the_agent_sdks",
            why="To openai-agents it passes an argument (`params_json_schema`) that 0.24 does not know.",
        ),
        no_call("Streams an answer of openai-agents; calls nothing of the SDK."),
    ],
    "Dynamic discovery": [
        runs("test_the_tools_address"),
        runs("test_a_tool_by_hand"),
        partly(
            "test_the_toolkits_schema",
            why="The SDK's own copy is a list; the address gives an object with `tools`, as documented.",
        ),
    ],
    "Workflows": [runs("test_the_full_pipeline"), runs("test_a_report_of_what_failed")],
    "Full pipeline": [
        runs("test_the_full_pipeline"),
        SIGNATURE,
        SHAPE,
        runs("test_the_full_pipeline_without_training"),
        runs("test_the_full_pipeline_without_annotation"),
        runs("test_the_full_pipeline_without_a_gate"),
    ],
    "Upload from folder": [
        runs("test_a_folder_is_uploaded"),
        SIGNATURE,
        runs("test_a_folder_uploaded_again_is_skipped"),
        runs("test_the_progress_of_a_folder"),
        SHAPE,
    ],
    "Auto-annotate a dataset": [
        runs("test_a_dataset_is_annotated"),
        SIGNATURE,
        runs("test_classes_three_ways"),
        partly(
            "test_what_is_annotated_is_skipped_or_done_again",
            why="`overwrite` is not sent: what models labelled is made anew, what people labelled stays.",
        ),
        SHAPE,
    ],
    "Train a model": [
        runs("test_a_model_is_trained_and_downloaded"),
        SIGNATURE,
        runs("test_a_training_is_polled"),
    ],
    "API reference": [CLIENT],
    "Datasets": [
        CLIENT,
        runs("test_datasets_are_listed"),
        runs("test_datasets_are_iterated"),
        runs("test_a_dataset_with_images"),
        runs("test_a_dataset_by_id"),
        runs("test_a_dataset_is_downloaded"),
        runs("test_projects_come_and_go"),
    ],
    "Images": [
        CLIENT,
        runs("test_an_image_is_uploaded_and_read"),
        runs("test_an_image_is_uploaded_and_read"),
        runs("test_an_image_is_downloaded"),
        runs("test_an_image_is_deleted"),
        runs("test_images_in_bulk"),
    ],
    "Annotations": [
        CLIENT,
        runs("test_annotations_are_read"),
        runs("test_annotations_are_saved"),
        runs("test_annotations_are_deleted"),
        runs("test_a_ring_of_one_point"),
    ],
    "Auto-annotate": [
        CLIENT,
        runs("test_a_point"),
        runs("test_a_box"),
        runs("test_words"),
        runs("test_a_batch"),
        runs("test_a_batch_is_polled"),
        runs("test_the_workflow_with_all_its_arguments"),
    ],
    "Models": [
        CLIENT,
        runs("test_models_are_listed"),
        runs("test_a_model_is_read_downloaded_and_deleted"),
        runs("test_a_model_is_read_downloaded_and_deleted"),
        runs("test_a_model_is_read_downloaded_and_deleted"),
        runs("test_a_model_runs_in_onnx_runtime"),
    ],
    "Credits": [
        CLIENT,
        runs("test_the_balance"),
        runs("test_the_history"),
        runs("test_the_ledger_is_iterated"),
        runs("test_an_estimate"),
        runs("test_a_gate_on_credits"),
        partly(
            "test_what_a_training_lacks",
            why="`name` is required by `training.create`; the error's fields are `credit_cost` and "
            "`credits_remaining`.",
        ),
    ],
    "Exports": [
        CLIENT,
        runs("test_an_export"),
        runs("test_exports_are_listed"),
        runs("test_an_export_is_read"),
        runs("test_an_export_is_downloaded"),
        runs("test_an_export_is_waited_for"),
        runs("test_an_export_is_deleted"),
    ],
    "Training": [
        CLIENT,
        runs("test_a_training_run"),
        runs("test_runs_are_listed"),
        runs("test_a_run_is_read_and_waited_for"),
        runs("test_a_run_is_cancelled"),
        runs("test_a_run_is_read_and_waited_for"),
        runs("test_enough_images_to_train"),
        runs("test_enough_credits_to_train"),
    ],
    "API keys": [
        CLIENT,
        runs("test_keys_are_listed"),
        partly("test_a_key_is_created", why="The secret is `api_key`; there is no `full_key`."),
        runs("test_a_key_is_read"),
        partly("test_a_key_is_updated", why="`update` takes neither `role` nor `expires_at`."),
        runs("test_a_key_is_deleted"),
    ],
    "Batch": [
        CLIENT,
        partly(
            "test_images_are_moved",
            why="The result has `processed` and `failed`, not `succeeded`, `failed_count`, `failures`.",
        ),
        runs("test_images_are_copied"),
        runs("test_images_are_deleted"),
        runs("test_images_are_updated"),
    ],
    "Search": [
        CLIENT,
        partly("test_search_by_similarity", why="A result's id is `id`, not `image_id`."),
        partly("test_search_by_tag", why="A result has `id` and `image_auto_tags`, not `image_id`, `tags`."),
    ],
    "Connectors": [
        CLIENT,
        runs("test_a_provider_is_validated"),
        runs("test_limits_of_an_import"),
        partly(
            "test_an_import",
            why="A dataset of a job has `name` and `imported`, not `dataset_name`, `images_imported`, "
            "`total_images`.",
        ),
        runs("test_an_import_is_polled_and_cancelled"),
    ],
    "Video": [
        CLIENT,
        partly(
            "test_a_video_is_uploaded",
            why="`upload` takes a path alone (`local_path`), and there is no `video_id`.",
        ),
        partly("test_a_video_is_probed", why="The rate is `native_fps`; there is no `codec`."),
        partly(
            "test_frames_are_extracted",
            why="`extract_frames` takes `dataset_name`, `folder_name`, `parent_folder_path`, `sample_fps`; "
            "no part of the video and no cap can be named.",
        ),
        runs("test_an_extraction_is_polled"),
    ],
    "Organizations": [
        CLIENT,
        runs("test_the_organization"),
        runs("test_members"),
        runs("test_members"),
        runs("test_members"),
        partly("test_invites", why="An invite has no `invite_url`."),
        partly("test_invites", why="`invite` takes no `expires_in_days`, and gives no `invite_url`."),
        runs("test_invites"),
    ],
    "Projects": [
        CLIENT,
        runs("test_projects_are_listed"),
        runs("test_a_project_with_classes"),
        runs("test_a_project_with_classes"),
        runs("test_a_project_is_changed"),
        runs("test_a_project_is_deleted"),
        runs("test_a_class_by_a_dict"),
    ],
    "Agent tool registry": [runs("test_the_toolkits_schema")],
    "Error handling": [
        runs("test_the_errors_there_are"),
        runs("test_a_client_with_limits"),
        partly(
            "test_what_a_training_lacks",
            why="`name` is required by `training.create`; the error's fields are `credit_cost` and "
            "`credits_remaining`.",
        ),
        partly(
            "test_an_annotation_that_is_none",
            why="The SDK calls a method of its models on a dict, so nothing is sent; the error's field is "
            "`field_errors`, not `errors`.",
        ),
        partly("test_a_training_that_outlasts_the_wait", why="The error carries no `run_id`."),
        partly("test_an_upload_under_a_key", why="`images.upload` takes no `idempotency_key`."),
    ],
    "Pictograph annotation format": [runs("test_annotations_are_saved")],
    "Rate limits": [
        runs("test_a_limit_says_when_to_come_again"),
        no_call("Sleeps between calls of the reader's own."),
    ],
    "Pictograph": [runs("test_the_full_pipeline")],
    "Installation": [runs("test_the_version")],
    "Quick start": [runs("test_a_client_from_the_environment"), runs("test_the_full_pipeline")],
    "Authentication": [CLIENT, runs("test_a_client_with_a_key")],
}


def document() -> Path | None:
    """The seed document, where it lies beside this repository or where ``TEST_SEEDS`` says."""
    told = os.environ.get("TEST_SEEDS")
    folder = Path(told) if told else Path(__file__).parents[3] / "shared" / "seeds"
    file = folder / "pictograph-docs.txt"
    return file if file.is_file() else None


def python_blocks(text: str) -> dict[str, list[str]]:
    """The Python blocks by page, in their order."""
    found: dict[str, list[str]] = {}
    page = ""
    for part in re.split(r"^(## Page: .+|```[a-z]*\n(?:.*\n)*?```)$", text, flags=re.MULTILINE):
        if part.startswith("## Page: "):
            page = part.removeprefix("## Page: ").strip()
        elif part.startswith("```python\n"):
            found.setdefault(page, []).append(part[len("```python\n") : -len("```")])
    return found


def calls_of(block: str) -> set[str]:
    """The SDK's methods that a block calls, such as ``datasets.list``."""
    called = re.findall(r"\bclient\.([a-z_]+\.[a-z_]+)\(", without_comments(block))
    return {call for call in called if call.split(".")[0] in RESOURCES}


def arguments_of(page: str, block: str) -> set[str]:
    """The names of the arguments that a block passes to the SDK."""
    passed = re.findall(r"(?:^|[(,]\s*)([a-z_]+)=(?!=)", without_comments(block), flags=re.MULTILINE)
    return set(passed) - OF_OTHERS.get(page, set())


def without_comments(block: str) -> str:
    return re.sub(r"#[^\n\"']*$", "", block, flags=re.MULTILINE)
