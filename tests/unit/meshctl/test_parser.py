"""Where options may stand."""

from __future__ import annotations

import itertools

import pytest
from meshctl.parser import WrongUsage, make_parser


def test_options_may_stand_between_the_words_of_a_command() -> None:
    words = [["-"], ["192.0.2.1", "192.0.2.2"], ["--name", "gw-berlin"], ["--always-on"], ["--json"]]
    for order in itertools.permutations(words):
        if order.index(["-"]) < order.index(["192.0.2.1", "192.0.2.2"]):
            found = make_parser().parse_args(["join", *itertools.chain(*order)])
            assert (found.what, found.hosts) == ("-", ["192.0.2.1", "192.0.2.2"])
            assert (found.member_name, found.always_on, found.json) == ("gw-berlin", True, True)


@pytest.mark.parametrize(
    "arguments", [["routes", "add", "--node", "gw-b"], ["peers", "rename", "a"], ["join", "--bogus"]]
)
def test_what_is_missing_or_unknown_is_an_error_all_the_same(arguments: list[str]) -> None:
    with pytest.raises(WrongUsage):
        make_parser().parse_args(arguments)
