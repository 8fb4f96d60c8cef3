"""What the command line says to a person who slipped: commands for tools, and what may have been meant."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from types import CodeType

import click
import pytest
from support.cli import Cli

from tintype_server.cli.main import COMMANDS, load_command
from tintype_server.cli.tool_commands import in_commands, marked_commands
from tintype_tools.snapshot import load_snapshot

TOOLS = {tool["name"] for tool in load_snapshot()["tools"]}
BOX = {"id": "1", "name": "a", "bounding_box": {"x": 1, "y": 1, "w": 5, "h": 5}}
FAR = {"id": "2", "name": "b", "bounding_box": {"x": 5000, "y": 1, "w": 5, "h": 5}}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def _constants(code: CodeType) -> set[str]:
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {c for c in code.co_consts if isinstance(c, str)}.union(*map(_constants, inner))


def _functions() -> dict[str, click.Command]:
    groups = {name: load_command(name) for name in COMMANDS if name != "call"}
    return {
        f"tintype {name} {verb}": command
        for name, group in groups.items()
        if isinstance(group, click.Group)
        for verb, command in group.commands.items()
    }


# ------------------------------------------------------------------------------- tools and their commands


def test_commands_say_which_tool_they_are_and_call_it() -> None:
    assert set(marked_commands()) <= TOOLS
    assert len(marked_commands()) > 35
    for path, command in _functions().items():
        function = command.callback
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        assert function is not None
        called = TOOLS & _constants(function.__code__)
        tool = getattr(command.callback, "tool", None)
        assert not called or tool in called or called <= set(marked_commands()) | {"get_image"}, path


def test_every_tool_has_one_command() -> None:
    marks = [mark for c in _functions().values() if (mark := getattr(c.callback, "tool", None))]
    assert len(marks) == len(set(marks))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Call list_datasets to see them.", "Run `tintype datasets list` to see them."),
        ("x; call set_dataset_classes.", "x; run `tintype call set_dataset_classes`."),
        (
            "with get_dataset or upload_image",
            "with `tintype datasets get NAME` or `tintype images upload DATASET FILE`",
        ),
        ("No tool is named 'list_datasets'.", "No tool is named 'list_datasets'."),
        ("`tintype call list_datasets`", "`tintype call list_datasets`"),
        (
            "my_list_datasets, list_datasets_x, /list_datasets",
            "my_list_datasets, list_datasets_x, /list_datasets",
        ),
    ],
)
def test_sentences_speak_of_commands(text: str, told: str) -> None:
    assert in_commands(text) == told


def test_refusals_name_the_command(cli: Cli) -> None:
    cli.ok("datasets", "create", "road-signs")
    lines = cli.refused("dataset_not_found", "datasets", "get", "Road-Sign")
    assert lines[-1] == (
        "fix: Did you mean 'road-signs'? Names are case-sensitive; run `tintype datasets list` to see them."
    )
    result = cli.run("--json-errors", "datasets", "get", "zzz")
    error = json.loads(result.stderr)["error"]
    assert error["fix"] == "Names are case-sensitive; run `tintype datasets list` to see them."
    assert "details" not in error


# ----------------------------------------------------------------------------------------- what was meant


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["dataset", "list"], "Did you mean `tintype datasets`?"),
        (["datasets", "lst"], "Did you mean `tintype datasets list`?"),
        (["list_datasets"], "Did you mean `tintype datasets list`?"),
        (["list-datasets"], "Did you mean `tintype datasets list`?"),
        (["set_dataset_classes"], "Did you mean `tintype call set_dataset_classes`?"),
        (["upload"], "Did you mean `tintype datasets upload` or `tintype images upload`?"),
        (["images", "zap"], "There are: delete, download, list, upload."),
        (["datasets", "get", "x", "--jso"], "Did you mean '--json'?"),
        (["call", "get_dataset", "--nam", "x"], "Did you mean '--name'?"),
        (
            ["call", "get_dataset", "--zzz", "x"],
            "There are: --name, --include-images, --images-limit, --args, ",
        ),
    ],
)
def test_what_is_unknown_is_answered_with_what_there_is(cli: Cli, words: list[str], advice: str) -> None:
    result = cli.run(*words)
    assert result.exit_code == 2
    assert advice in result.stderr


# ------------------------------------------------------------------------------------- options of the tools


def test_lists_take_words_and_options_their_first_words(cli: Cli, folder_of_pictures: Path) -> None:
    cli.ok("datasets", "upload", "road", str(folder_of_pictures))
    image = cli.json("images", "list", "road")[0]["id"]
    cli.ok("call", "save_annotations", "--image", image, "--annotations", json.dumps([BOX]))
    for words in (["a"], ["x,a"], ["x", "--objects", "a"], ['["a"]'], ["x", "--objects", '["a", "b,c"]']):
        found = cli.ok("call", "search_by_tag", "--dataset", "road", "--objects", *words)
        assert json.loads(found)["total"] == 1, words
    assert json.loads(cli.ok("call", "search_by_tag", "--dataset", "road", "--objects", "x"))["total"] == 0
    for broken in ("[a", '"a'):
        result = cli.run("call", "search_by_tag", "--dataset", "road", "--objects", broken)
        assert (result.exit_code, "--objects is not valid JSON" in result.stderr) == (2, True)


def test_a_short_name_that_could_mean_two_options_is_none() -> None:
    from tintype_server.cli.tool_options import options_of

    schema = {"properties": {name: {"type": "string"} for name in ("dataset_name", "dataset_id", "max_side")}}
    flags = {option.name: option.opts for option in options_of(schema, ["max_response_tokens"])}
    assert flags == {
        "dataset_name": ["--dataset-name"],
        "dataset_id": ["--dataset-id"],
        "max_side": ["--max-side"],
    }


def test_numbers_in_lists_are_numbers() -> None:
    from tintype_server.cli.tool_options import arguments_of

    properties = {"sizes": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "integer"}}]}}
    assert arguments_of(properties, {"args": None, "sizes": ("1, 2", "[3]")}) == {"sizes": [1, 2, 3]}
    with pytest.raises(click.UsageError, match="--sizes 'x' is not valid JSON"):
        arguments_of(properties, {"args": None, "sizes": ("1,x",)})


def test_an_unknown_tool_is_answered_with_calls_of_close_ones(cli: Cli) -> None:
    lines = cli.refused("unknown_tool", "call", "list_datasetz")
    assert lines[-1].startswith("fix: Did you mean `tintype call list_datasets` or ")
    lines = cli.refused("invalid_arguments", "call", "get_dataset", "--args", '{"x": 1}')
    assert lines[-1] == "fix: `tintype call get_dataset` takes: name, include_images, images_limit."


def test_answers_are_shown_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    from tintype_server.cli.showing import show

    show({"total_size": 2053, "job": {"status": "done", "ended": True}, "left": None})
    assert capsys.readouterr().out == "total_size  2.1 kB\njob status  done\njob ended   yes\n"


def test_wrong_arguments_are_told_by_their_options(cli: Cli) -> None:
    lines = cli.refused("invalid_arguments", "call", "list_dataset_files", "--limit", "x")
    assert lines[-2].startswith("error: Invalid arguments: --dataset-name: Field required; --limit: ")


# ---------------------------------------------------------------------------------------- files and folders


def test_an_upload_tells_what_it_passed_over(cli: Cli, folder_of_pictures: Path) -> None:
    (folder_of_pictures / "notes.txt").write_text("x")
    answer = cli.json("datasets", "upload", "road", str(folder_of_pictures))
    assert (answer["files_ignored"], answer["ignored_examples"]) == (1, ["notes.txt"])
    assert "ignored_examples  notes.txt" in cli.ok("datasets", "upload", "road", str(folder_of_pictures))


def test_a_folder_without_a_picture_is_an_error_and_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(b"x")
    for how in ((), ("--dry-run",)):
        lines = cli.refused("no_pictures", "datasets", "upload", "road", str(folder), *how)
        assert "a.pdf" in lines[-2]
    assert cli.json("datasets", "list") == []


def test_a_file_in_place_of_a_folder_is_told_apart(cli: Cli, folder_of_pictures: Path) -> None:
    picture = folder_of_pictures / "a.jpg"
    cli.ok("datasets", "create", "road")
    image = cli.json("images", "upload", "road", str(picture))["id"]
    for code, words, told in (
        ("folder_not_found", ["datasets", "upload", "road", str(picture)], "is a file, not a folder"),
        ("file_not_found", ["images", "upload", "road", str(folder_of_pictures)], "is a folder, not a file"),
        (
            "file_not_found",
            ["annotations", "save", image, "-f", str(folder_of_pictures)],
            "is a folder, not a file",
        ),
        (
            "invalid_path",
            ["images", "download", image, "-o", str(folder_of_pictures)],
            "is a folder, not a file",
        ),
    ):
        assert told in cli.refused(code, *words)[-2]


def test_what_lies_outside_the_picture_is_a_warning(
    cli: Cli, folder_of_pictures: Path, tmp_path: Path
) -> None:
    cli.ok("datasets", "upload", "road", str(folder_of_pictures))
    image = cli.json("images", "list", "road")[0]["id"]
    file = tmp_path / "anns.json"
    file.write_text(json.dumps([BOX, FAR]))
    result = cli.run("annotations", "save", image, "--file", str(file))
    assert result.exit_code == 0
    warning, fix = result.stderr.splitlines()
    assert warning.startswith("warning: The bbox of 'b' at x 5000, y 1 (5 x 5) lies wholly outside")
    assert fix.startswith("fix: ")
    saved = cli.json("annotations", "save", image, "--file", str(file))
    assert [(w["index"], w["id"], w["code"]) for w in saved["warnings"]] == [(1, "2", "outside_image")]


def test_the_help_of_save_shows_annotations_that_are_right(cli: Cli) -> None:
    from tintype_studio.annotations.geometry import AnnotationList

    text = cli.ok("annotations", "save", "--help")
    example = re.search(r"\[\{.*\}\]\n", text, re.DOTALL)
    assert example is not None
    assert len(AnnotationList.model_validate({"annotations": json.loads(example[0])}).annotations) == 3


# ------------------------------------------------------------------------------------------------ questions


def test_a_refusal_says_how_to_answer_and_the_answer_counts(cli: Cli) -> None:
    cli.ok("datasets", "create", "road")
    lines = cli.refused("confirmation_required", "datasets", "delete", "road")
    assert "It would delete the dataset 'road' (0 images, 0 annotations)." in lines[-2]
    approve = re.search(r"`tintype (approvals approve \S+)`", lines[-1])
    assert approve is not None
    cli.ok(*approve[1].split())
    cli.ok("datasets", "delete", "road")
    assert cli.ok("approvals", "list") == ""


def test_a_no_at_the_terminal_leaves_nothing_that_waits(cli: Cli) -> None:
    cli.ok("datasets", "create", "road")
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")
    command = [sys.executable, "-m", "tintype_server", "--home", str(cli.home), "datasets", "delete", "road"]
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, "(approval_denied)" in done.stderr) == (1, True)
    assert cli.json("approvals", "list") == []


def test_where_only_a_person_counts_the_same_command_goes_on_after_the_yes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("datasets", "create", "road")
    monkeypatch.setenv("TINTYPE_CONFIRM_BY", "human")
    lines = cli.refused("confirmation_required", "datasets", "delete", "road", "--yes")
    assert lines[-1].endswith("Then run the same command again.")
    approval = cli.json("approvals", "list")[0]["id"]
    assert f"`tintype approvals approve {approval}`" in lines[-1]
