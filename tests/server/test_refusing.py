"""A question that the user answers with no: taken back by confirm_call, it leads nowhere any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import ConfirmationRequired, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_tools.call import Outcome, Request


class Office:
    """A workspace whose owner asks to delete the dataset ``kept``, and other keys beside the owner's."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.key = str(runtime.local_api_key())
        self.owner: Principal = runtime.studio.keys.authenticate(self.key)
        runtime.studio.datasets.create(self.owner, name="kept")

    def call(self, tool: str, key: str | None = None, *, dry_run: bool = False, **arguments: Any) -> Outcome:
        files = everything(self.runtime.settings)
        who = key or self.key
        return self.runtime.dispatch(
            Request(tool=tool, arguments=arguments, api_key=who, door="mcp", files=files, dry_run=dry_run)
        )

    def question(self, key: str | None = None) -> dict[str, Any]:
        with pytest.raises(ConfirmationRequired) as asked:
            self.call("delete_dataset", key, name="kept")
        return {
            n: asked.value.details[n] for n in ("approval_id", "confirm_token") if n in asked.value.details
        }

    def code(self, **arguments: Any) -> str:
        with pytest.raises(TintypeError) as refused:
            self.call("confirm_call", **arguments)
        return refused.value.code

    @property
    def there(self) -> bool:
        return any(found.name == "kept" for found in self.runtime.studio.datasets.list(self.owner))


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path_factory.mktemp("office") / "home"))
    yield opened
    opened.close()


@pytest.fixture
def office(runtime: Runtime) -> Iterator[Office]:
    made = Office(runtime)
    yield made
    if made.there:
        runtime.studio.datasets.delete(made.owner, "kept")


@pytest.mark.parametrize("with_token", [True, False])
def test_a_question_taken_back_leads_nowhere(office: Office, with_token: bool) -> None:
    question = office.question()
    shown = question if with_token else {"approval_id": question["approval_id"]}
    for _ in range(2):  # saying no twice is no
        assert office.call("confirm_call", **shown, refuse=True).value["status"] == "refused"
    assert office.code(**question) == "confirmation_expired"
    assert office.there
    assert office.call("confirm_call", **office.question()).value["status"] == "done"  # asked anew
    assert not office.there


def test_a_no_after_the_yes_comes_too_late_and_says_so(office: Office) -> None:
    question = office.question()
    office.call("confirm_call", **question)
    assert office.code(**question, refuse=True) == "confirmation_used"


def test_a_persons_yes_can_be_left_unused(office: Office) -> None:
    key, _info = office.runtime.studio.keys.create(
        office.owner, name="held", role="owner", confirm_by="human"
    )
    question = office.question(key)
    assert set(question) == {"approval_id"}
    office.runtime.studio.approvals.decide(office.owner, question["approval_id"], approve=True)
    office.call("confirm_call", key, **question, refuse=True)
    with pytest.raises(TintypeError) as refused:
        office.call("confirm_call", key, **question)
    assert refused.value.code == "confirmation_expired"
    assert office.there


def test_nobody_answers_anothers_question(office: Office) -> None:
    question = office.question()
    other, _info = office.runtime.studio.keys.create(office.owner, name="other", role=Role.OWNER)
    with pytest.raises(TintypeError) as refused:
        office.call("confirm_call", other, **question, refuse=True)
    assert refused.value.code == "approval_not_found"
    assert office.call("confirm_call", **question).value["status"] == "done"


def test_a_rehearsed_no_changes_nothing(office: Office) -> None:
    question = office.question()
    told = office.call("confirm_call", dry_run=True, **question, refuse=True).value
    assert [each["kind"] for each in told["affected"]] == ["call.refused"]
    assert "take back the question about a call of 'delete_dataset'" in told["summary"]
    assert office.call("confirm_call", **question).value["status"] == "done"
