"""Lists the recipes that a caller can follow, and fills in their blanks."""

from __future__ import annotations

import mcp.types as t

from tintype_server.mcp.reads import Reader
from tintype_server.mcp.recipes import RECIPES, Recipe
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.names import printable

MAX_VALUE = 1000
"""Characters of a value that fills a blank."""


def offered(reader: Reader) -> list[Recipe]:
    """Recipes all of whose tools the caller may call."""
    return [recipe for recipe in RECIPES if all(reader.may_call(tool) for tool in recipe.tools)]


def listed(reader: Reader) -> list[t.Prompt]:
    """The offered recipes on the wire."""
    return [
        t.Prompt(
            name=recipe.name,
            title=recipe.title,
            description=recipe.description,
            arguments=[
                t.PromptArgument(name=a.name, description=a.description, required=a.required)
                for a in recipe.arguments
            ],
        )
        for recipe in offered(reader)
    ]


def find(reader: Reader, name: str) -> Recipe:
    """An offered recipe by its name. Raises ``NotFound``."""
    for recipe in offered(reader):
        if recipe.name == name:
            return recipe
    raise NotFound(
        f"There is no prompt {printable(name[:80])!r} for this key.",
        code="prompt_not_found",
        fix="List the prompts for those there are.",
    )


def filled(recipe: Recipe, values: dict[str, str]) -> t.GetPromptResult:
    """The recipe with its blanks filled in. Raises ``InvalidInput`` for a missing, unknown or long value."""
    known = {argument.name for argument in recipe.arguments}
    given = {name: printable(value.strip()) for name, value in values.items() if value.strip()}
    missing = [a.name for a in recipe.arguments if a.required and a.name not in given]
    unknown = sorted(set(values) - known)
    long = sorted(name for name, value in given.items() if len(value) > MAX_VALUE)
    problems = [
        *(f"{name} is missing" for name in missing),
        *(f"{printable(name[:40])!r} is not known" for name in unknown),
        *(f"{printable(name[:40])} has more than {MAX_VALUE} characters" for name in long),
    ]
    if problems:
        raise InvalidInput(
            f"The prompt {recipe.name} cannot be filled in: {'; '.join(problems)}.",
            code="invalid_arguments",
            fix=f"Its arguments: {', '.join(a.name for a in recipe.arguments) or 'none'}.",
        )
    text = t.TextContent(type="text", text=recipe.text(given))
    return t.GetPromptResult(
        description=recipe.description, messages=[t.PromptMessage(role="user", content=text)]
    )
