"""The demo's steps, in the order in which they are told."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from tintype_server.demo.agent import Agent, connect
from tintype_server.demo.pictures import PHOTOS, Labels, central
from tintype_server.demo.training import train
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.errors import InvalidInput
from tintype_studio.extras import install_command
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.roles import Role
from tintype_studio.names import printable
from tintype_studio.training.plan import EXTRA, missing_libraries

DATASET = "demo"
LABELLED_AT_MOST = 12
"""Pictures of a user's own folder that the demo labels; all are uploaded."""
SMALL_BUDGET = 300
"""Tokens; makes a short list overflow."""
LOG_WIDTH = 120
"""Columns when the output is not a terminal."""
MARKER = ".tintype-demo"
MADE = ("home", "previews", "signs", f"{DATASET}-coco.zip", f"{DATASET}-yolo.zip")
"""What a run leaves in the output folder and the next one removes; everything else there stays."""
PREVIEW_STEM = 60
"""Characters of a preview's file name at most, so that a long folder name does not make it too long."""


class Story:
    """Runs the main job and shows the guards at work."""

    def __init__(self, folder: Path | None, out: Path, console: Console) -> None:
        # Not Path.resolve: before Python 3.13 it raises RuntimeError on a link that leads to itself.
        self._folder = Path(os.path.realpath(folder or PHOTOS))
        self._own_photos = folder is None
        self._out = Path(os.path.realpath(out))
        self._home = self._out / "home"
        self._console = console
        self._labels = Labels(self._folder)
        self._images: list[dict[str, Any]] = []

    async def tell(self) -> int:
        """Tell it all; returns the exit code."""
        try:
            self._prepare()
        except OSError as error:
            raise _unusable(error) from error
        where = "six photographs that come with the package" if self._own_photos else _shown(self._folder)
        self._console.print(f"\n[bold]Tintype demo[/] on {where}\n")
        started = time.perf_counter()
        async with self._connect() as agent:
            tools = (await agent.client.list_tools()).tools
            self._console.print(
                f"An agent's client started `tintype mcp`, spoke MCP {agent.client.protocol_version} and saw "
                f"{len(tools)} tools after {time.perf_counter() - started:.2f} s.\n"
            )
            await self._upload(agent)
            # Before any preview is written: the output folder may lie inside the folder of pictures.
            await self._repeat(agent)
            await self._confirm_and_undo(agent)
            await self._label(agent)
            await self._look(agent)
            await self._export(agent)
        if self._own_photos:
            await self._train()
        await self._refused_role()
        await self._refused_spend()
        await self._cut_list()
        signs = "  signs/   the drawn pictures that the model learned from\n"
        self._console.print(
            f"\n[bold green]Done.[/] Results: {_shown(self._out)}\n"
            "  previews/   what the agent saw\n"
            "  demo-coco.zip, demo-yolo.zip   the labelled dataset, ready to train on\n"
            f"{signs if (self._out / 'signs').is_dir() else ''}"
            "  home/   the workspace (database and blobs)\n"
            "Next: add the server to your agent's host; the README has the snippets."
        )
        return 0

    def _prepare(self) -> None:
        """Check the folders, then take away what an earlier demo made, and nothing else."""
        if not self._folder.is_dir():
            raise InvalidInput(
                "There is no such folder of pictures.",
                code="folder_not_found",
                fix="Check the path; without one, the demo uses photographs of its own.",
            )
        if self._out.exists():
            self._check_out()
        for name in MADE:
            _remove(self._out / name)
        (self._out / "previews").mkdir(parents=True)
        (self._out / MARKER).touch()

    def _check_out(self) -> None:
        # Compared as files, because one folder can have two names (by letter case, by a mount).
        if any(place.samefile(self._out) for place in (self._folder, *self._folder.parents)):
            raise InvalidInput(
                "The folder of pictures lies inside the output folder, where the demo removes what it made.",
                code="folder_inside_output",
                fix="Choose another output folder with --out, or move the pictures elsewhere.",
            )
        if any(self._out.iterdir()) and not (self._out / MARKER).exists():
            raise InvalidInput(
                "The output folder is not empty and was not made by this demo.",
                code="folder_not_empty",
                fix="Choose another folder with --out.",
            )

    def _connect(self, *flags: str) -> Any:
        # An agent's client checks answers against the tools that it was shown.
        shown = ("--toolsets", "all", *flags)
        return connect(self._console, self._home, folder=self._folder, working_folder=self._out, flags=shown)

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/]")

    async def _upload(self, agent: Agent) -> None:
        self._title("A folder of pictures becomes a dataset")
        await agent.call("create_dataset", {"name": DATASET}, key="demo-create")
        await agent.call_with_bar(
            "upload_dataset_from_folder", {"dataset_name": DATASET, "folder": str(self._folder)}
        )
        listed = await agent.need(
            "get_dataset", {"name": DATASET, "include_images": True, "images_limit": 1000}
        )
        self._images = listed["images"]
        if not self._images:
            raise InvalidInput(
                "The folder holds no pictures that can be read.",
                code="no_pictures",
                fix="Name a folder with JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC files.",
            )

    async def _label(self, agent: Agent) -> None:
        self._title("It is labelled: rough boxes become outlines, and are saved")
        if not self._labels.are_given:
            self._console.print(
                "  [dim]Nobody pointed out the objects in this folder, so the demo points at the middle of "
                "each picture and calls it 'object'. An agent with eyes would look with preview_image.[/dim]"
            )
        for number, image in enumerate(self._images[:LABELLED_AT_MOST]):
            quiet = number > 0
            annotations: list[dict[str, Any]] = []
            for prompt in self._labels.of(image):
                answer = await agent.call(
                    "auto_annotate_box",
                    {
                        "dataset_name": DATASET,
                        "image_filename": _place(image),
                        "box": prompt.box,
                        "name": prompt.name,
                        "confidence_threshold": 0.0,
                    },
                    quiet=quiet,
                )
                annotations += answer.value.get("annotations", [])
            await agent.call(
                "save_annotations", {"image_uuid": image["id"], "annotations": annotations}, quiet=quiet
            )
        left = len(self._images[:LABELLED_AT_MOST]) - 1
        if left:
            self._console.print(f"  [dim]… and the same for {left} more pictures[/dim]")
        await agent.call("get_credit_balance", {})

    async def _look(self, agent: Agent) -> None:
        self._title("The agent checks its labels with its own eyes")
        for number, image in enumerate(self._images[:LABELLED_AT_MOST]):
            answer = await agent.call(
                "preview_image", {"image_uuid": image["id"], "max_side": 640}, quiet=number > 0
            )
            name = Path(_place(image).replace("/", "-")).stem[-PREVIEW_STEM:]
            for picture in answer.pictures:
                suffix = "png" if picture.startswith(b"\x89PNG") else "jpg"
                (self._out / "previews" / f"{name}.{suffix}").write_bytes(picture)

    async def _export(self, agent: Agent) -> None:
        self._title("It is exported")
        for format in ("coco", "yolo"):
            await agent.call(
                "create_export",
                {"dataset_name": DATASET, "name": f"{DATASET}-{format}", "format": format},
            )
            await agent.call(
                "download_export",
                {
                    "dataset_name": DATASET,
                    "export_name": f"{DATASET}-{format}",
                    "output_path": f"{DATASET}-{format}.zip",
                },
            )

    async def _train(self) -> None:
        self._title("Labelled pictures become a model, which finds what it has never seen")
        if missing_libraries():
            self._console.print(
                "  [dim]Training needs PyTorch, which is not installed. To see it: "
                f"{escape(install_command(EXTRA))}, then run the demo again.[/dim]"
            )
            return
        async with self._connect("--root", str(self._out)) as agent:
            await train(agent, self._console, self._out / "signs", self._out / "previews")

    async def _repeat(self, agent: Agent) -> None:
        self._title("Said twice, done once")
        await agent.call("create_dataset", {"name": DATASET}, key="demo-create")
        await agent.call("create_dataset", {"name": "another"}, key="demo-create")
        await agent.call("upload_dataset_from_folder", {"dataset_name": DATASET, "folder": str(self._folder)})

    async def _confirm_and_undo(self, agent: Agent) -> None:
        self._title("A deletion asks first, and can be taken back")
        target = {"name": DATASET}
        await agent.call("preview_call", {"tool": "delete_dataset", "arguments": json.dumps(target)})
        refused = await agent.call("delete_dataset", target)
        question = refused.value["error"]["details"]
        await agent.call(
            "confirm_call",
            {"approval_id": question["approval_id"], "confirm_token": question["confirm_token"]},
        )
        deleted = await agent.call("list_deleted", {})
        await agent.call("undo_call", {"call_id": deleted.value["deleted"][0]["call_id"]})

    async def _refused_role(self) -> None:
        self._title("A key that may only look cannot change anything")
        async with self._connect("--api-key", self._new_key("onlooker", Role.VIEWER)) as agent:
            await agent.call("list_datasets", {})
            await agent.call("create_dataset", {"name": "sneaky"})

    async def _refused_spend(self) -> None:
        self._title("A key with a cap of 1 credit spends 1 credit")
        key = self._new_key("thrifty", Role.MEMBER, credit_cap=1)
        async with self._connect("--api-key", key) as agent:
            pointed_out = ((image, prompt) for image in self._images for prompt in self._labels.of(image))
            image, prompt = next(pointed_out, (self._images[0], central(self._images[0])))
            arguments = {
                "dataset_name": DATASET,
                "image_filename": _place(image),
                "box": prompt.box,
                "name": "object",
                "confidence_threshold": 0.0,
            }
            await agent.call("auto_annotate_box", arguments)
            await agent.call("auto_annotate_box", arguments)

    async def _cut_list(self) -> None:
        self._title(
            f"An answer over the budget ({SMALL_BUDGET} tokens here) is cut, and nothing of it is lost"
        )
        async with self._connect("--max-response-tokens", str(SMALL_BUDGET)) as agent:
            answer = await agent.need("get_dataset", {"name": DATASET, "include_images": True})
            shown = len(answer["images"])
            cuts = answer.get("_truncated", {}).get("cuts", [])
            agent.line(f"[bold cyan]→[/] get_dataset(name={DATASET!r}, include_images=true)")
            agent.line(
                f"[bold green]←[/] {shown} of {len(self._images)} images; _truncated: {escape(str(cuts))}"
            )
            if not cuts:
                self._console.print("  [dim]So few pictures fit the budget; nothing had to be cut.[/]")
            while cuts:
                answer = await agent.need("read_more", {"cursor": cuts[0]["cursor"]})
                shown += len(answer["items"])
                cuts = answer.get("_truncated", {}).get("cuts", [])
                agent.line("[bold cyan]→[/] read_more(cursor=…)")
                agent.line(f"[bold green]←[/] {len(answer['items'])} more: {shown} of {len(self._images)}")

    def _new_key(self, name: str, role: Role, *, credit_cap: int | None = None) -> str:
        studio = open_studio(Settings(home=self._home))
        try:
            owner = studio.keys.authenticate(saved_api_key(self._home))
            secret, _info = studio.keys.create(owner, name=name, role=role, credit_cap=credit_cap)
        finally:
            studio.close()
        return secret


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unusable(error: OSError) -> InvalidInput:
    return InvalidInput(
        f"The output folder cannot be used: {error.strerror or type(error).__name__}.",
        code="output_unusable",
        fix="Name a folder that you may write to with --out.",
    )


def _shown(path: Path) -> str:
    return escape(printable(str(path)))


def _place(image: dict[str, Any]) -> str:
    return f"{image['folder']}/{image['filename']}".lstrip("/")


async def tell(folder: Path | None, out: Path) -> int:
    """Run the demo on this terminal."""
    # A file name such as a:car:.jpg must not turn into a picture of a car.
    console = Console(emoji=False)
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH, emoji=False)
    return await Story(folder, out, console).tell()
