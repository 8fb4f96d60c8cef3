"""Save a model's file locally."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import NotFound
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.local_writing import would_write, write_stored
from tintype_tools.model_card import FileFormat, ModelFile, ModelId, file_of
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DownloadModelArgs(Args):
    """Which model, and where to."""

    model_id: ModelId
    output_path: Annotated[str, Field(description="Local file to write, such as ./signs.onnx.")]
    format: Annotated[
        FileFormat,
        Field(description="onnx for inference; checkpoint: PyTorch weights; heads: ONNX for attributes."),
    ] = "onnx"


class DownloadModelResult(Result):
    """Where the file lies; where this server writes no local files, a URL to fetch it from instead. Size in
    bytes; its checksum was verified.
    """

    output_path: str | None = None
    format: FileFormat
    file_size: int
    sha256: str
    download_url: str | None = None


def plan(args: DownloadModelArgs, call: Call) -> Plan:
    """One file that would be written, unless it is there."""
    file = _file(args, call)
    if _only_url(file, call):
        return Plan((Affected("file.written", 0),), undoable=False)
    target = call.files.target(args.output_path)
    written = int(would_write(target, file.sha256))
    return Plan(
        (Affected("file.written", written, name=target.name, detail={"size": file.size}),), undoable=False
    )


def handle(args: DownloadModelArgs, call: Call) -> DownloadModelResult:
    """Write the file whole, or not at all; nothing that exists is replaced."""
    file, path = _file(args, call), None
    if not _only_url(file, call):
        target = call.files.target(args.output_path)
        write_stored(target, call.studio.blobs.stream(file.sha256), file.sha256, call.check)
        path = str(target)
    return DownloadModelResult(
        output_path=path,
        format=args.format,
        file_size=file.size,
        sha256=file.sha256,
        download_url=file.download_url if path is None else None,
    )


def _file(args: DownloadModelArgs, call: Call) -> ModelFile:
    model = call.studio.models.ready(call.principal, args.model_id)
    file = file_of(model, args.format, call)
    if args.format == "heads" and not model.attributes:
        raise NotFound(
            f"Model {model.name!r} {model.version} chooses no attributes, so it has no such file.",
            code="no_heads",
            fix="Train again on a dataset whose classes declare attributes (set_dataset_classes).",
        )
    if file is None or not call.studio.blobs.exists(file.sha256):
        raise NotFound(
            f"The {args.format} file of model {model.name!r} {model.version} is missing.",
            code="blob_missing",
            fix="Ask the operator to bring the blob back from a backup, or train the model again.",
        )
    return file


def _only_url(file: ModelFile, call: Call) -> bool:
    """Whether the caller gets a URL, because this server may write no file for it."""
    return not call.files.roots and file.download_url is not None


TOOL = ToolSpec(
    name="download_model",
    title="Download a model",
    category=Category.MODELS,
    toolset="models",
    core=False,
    description=(
        "Use when the user wants a trained model as a local file (ONNX, or the PyTorch checkpoint): its "
        "checksum is verified, and an existing file is never overwritten. Over the network, where this "
        "server may write no local files, it answers with a download_url instead."
    ),
    args=DownloadModelArgs,
    result=DownloadModelResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.WRITE,
    atomic=False,
    plan=plan,
    handler=handle,
)
