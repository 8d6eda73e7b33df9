"""Names that a member may get."""

from __future__ import annotations

import pytest
from meshtui.screens.rename_screen import objection


@pytest.mark.parametrize("name", ["a", "laptop-ada", "a" * 63, "9", "old"])
def test_good(name: str) -> None:
    assert objection(name, "old", ["old", "taken"]) == ""


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a" * 64, "a.b", "a b", "ä", "a\n", "taken"])
def test_bad(name: str) -> None:
    assert objection(name, "old", ["old", "taken"])
