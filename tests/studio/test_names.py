"""Which names are taken, and in what form."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintype_studio.errors import InvalidInput
from tintype_studio.names import clean_folder, clean_name, json_problem, lookup_name, printable

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"

REFUSED = {
    "slash": "a/b",
    "backslash": "a\\b",
    "question mark": "a?b",
    "hash": "a#b",
    "percent": "a%20b",
    "dot": ".",
    "dot dot": "..",
    "empty": "",
    "blank": "   ",
    "no-break blank": "\u00a0\u3000",
    "zero width only": "\u200b\u200d",
    "leading space": " a",
    "trailing space": "a ",
    "trailing newline": "a\n",
    "tab": "a\tb",
    "null": "a\x00b",
    "delete": "a\x7fb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "lone high surrogate": "a\ud800b",
    "lone low surrogate": "a\udfffb",
    "too long": "a" * 121,
}

TAKEN = [
    "a",
    "A b",
    "..a",
    "a..",
    "...",
    "ключ",
    "交通标志",
    "👩‍🚒",
    "a'b\"c",
    "a&b=c;d",
    "a" * 120,
    "-",
    "_",
]


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED.keys())
def test_a_name_that_breaks_an_address_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        clean_name(name, "Dataset name")
    assert caught.value.code == "invalid_name"
    assert caught.value.fix


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED.keys())
def test_the_refusal_can_be_encoded(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        clean_name(name, "Dataset name")
    assert caught.value.message.encode().decode() == caught.value.message


@pytest.mark.parametrize("name", TAKEN)
def test_a_name_in_any_script_is_taken_as_it_is(name: str) -> None:
    assert clean_name(name, "Dataset name") == name


def test_two_spellings_of_one_name_become_one() -> None:
    assert clean_name(DECOMPOSED, "Name") == clean_name(COMPOSED, "Name") == COMPOSED


def test_the_length_is_that_of_the_composed_name() -> None:
    assert clean_name("e\u0301" * 120, "Name") == "\u00e9" * 120


@given(st.text(max_size=130))
def test_whatever_is_taken_is_composed_short_and_safe_in_an_address(name: str) -> None:
    try:
        cleaned = clean_name(name, "Name")
    except InvalidInput:
        return
    assert cleaned == unicodedata.normalize("NFC", cleaned)
    assert 0 < len(cleaned) <= 120
    assert not set(cleaned) & set("/\\?#%\n\r\t\x00")
    assert cleaned.encode()
    assert lookup_name(name) == cleaned


@pytest.mark.parametrize(
    ("folder", "cleaned"),
    [
        ("/", "/"),
        ("", "/"),
        ("stop", "/stop"),
        ("/stop/night/", "/stop/night"),
        ("//stop///night", "/stop/night"),
        (f"/{DECOMPOSED}", f"/{COMPOSED}"),
    ],
)
def test_a_folder_gets_one_form(folder: str, cleaned: str) -> None:
    assert clean_folder(folder) == cleaned


@pytest.mark.parametrize("folder", ["/a/../b", "/./a", "/a%2fb", "/a\ud800", "/a/ b", "/x" * 300])
def test_a_folder_with_a_bad_part_is_refused(folder: str) -> None:
    with pytest.raises(InvalidInput):
        clean_folder(folder)


@given(st.text(st.characters(codec=None)))
def test_printable_text_can_always_be_encoded(text: str) -> None:
    printable(text).encode()


def test_printable_changes_nothing_but_surrogates() -> None:
    assert printable("é\ud800ж") == "é?ж"


@pytest.mark.parametrize(
    "value", ["\ud800", {"\udc00": 1}, {"a": ["b", "\ud83d"]}, [{"a": ("x", "\udfff")}]], ids=repr
)
def test_a_surrogate_is_found_at_any_depth(value: object) -> None:
    assert json_problem(value)


@pytest.mark.parametrize("value", ["😀", {"a": ["é", 1, None, 2.5]}, [], 7], ids=repr)
def test_a_value_without_surrogates_passes(value: object) -> None:
    assert json_problem(value) is None
