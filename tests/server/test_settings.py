"""Settings from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tintype_server.settings import DEFAULT_RESPONSE_TOKENS, Settings
from tintype_studio.errors import InvalidInput


def test_nothing_set_means_defaults() -> None:
    settings = Settings.from_env({})
    assert settings.home.name == "tintype"
    assert (settings.api_key, settings.roots, settings.toolsets) == (None, (), None)
    assert settings.max_response_tokens == DEFAULT_RESPONSE_TOKENS


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            "TINTYPE_HOME": "/srv/t",
            "TINTYPE_DATABASE_URL": "postgresql://x",
            "TINTYPE_BLOB_URL": "s3://bucket",
            "TINTYPE_API_KEY": "pk_live_x",
            "TINTYPE_ROOTS": os.pathsep.join(["/a", "/b"]),
            "TINTYPE_BASE_URL": "https://t.example/",
            "TINTYPE_MAX_RESPONSE_TOKENS": "100",
            "TINTYPE_TOOLSETS": "datasets, exports",
            "OTHER": "ignored",
        }
    )
    assert settings == Settings(
        home=Path("/srv/t"),
        database_url="postgresql://x",
        blob_url="s3://bucket",
        api_key="pk_live_x",
        roots=(Path("/a"), Path("/b")),
        base_url="https://t.example",
        max_response_tokens=100,
        toolsets=("datasets", "exports"),
    )


@pytest.mark.parametrize("env", [{"TINTYPE_ROOT": "/"}, {"TINTYPE_MAX_RESPONSE_TOKENS": "1.5"}])
def test_mistakes_are_told(env: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        Settings.from_env(env)
    assert raised.value.code == "invalid_setting"


def test_flags_win_and_roots_add_up() -> None:
    settings = Settings.from_env({"TINTYPE_HOME": "/a", "TINTYPE_ROOTS": "/r1"})
    changed = settings.overridden(home="/b", roots=["/r2"], max_response_tokens=0)
    assert (changed.home, changed.roots, changed.max_response_tokens) == (
        Path("/b"),
        (Path("/r1"), Path("/r2")),
        0,
    )


def test_toolsets_of_server_and_key_intersect() -> None:
    settings = Settings(home=Path("/x"), toolsets=("a", "b"))
    assert settings.offered_toolsets(None) == {"a", "b"}
    assert settings.offered_toolsets(frozenset({"b", "c"})) == {"b"}
    assert Settings(home=Path("/x")).offered_toolsets(None) is None


@pytest.mark.parametrize("value", ["--5", "-", "1e3", "5-", "+5", "٣", "1234567890", " 1 2 "])
def test_a_number_is_a_number(value: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Settings.from_env({"TINTYPE_MAX_RESPONSE_TOKENS": value})
    assert raised.value.code == "invalid_setting"


@pytest.mark.parametrize("value", ["-5", "0", " 100 ", "999999999"])
def test_numbers_are_taken(value: str) -> None:
    assert Settings.from_env({"TINTYPE_MAX_RESPONSE_TOKENS": value}).max_response_tokens == int(value)


@pytest.mark.parametrize("value", ["dataset", "datasets,exprots", "Datasets", ",", "datasets;exports"])
def test_an_unknown_toolset_is_told_with_the_known_ones(value: str) -> None:
    for make in (
        lambda: Settings.from_env({"TINTYPE_TOOLSETS": value}),
        lambda: Settings(home=Path("/x")).overridden(toolsets=value),
    ):
        with pytest.raises(InvalidInput) as raised:
            make()
        assert raised.value.code == "unknown_toolset"
        assert "annotations" in raised.value.fix


def test_a_users_folder_that_is_none_is_told() -> None:
    for make in (
        lambda: Settings.from_env({"TINTYPE_HOME": "~nobody-has-this-name/x"}),
        lambda: Settings(home=Path("/x")).overridden(roots=["~nobody-has-this-name/x"]),
    ):
        with pytest.raises(InvalidInput) as raised:
            make()
        assert raised.value.code == "invalid_setting"
