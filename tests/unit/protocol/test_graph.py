"""Drawings of a mesh: everybody is in them, names from other machines break none of the formats."""

from __future__ import annotations

import json
import xml.etree.ElementTree as tree
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some
from meshproto.graph import FORMATS, Graph, Place, Reach, dot, mermaid, svg, text

HOME = Graph(
    "home",
    (
        Place("gw-berlin", "node", Reach.DIRECT, latency_ms=1.84, behind=("10.11.0.0/16", "203.0.113.0/24")),
        Place("laptop-ada", "peer", Reach.HERE),
        Place("laptop-grace", "peer", Reach.RELAYED, relay="gw-berlin"),
        Place("laptop-joan", "peer", Reach.OFFLINE),
        Place("gw-paris", "node", Reach.DIRECT),
        Place("laptop-mary", "peer", Reach.DISABLED),
        Place("laptop-lost", "peer", Reach.RELAYED, relay="nobody"),
    ),
)


def test_as_text_it_is_a_tree() -> None:
    assert text(HOME).splitlines() == [
        "home, seen from laptop-ada",
        "laptop-ada (peer) this machine",
        "├─ gw-berlin (node) direct, 1.8 ms, before 10.11.0.0/16, 203.0.113.0/24",
        "│  └─ laptop-grace (peer) relayed by gw-berlin",
        "├─ gw-paris (node) direct",
        "├─ laptop-lost (peer) relayed by nobody",
        "├─ laptop-joan (peer) offline",
        "└─ laptop-mary (peer) disabled",
    ]


def test_lines_go_to_those_who_are_reached() -> None:
    pairs = [(one.name, other.name) for one, other in HOME.edges()]
    assert pairs == [
        ("laptop-ada", "gw-berlin"),
        ("gw-berlin", "laptop-grace"),
        ("laptop-ada", "gw-paris"),
        ("laptop-ada", "laptop-lost"),
    ]
    assert dot(HOME).count(" -- ") == mermaid(HOME).count('|"') == svg(HOME).count("<path") == 4


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_alone_and_without_anybody(name: str) -> None:
    assert "home" in FORMATS[name](Graph("home", HOME.places[1:2]))
    assert "home" in FORMATS[name](Graph("home", ()))


@given(some.text(min_size=1, max_size=60).filter(lambda value: value.isprintable()))
def test_no_name_breaks_a_format(name: str) -> None:
    places = (HOME.places[1], replace(HOME.places[0], name=name, behind=(name,)))
    graph = Graph(name, places)
    drawn = tree.fromstring(svg(graph))
    assert drawn[0].text == graph.title
    # Every string of DOT is closed where it should be: JSON reads the same escapes.
    for line in dot(graph).splitlines():
        for label in [part for part in line.split("label=")[1:] if part.startswith('"')]:
            assert json.JSONDecoder().raw_decode(label)[0]
    assert mermaid(graph).count('"') % 2 == 0
    assert len(mermaid(graph).splitlines()) == 7
