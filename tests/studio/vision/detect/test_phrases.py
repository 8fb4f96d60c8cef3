"""What a text prompt asks for."""

from __future__ import annotations

import pytest

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.detect.phrases import MAX_PHRASES, MAX_PROMPT, phrases_of

CLASSES = ["stop_sign", "Tiger", "bus", "glasses", "bread and butter", "berry"]


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("tiger", ["Tiger"]),
        ("tigers or a bus", ["Tiger", "bus"]),
        ("stop sign", ["stop_sign"]),
        ("all the stop signs, Buses; glasses", ["stop_sign", "bus", "glasses"]),
        ("bread and butter", ["bread and butter"]),
        ("berries", ["berry"]),
        ("red cars", ["red cars"]),
        ("a red car. a red car", ["red car"]),
        ("tiger\nelephant", ["Tiger", "elephant"]),
        ("orange and sand", ["orange", "sand"]),
        ("löwe, größe", ["löwe", "größe"]),
    ],
)
def test_labels_are_the_datasets_where_it_has_the_class(prompt, labels):
    assert [p.label for p in phrases_of(prompt, CLASSES)] == labels


def test_the_words_stay_as_they_were_said():
    assert [p.text for p in phrases_of("the stop signs or red cars", CLASSES)] == ["stop signs", "red cars"]


def test_an_exact_name_wins_over_one_that_differs_in_case():
    assert phrases_of("car", ["Car", "car"])[0].label == "car"


@pytest.mark.parametrize("prompt", ["", " \n ", ",", "or", "a" * (MAX_PROMPT + 1)])
def test_no_prompts(prompt):
    with pytest.raises(InvalidInput) as refused:
        phrases_of(prompt, CLASSES)
    assert refused.value.code == "invalid_prompt"


def test_the_longest_prompt_and_the_most_phrases_pass():
    assert phrases_of("a" * MAX_PROMPT, [])
    assert len(phrases_of(",".join(f"p{k}" for k in range(MAX_PHRASES)), [])) == MAX_PHRASES
    with pytest.raises(InvalidInput):
        phrases_of(",".join(f"p{k}" for k in range(MAX_PHRASES + 1)), [])
