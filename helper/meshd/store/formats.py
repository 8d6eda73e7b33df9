"""Numbered formats of what is stored. What an earlier release wrote is brought up step by step when it is read; what a
later one wrote is refused, and nothing is touched.

Fields may come without a new number: readers pass over those that they don't know, and have a value for those that are
missing. A new number is for what an earlier release must not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meshproto import VERSION

from meshd.model.errors import Failed

Document = dict[str, Any]

Step = Callable[[Document], Document]
"""From one format to the next. Once released it never changes; tests/samples has files of the format it starts from."""


class NewerFormat(Failed):
    """Raised when a later release wrote what is stored."""

    def __init__(self, what: object, found: int, known: int) -> None:
        super().__init__(
            f"{what} was written by a later release: it has format {found}, meshtui {VERSION} reads up to {known}",
            "install that release again; nothing was changed",
            "newer-format",
        )


def brought_up(document: object, what: object, steps: Sequence[Step] = ()) -> Document:
    """A JSON document with a `format`, in the newest, which is one more than there are steps; without its number.

    Raises NewerFormat, and ValueError when it has no number.
    """
    if not isinstance(document, dict) or type(number := document.get("format")) is not int or number < 1:
        raise ValueError("it does not say its format")
    newest = len(steps) + 1
    if number > newest:
        raise NewerFormat(what, number, newest)
    made = {key: value for key, value in document.items() if key != "format"}
    for step in steps[number - 1 :]:
        made = step(made)
    return made
