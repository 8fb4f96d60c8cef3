"""The scenes that pictures are named after, in words that a text tower reads, and when a name is given.

Which scene a picture shows is asked of a model that compares pictures with sentences (SigLIP): every scene
is one sentence, and the model's own probability that sentence and picture belong together is the tag's
confidence. The vocabulary is kept to places and times that datasets are commonly sorted by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tintype_studio.vision.tags import Tag

TEMPLATE = "this is a photo of {}"
"""Lower case and without punctuation: both model families were trained on such text."""

THRESHOLD = 0.1
"""Least probability of a tag. The models are trained to tell a pair from tens of thousands of others, so
that even right names often stay below one half, and wrong ones lie near nothing."""

MOST = 5
"""Scenes of one picture, at most."""

SCENES: dict[str, str] = {
    "street": "a city street",
    "intersection": "a road intersection with traffic",
    "highway": "a highway",
    "country road": "a country road",
    "dirt road": "a dirt road",
    "crosswalk": "a pedestrian crosswalk",
    "sidewalk": "a sidewalk",
    "bridge": "a bridge",
    "tunnel": "the inside of a tunnel",
    "parking lot": "a parking lot",
    "parking garage": "an indoor parking garage",
    "gas station": "a gas station",
    "residential area": "a residential neighborhood with houses",
    "skyline": "a city skyline",
    "alley": "a narrow alley",
    "plaza": "a public square in a town",
    "market": "a street market with stalls",
    "construction site": "a construction site",
    "industrial plant": "an industrial plant",
    "power station": "a power station or electrical substation",
    "railway": "railway tracks",
    "train station": "a train station platform",
    "airport": "an airport apron with aircraft",
    "harbor": "a harbor with boats",
    "aerial view": "a landscape seen from the air",
    "satellite view": "the ground seen from a satellite",
    "park": "a city park",
    "garden": "a garden",
    "playground": "a playground",
    "sports field": "a sports field",
    "stadium": "a stadium with spectators",
    "swimming pool": "a swimming pool",
    "farmland": "farmland with crops",
    "orchard": "an orchard",
    "greenhouse": "the inside of a greenhouse",
    "pasture": "a pasture with grazing animals",
    "barn": "the inside of a barn",
    "forest": "a forest",
    "grassland": "grassland",
    "mountain": "mountains",
    "desert": "a desert",
    "beach": "a beach",
    "coast": "a rocky coast",
    "open sea": "the open sea",
    "underwater": "a scene under water",
    "lake": "a lake",
    "river": "a river",
    "waterfall": "a waterfall",
    "snowfield": "a landscape covered with snow",
    "sky": "the sky with clouds",
    "night scene": "an outdoor scene at night",
    "sunset": "a sunset or sunrise",
    "fog": "a foggy scene",
    "rain": "a rainy scene",
    "kitchen": "a kitchen",
    "living room": "a living room",
    "bedroom": "a bedroom",
    "bathroom": "a bathroom",
    "dining room": "a dining room",
    "office": "an office with desks",
    "meeting room": "a meeting room",
    "classroom": "a classroom",
    "library": "a library with bookshelves",
    "laboratory": "a laboratory",
    "hospital": "a hospital room",
    "corridor": "a corridor inside a building",
    "staircase": "a staircase",
    "store": "the inside of a store with shelves",
    "restaurant": "the inside of a restaurant",
    "gym": "a gym with fitness equipment",
    "church": "the inside of a church",
    "museum": "a museum gallery",
    "workshop": "a workshop with tools",
    "factory": "a factory floor with machines",
    "assembly line": "an assembly line",
    "warehouse": "a warehouse with storage racks",
    "vehicle interior": "the inside of a vehicle",
    "studio shot": "a product on a plain studio background",
    "microscopy": "a specimen under a microscope",
    "document": "a page of a document",
}
"""Every scene there is, and what it is called in the sentence."""

_OTHER_WORDS = {
    "road": "street",
    "motorway": "highway",
    "freeway": "highway",
    "car park": "parking lot",
    "parking": "parking lot",
    "woods": "forest",
    "woodland": "forest",
    "harbour": "harbor",
    "sea": "open sea",
    "ocean": "open sea",
    "night": "night scene",
    "hallway": "corridor",
    "supermarket": "store",
    "shop": "store",
    "petrol station": "gas station",
    "field": "farmland",
    "aerial": "aerial view",
    "satellite": "satellite view",
}


def known_scene(name: str) -> str:
    """A scene as it is stored: lower case, single spaces, and our word for common others."""
    plain = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    return _OTHER_WORDS.get(plain, plain)


def sentences() -> list[str]:
    """What the text tower reads, in the order of ``SCENES``."""
    return [TEMPLATE.format(words) for words in SCENES.values()]


def vocabulary_version() -> str:
    """Changes with whatever would give other tags."""
    return hashlib.sha256(repr((list(SCENES), sentences(), THRESHOLD, MOST)).encode()).hexdigest()


def scene_tags(probabilities: Sequence[float]) -> list[Tag]:
    """The scenes of one picture, likeliest first, from a probability for each of ``SCENES``."""
    likely = [(float(p), name) for p, name in zip(probabilities, SCENES, strict=True) if p >= THRESHOLD]
    likely.sort(key=lambda found: -found[0])
    return [Tag(name, round(p, 3)) for p, name in likely[:MOST]]
