"""What the filter lets through."""

from __future__ import annotations

import pytest
from meshproto.filter import Filter

WORDS = "laptop-grace peer 10.51.0.5 relayed gw-berlin online"


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("", True),
        ("lap", True),
        ("LAP", True),
        ("lgr", True),
        ("grl", False),
        ("10.51", True),
        ("1051", False),
        ("relayed online", True),
        ("relayed offline", False),
        ("!peer", False),
        ("!node", True),
        ("lap !berlin", False),
        ("lap !lgr", True),
        ("!", True),
        ("[", False),
        ("\\", False),
    ],
)
def test_accepts(text: str, accepted: bool) -> None:
    assert Filter.parse(text).accepts("laptop-grace", WORDS) is accepted


def test_nothing_typed_is_no_filter() -> None:
    assert not Filter.parse("  ! ")
    assert Filter.parse("!x")
