"""The price list, as data. Whole credits, after the seed's table."""

from __future__ import annotations

from dataclasses import dataclass

from tintype_studio.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Price:
    """Credits for one unit of an operation; a charge is never below ``minimum``."""

    credits_per_unit: int
    unit: str
    minimum: int = 0

    def total(self, quantity: int) -> int:
        """Credits for ``quantity`` units."""
        return max(self.credits_per_unit * quantity, self.minimum)


PRICES: dict[str, Price] = {
    "sam3_per_minute": Price(1, "prompt", minimum=3),
    "auto_annotate_prompt": Price(1, "prompt"),
    "auto_annotate_image": Price(1, "image"),
    "training_a10g_per_minute": Price(10, "minute"),
    "training_a100_per_minute": Price(60, "minute"),
    "training_h100_per_minute": Price(120, "minute"),
    "image_generate_imagen_fast": Price(5, "image"),
    "image_edit_gemini_flash": Price(3, "image"),
    "image_inference": Price(1, "image"),
    "video_inference_per_minute": Price(10, "minute"),
}


OTHER_NAMES: dict[str, str] = {
    "training_a10g": "training_a10g_per_minute",
    "training_a100": "training_a100_per_minute",
    "training_h100": "training_h100_per_minute",
    "sam3_auto_annotation": "sam3_per_minute",
}
"""What later versions of the documented SDK call the same."""


def price_of(operation: str) -> Price:
    """The price of an operation, or ``InvalidInput`` with the known slugs."""
    try:
        return PRICES[OTHER_NAMES.get(operation, operation)]
    except KeyError:
        raise InvalidInput(
            f"Operation {operation[:80]!r} is not in the price list.",
            code="unknown_operation",
            fix=f"Use one of: {', '.join(sorted(PRICES))}.",
        ) from None
