"""What a video is."""

from __future__ import annotations

from dataclasses import asdict

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.spec import Category, Effect, Result, ToolSpec
from tintype_tools.video_shapes import TOOLSET, VideoArgs


class ProbeVideoArgs(VideoArgs):
    """Which video."""


class ProbeVideoResult(Result):
    """A video. Pixels are those of the upright picture; ``native_fps`` is its average rate."""

    duration_seconds: float
    native_fps: float
    width: int
    height: int
    frame_count: int
    codec: str


def handle(args: ProbeVideoArgs, call: Call) -> ProbeVideoResult:
    """Open it in a child process."""
    source = args.source(call)
    found = call.studio.videos.probe(
        call.principal, upload=source.upload, local=source.local, check=call.check
    )
    return ProbeVideoResult(**asdict(found))


TOOL = ToolSpec(
    name="probe_video",
    title="Probe a video",
    category=Category.VIDEO,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when you need a video's length, frame rate, size or codec before you extract frames, or must "
        "know whether it can be read at all."
    ),
    args=ProbeVideoArgs,
    result=ProbeVideoResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
