"""What is drawn where NO_COLOR is set: no colour at all, so that the terminal's own hold, light or dark."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

FAR = 0.35
"""Of the brightness from black to white: what stands on a ground so far from the look's own is shown in reverse."""

GREY, QUIET = 40, 0.65
"""What is grey, by how far its channels are apart at most, and nearer to the ground than this, is dim."""

CODE = Style.parse("#ffffff on #000000")
"""A QR code, which would be the other way round on light terminals: its two colours are the code itself."""


class NoColour(LineFilter):
    """`dark` says whether the look is; letters that are bold, dim, struck or in reverse stay so."""

    def __init__(self, dark: Callable[[], bool]) -> None:
        super().__init__()
        self._dark = dark

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        dark = self._dark()
        return [Segment(text, _plain(style, dark) if style is not None else None) for text, style, _ in segments]


@lru_cache(1024)
def _plain(style: Style, dark: bool) -> Style:
    if (style.color, style.bgcolor) == (CODE.color, CODE.bgcolor):
        return style
    own = 0.0 if dark else 1.0
    far = abs(_colour(style.bgcolor, own).brightness - own) > FAR
    letters = _colour(style.color, 1 - own)
    grey = max(letters.rgb) - min(letters.rgb) < GREY and abs(letters.brightness - own) < QUIET
    return Style(
        bold=style.bold,
        dim=style.dim or (grey and not far),
        italic=style.italic,
        underline=style.underline,
        strike=style.strike,
        reverse=bool(style.reverse) != far,
        meta=style.meta or None,  # Textual asks it what is under the mouse
    )


def _colour(colour: RichColor | None, brightness: float) -> Color:
    """With the terminal's own as that bright."""
    if colour is None or colour.is_default:
        grey = round(brightness * 255)
        return Color(grey, grey, grey)
    return Color.from_rich_color(colour)
