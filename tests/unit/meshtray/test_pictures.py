"""The pictures: made by their program, read without a library, telling states apart without colours."""

from __future__ import annotations

import runpy
from itertools import combinations
from pathlib import Path

import pytest
from meshtray import pictures
from meshtray.values import Icon
from PIL import Image

TOP = Path(__file__).resolve().parents[3]
GENERATOR = runpy.run_path(str(TOP / "packaging" / "generate-icons"))
NAMES = [f"{one.value}{suffix}" for one in Icon for suffix in ("", "-symbolic")]


def test_the_files_are_up_to_date() -> None:
    folder = pictures.THEMES
    made = GENERATOR["files"]()
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == set(made)
    assert [name for name, data in made.items() if (folder / name).read_bytes() != data] == []


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_those_of_the_file(name: str) -> None:
    for pixmap in pictures.pixmaps(name):
        with Image.open(pictures.path(name, pixmap.width)) as image:
            alpha, red, green, blue = (Image.frombytes("L", image.size, pixmap.argb[at::4]) for at in range(4))
            assert Image.merge("RGBA", (red, green, blue, alpha)).tobytes() == image.convert("RGBA").tobytes()


@pytest.mark.parametrize("size", pictures.SIZES)
def test_shapes_differ_without_colours(size: int) -> None:
    """At least one pixel in twenty is covered in the one picture and not in the other."""
    covered = {}
    for one in Icon:
        with Image.open(pictures.path(f"{one.value}-symbolic", size)) as image:
            covered[one] = [value > 127 for value in image.getchannel("A").tobytes()]
    for left, right in combinations(Icon, 2):
        differing = sum(a != b for a, b in zip(covered[left], covered[right], strict=True))
        assert differing >= size * size / 20, (left, right)


PANELS = {"white": "#ffffff", "Adwaita's": "#f6f5f4", "dark": "#2b2e33", "black": "#000000"}


def luminance(colour: str) -> float:
    """WCAG 2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("colour", ["GREEN", "AMBER", "GREY", "BLUE", "SYMBOLIC"])
def test_every_state_is_seen_on_light_and_dark_panels(colour: str, panel: str) -> None:
    """WCAG 2.1, "Non-text Contrast": three to one. Red stands beside blue, which has it."""
    light, dark = sorted((luminance(GENERATOR[colour]), luminance(PANELS[panel])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3.0


def test_only_connected_is_green() -> None:
    for one in Icon:
        with Image.open(pictures.path(one.value, 48)) as image:
            pixels = zip(*(image.getchannel(band).tobytes() for band in "RGBA"), strict=True)
            green = sum(a > 200 and g > r + 40 and g > b + 40 for r, g, b, a in pixels)
        assert (green > 200) is (one is Icon.CONNECTED), one


def test_other_files_are_refused() -> None:
    with pytest.raises(ValueError, match="generate-icons"):
        pictures.read(b"\x89PNG\r\n\x1a\n" + bytes(40))
