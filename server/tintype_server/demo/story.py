"""The demo's steps, in the order in which they are told."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from tintype_server.demo.agent import Agent, connect
from tintype_server.demo.pictures import PHOTOS, Labels
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.roles import Role

DATASET = "demo"
LABELLED_AT_MOST = 12
"""Pictures of a user's own folder that the demo labels; all are uploaded."""
SMALL_BUDGET = 300
"""Tokens; makes a short list overflow."""
LOG_WIDTH = 120
"""Columns when the output is not a terminal."""
MARKER = ".tintype-demo"


class Story:
    """Runs the main job and shows the guards at work."""

    def __init__(self, folder: Path | None, out: Path, console: Console) -> None:
        self._folder = (folder or PHOTOS).resolve()
        self._own_photos = folder is None
        self._out = out.resolve()
        self._home = self._out / "home"
        self._console = console
        self._labels = Labels(self._folder)
        self._images: list[dict[str, Any]] = []

    async def tell(self) -> int:
        """Tell it all; returns the exit code."""
        self._prepare()
        where = "six photographs that come with the package" if self._own_photos else str(self._folder)
        self._console.print(f"\n[bold]Tintype demo[/] on {where}\n")
        started = time.perf_counter()
        async with self._connect() as agent:
            tools = (await agent.client.list_tools()).tools
            self._console.print(
                f"An agent's client started `tintype mcp`, spoke MCP {agent.client.protocol_version} and saw "
                f"{len(tools)} tools after {time.perf_counter() - started:.2f} s.\n"
            )
            await self._upload(agent)
            await self._label(agent)
            await self._look(agent)
            await self._export(agent)
            await self._repeat(agent)
        await self._refused_role()
        await self._refused_spend()
        await self._cut_list()
        self._console.print(
            f"\n[bold green]Done.[/] Results: {self._out}\n"
            "  previews/   what the agent saw\n"
            "  demo-coco.zip, demo-yolo.zip   the labelled dataset, ready to train on\n"
            "  home/   the workspace (database and blobs)\n"
            "Next: add the server to your agent's host; the README has the snippets."
        )
        return 0

    def _prepare(self) -> None:
        """Start from an empty folder; only what an earlier demo left is removed."""
        if self._out.exists() and any(self._out.iterdir()) and not (self._out / MARKER).exists():
            raise InvalidInput(
                "The output folder is not empty and was not made by this demo.",
                code="folder_not_empty",
                fix="Choose another folder with --out.",
            )
        if not self._folder.is_dir():
            raise InvalidInput("There is no such folder of pictures.", code="folder_not_found")
        if self._out.exists():
            shutil.rmtree(self._out)
        (self._out / "previews").mkdir(parents=True)
        (self._out / MARKER).touch()

    def _connect(self, *flags: str) -> Any:
        return connect(self._console, self._home, folder=self._folder, working_folder=self._out, flags=flags)

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/]")

    async def _upload(self, agent: Agent) -> None:
        self._title("A folder of pictures becomes a dataset")
        await agent.call("create_dataset", {"name": DATASET}, key="demo-create")
        await agent.call_with_bar(
            "upload_dataset_from_folder", {"dataset_name": DATASET, "folder": str(self._folder)}
        )
        listed = await agent.call(
            "get_dataset", {"name": DATASET, "include_images": True, "images_limit": 1000}, quiet=True
        )
        self._images = listed.value["images"]
        if not self._images:
            raise InvalidInput("The folder holds no pictures that can be read.", code="no_pictures")

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
            suffix = "png" if answer.pictures[0].startswith(b"\x89PNG") else "jpg"
            name = Path(_place(image).replace("/", "-")).stem
            (self._out / "previews" / f"{name}.{suffix}").write_bytes(answer.pictures[0])

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

    async def _repeat(self, agent: Agent) -> None:
        self._title("Said twice, done once")
        await agent.call("create_dataset", {"name": DATASET}, key="demo-create")
        await agent.call("create_dataset", {"name": "another"}, key="demo-create")
        await agent.call("upload_dataset_from_folder", {"dataset_name": DATASET, "folder": str(self._folder)})

    async def _refused_role(self) -> None:
        self._title("A key that may only look cannot change anything")
        async with self._connect("--api-key", self._new_key("onlooker", Role.VIEWER)) as agent:
            await agent.call("list_datasets", {})
            await agent.call("create_dataset", {"name": "sneaky"})

    async def _refused_spend(self) -> None:
        self._title("A key with a cap of 1 credit spends 1 credit")
        key = self._new_key("thrifty", Role.MEMBER, credit_cap=1)
        async with self._connect("--api-key", key) as agent:
            image, prompt = next((i, p) for i in self._images for p in self._labels.of(i))
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
            answer = await agent.call("get_dataset", {"name": DATASET, "include_images": True}, quiet=True)
            shown = len(answer.value["images"])
            cuts = answer.value.get("_truncated", {}).get("cuts", [])
            agent.line(f"[bold cyan]→[/] get_dataset(name={DATASET!r}, include_images=true)")
            agent.line(f"[bold green]←[/] {shown} of {len(self._images)} images; _truncated: {cuts}")
            if not cuts:
                self._console.print("  [dim]So few pictures fit the budget; nothing had to be cut.[/]")
            while cuts:
                answer = await agent.call("read_more", {"cursor": cuts[0]["cursor"]}, quiet=True)
                shown += len(answer.value["items"])
                cuts = answer.value.get("_truncated", {}).get("cuts", [])
                agent.line("[bold cyan]→[/] read_more(cursor=…)")
                agent.line(
                    f"[bold green]←[/] {len(answer.value['items'])} more: {shown} of {len(self._images)}"
                )

    def _new_key(self, name: str, role: Role, *, credit_cap: int | None = None) -> str:
        studio = open_studio(Settings(home=self._home))
        try:
            owner = studio.keys.authenticate(saved_api_key(self._home))
            secret, _info = studio.keys.create(owner, name=name, role=role, credit_cap=credit_cap)
        finally:
            studio.close()
        return secret


def _place(image: dict[str, Any]) -> str:
    return f"{image['folder']}/{image['filename']}".lstrip("/")


async def tell(folder: Path | None, out: Path) -> int:
    """Run the demo on this terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH)
    return await Story(folder, out, console).tell()
