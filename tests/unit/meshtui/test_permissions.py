"""What is offered, and why not."""

from __future__ import annotations

from typing import Any

import pytest
from meshproto import local_pb2
from meshtui.clock import Clock
from meshtui.history import History
from meshtui.mirror import fold
from meshtui.model import Link, LinkState, Member, Model
from meshtui.permissions import Deed, refusal
from meshtui.view import View

from tui import recordings

CHANGES = (Deed.ENABLE, Deed.RENAME)


def view(link: LinkState = LinkState.LIVE, tier: Any = local_pb2.TIER_OPERATE, **mesh: Any) -> View:
    status = recordings.status(recordings.mesh(**mesh), tier=tier)
    model = fold(Model(), local_pb2.WatchUpdate(snapshot=status))
    return View(Link(link, fix="start it"), model, model.meshes[0], "", 0, recordings.NOW_MS, Clock(), History())


def who(view: View, name: str) -> Member:
    assert view.mesh is not None
    return next(member for member in view.mesh.members.values() if member.name == name)


def why(deed: Deed, view: View, name: str = "laptop-grace") -> str:
    return str(refusal(deed, view, who(view, name)) or "")


@pytest.mark.parametrize("deed", Deed)
def test_an_admin_may(deed: Deed) -> None:
    assert why(deed, view()) == ""


@pytest.mark.parametrize("deed", CHANGES)
def test_who_may_only_look_is_told_the_group(deed: Deed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert (
        why(deed, view(tier=local_pb2.TIER_OBSERVE))
        == "ada may only look → sudo usermod -aG mesh ada, then log in again"
    )


@pytest.mark.parametrize("deed", CHANGES)
def test_a_peer_that_is_no_admin_is_told_the_command(deed: Deed) -> None:
    mesh = view(members=[recordings.laptop_ada(admin=False), recordings.members()[4]])
    expected = "laptop-ada is not an admin of home → on a node: meshctl peers admin laptop-ada on"
    assert why(deed, mesh) == expected


def test_a_helper_that_does_not_say_is_left_to_refuse() -> None:
    assert why(Deed.RENAME, view(tier=local_pb2.TIER_UNSPECIFIED)) == ""


@pytest.mark.parametrize("deed", CHANGES)
def test_no_majority(deed: Deed) -> None:
    assert "no majority" in why(deed, view(writable=False))


def test_without_meshd_only_the_clipboard_works() -> None:
    lost = view(LinkState.LOST)
    assert why(Deed.COPY, lost) == ""
    assert why(Deed.PING, lost) == "meshd is not connected → start it"


def test_on_oneself() -> None:
    assert why(Deed.PING, view(), "laptop-ada") == "laptop-ada is this machine"
    assert why(Deed.ENABLE, view(), "laptop-ada") == "a machine can't disable itself"
    assert why(Deed.RENAME, view(), "laptop-ada") == ""


def test_nobody_selected() -> None:
    assert str(refusal(Deed.PING, view(), None)) == "no member is selected"
