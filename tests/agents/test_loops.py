"""The examples, run with the real SDKs against a provider of ours: whole loops, here and over the wire."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.agent_stub import Call, Result, Stub
from support.agents import EXAMPLES, installed, run_script

pytestmark = pytest.mark.sdk

LOOPS = ("anthropic_messages", "openai_responses", "openai_agents", "claude_agent")


@pytest.fixture(scope="module", autouse=True)
def _sdks() -> None:
    installed()


def look_and_delete(turns: list[list[Result]]) -> list[Call] | str:
    """A model that looks around, errs, and wants to throw something away."""
    match len(turns):
        case 0:
            return [Call("list_datasets", {}), Call("get_credit_balance", {})]
        case 1:
            assert [d["name"] for d in turns[0][0].value["datasets"]] == ["street"]
            assert "balance" in str(turns[0][1].value)
            return [
                Call("get_dataset", {"name": "street", "include_images": True, "images_limit": 5}),
                Call("get_dataset", {"name": "Street"}),
            ]
        case 2:
            found, missed = turns[1]
            assert missed.is_error
            assert missed.value["error"]["code"] == "dataset_not_found"
            assert missed.value["error"]["fix"]
            image = found.value["images"][0]["id"]
            return [Call("preview_image", {"image_uuid": image, "max_side": 128})]
        case 3:
            [shown] = turns[2]
            assert not shown.is_error
            assert shown.pictures == ((128, 96),)
            return [Call("delete_dataset", {"name": "street"})]
        case _:
            [refused] = turns[3]
            assert refused.is_error
            return f"one dataset; {refused.value['error']['code']}"


def env_of(place: object, provider: Stub, where: str) -> dict[str, str]:
    env = {
        "ANTHROPIC_BASE_URL": provider.url,
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "TINTYPE_API_KEY": place.key,  # type: ignore[attr-defined]
        "TINTYPE_HOME": str(place.home),  # type: ignore[attr-defined]
    }
    return env | ({"TINTYPE_URL": place.url} if where == "remote" else {})  # type: ignore[attr-defined]


def wider(example: str) -> str:
    """An example that shows its model more than the core tools."""
    text = (EXAMPLES / f"{example}.py").read_text()
    assert text.count("confirm=ask)") == 1
    return text.replace("confirm=ask)", 'confirm=ask, toolsets=["datasets", "images", "credits"])')


@pytest.mark.parametrize("where", ["remote", "here"])
@pytest.mark.parametrize("example", LOOPS)
def test_a_whole_loop(example: str, where: str, place: object, provider: Stub, tmp_path: Path) -> None:
    provider.story = look_and_delete
    run = run_script(
        wider(example),
        "What do I have?",
        home=tmp_path,
        answers="n\n",
        **env_of(place, provider, where),
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "Go on? [y/N]" in run.stdout, "nobody was asked"
    assert run.stdout.strip().endswith("one dataset; approval_denied"), run.stdout
    assert len(provider.requests) >= 5
