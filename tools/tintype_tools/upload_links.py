"""Links for files that are put over HTTP before a tool takes them up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.storage.uploads import LINK_SECONDS, Ticket
from tintype_tools.call import Call
from tintype_tools.spec import Args

UploadPath = Annotated[str, Field(description="upload_path that came with the link.", max_length=400)]


class IntoDataset(Args):
    """A dataset by name or by UUID."""

    dataset_name: Annotated[str | None, Field(description="The dataset's name, or dataset_id.")] = None
    dataset_id: Annotated[str | None, Field(description="The dataset's UUID.", max_length=80)] = None

    def dataset(self, call: Call) -> Dataset:
        """The dataset that is meant; ``InvalidInput`` unless it is named in one way."""
        if (self.dataset_name is None) == (self.dataset_id is None):
            raise InvalidInput(
                "Say either dataset_name or dataset_id.",
                code="invalid_selection",
                fix="Send one of the two.",
            )
        datasets = call.studio.datasets
        name = self.dataset_name
        if self.dataset_id is not None:
            name = datasets.name_of(call.principal, self.dataset_id)
        return datasets.get(call.principal, name or "")


def upload_link(call: Call, ticket: Ticket) -> str:
    """The absolute address to put a file to; ``Conflict`` where no HTTP server could take it."""
    if call.base_url is None:
        raise Conflict(
            "This caller reaches no HTTP server that a file could be put to.",
            code="no_http_server",
            fix="Use upload_image with a local path, or have the operator set TINTYPE_BASE_URL.",
        )
    return f"{call.base_url}/_upload/{ticket.token}"


def link_expires() -> datetime:
    """When a link that is made now stops working."""
    return clock.now() + timedelta(seconds=LINK_SECONDS)
