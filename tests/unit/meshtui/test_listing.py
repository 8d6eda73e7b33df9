"""Which columns are shown, and where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from meshtui.listings.doctor import Doctor
from meshtui.listings.events import Events
from meshtui.listings.invites import Invites
from meshtui.listings.listing import place
from meshtui.listings.members import Members
from meshtui.listings.nodes import Nodes
from meshtui.listings.overview import Overview
from meshtui.listings.routes import Routes
from meshtui.listings.topology import Topology

LISTINGS = [Overview(), Members(), Nodes(), Routes(), Invites(), Topology(), Events(), Doctor()]
NEEDS = {"NAME": 13, "ADDRESS": 10, "PATH": 17}


def shown(room: int, **needs: int) -> list[str]:
    return [one.column.title for one in place(Members.columns, needs or NEEDS, room)]


def test_the_least_telling_columns_go_first() -> None:
    assert shown(77) == ["", "NAME", "ADDRESS", "PATH", "HANDSHAKE", "LATENCY", "↓ NOW"]
    assert shown(86) == ["", "NAME", "ROLE", "ADDRESS", "PATH", "HANDSHAKE", "LATENCY", "↓ NOW"]
    assert shown(96)[-1] == "↑ NOW"
    assert shown(110)[-1] == "15 MIN"


def test_on_a_narrow_terminal_wide_columns_give_way_then_others_go() -> None:
    assert shown(57) == ["", "NAME", "ADDRESS", "PATH", "HANDSHAKE", "LATENCY"]
    assert shown(41) == ["", "NAME", "PATH", "LATENCY"]


def test_long_names_give_way_before_they_push_others_out() -> None:
    placed = {one.column.title: one.width for one in place(Members.columns, {**NEEDS, "NAME": 63}, 77)}
    assert placed["NAME"] < 63
    assert "↓ NOW" in placed


@given(
    st.sampled_from(LISTINGS),
    st.integers(40, 400),
    st.lists(st.integers(0, 200), min_size=12, max_size=12),
)
def test_columns_never_overlap_or_leave_the_screen(listing: Members, room: int, needs: list[int]) -> None:
    titles = [column.title for column in listing.columns]
    placed = place(listing.columns, dict(zip(titles, needs, strict=False)), room)
    end = 0
    for one in placed:
        assert one.at >= end
        assert one.width >= len(one.column.title)
        end = one.at + one.width
    assert end <= room
