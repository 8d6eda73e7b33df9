"""What is offered, and why not."""

from __future__ import annotations

from typing import Any

import pytest
from meshproto import local_pb2
from meshtui.clock import Clock
from meshtui.history import History
from meshtui.mirror import fold
from meshtui.model import Check, Link, LinkState, Member, Model, Severity
from meshtui.offers import offers
from meshtui.permissions import Deed, refusal
from meshtui.view import View

from tui import recordings

MEMBERS = (Deed.COPY, Deed.PING, Deed.ENABLE, Deed.RENAME, Deed.ADMIN, Deed.REMOVE)
CHANGES = (Deed.ENABLE, Deed.RENAME, Deed.ADMIN, Deed.REMOVE)


def view(link: LinkState = LinkState.LIVE, tier: Any = local_pb2.TIER_OPERATE, **mesh: Any) -> View:
    status = recordings.status(recordings.mesh(**mesh), tier=tier)
    model = fold(Model(), local_pb2.WatchUpdate(snapshot=status))
    return View(Link(link, fix="start it"), model, model.meshes[0], "", 0, recordings.NOW_MS, Clock(), History())


def who(view: View, name: str) -> Member:
    assert view.mesh is not None
    return next(member for member in view.mesh.members.values() if member.name == name)


def why(deed: Deed, view: View, name: str = "laptop-grace") -> str:
    return str(refusal(deed, view, who(view, name)) or "")


@pytest.mark.parametrize("deed", MEMBERS)
def test_an_admin_may(deed: Deed) -> None:
    assert why(deed, view()) == ""


@pytest.mark.parametrize("deed", CHANGES)
def test_who_may_only_look_is_told_the_group(deed: Deed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr("meshtui.permissions._way_in", lambda user: f"have {user} in the group")
    assert why(deed, view(tier=local_pb2.TIER_OBSERVE)) == "ada may only look → have ada in the group"


def test_a_uid_without_a_name_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987_654)
    expected = "uid 987654 may only look → use an account of the group mesh"
    assert why(Deed.RENAME, view(tier=local_pb2.TIER_OBSERVE)) == expected


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

    assert why(Deed.REMOVE, view(), "laptop-ada") == "laptop-ada is this machine → leave home: Overview, then d"


def test_on_nodes() -> None:
    assert why(Deed.ENABLE, view(), "gw-paris") == "gw-paris is a node; only peers are enabled and disabled"
    assert why(Deed.ADMIN, view(), "gw-paris") == "gw-paris is a node, and nodes may change everything"
    assert why(Deed.REMOVE, view(), "gw-paris") == ""
    assert why(Deed.REMOVE, view(), "gw-berlin") == ""


def test_on_invites() -> None:
    shown = view(invites=recordings.invites())
    assert shown.mesh is not None
    found = {one.member: str(refusal(Deed.REVOKE, shown, one) or "") for one in shown.mesh.invites}
    assert found == {
        "laptop-grace": "the invite is redeemed already", "laptop-bob": "", "": "",
        "gw-rome": "the invite is revoked already",
    }  # fmt: skip


def test_on_this_machines_own_route() -> None:
    own = view(self_id=recordings.members()[1].id)
    assert own.mesh is not None
    route = own.mesh.routes[0]
    assert str(refusal(Deed.USE, own, route)) == "this machine offers it"
    assert refusal(Deed.USE, view(), route) is None


def test_what_concerns_this_machine_needs_no_right_in_the_mesh() -> None:
    shown = view(members=[recordings.laptop_ada(admin=False)], writable=False)
    for deed in (Deed.CONNECT, Deed.LEAVE):
        assert refusal(deed, shown, shown.mesh) is None
    assert str(refusal(Deed.KEY, shown, shown.mesh)).startswith("peers don't have the cluster key")
    for deed in (Deed.INVITE, Deed.PUBLISH):
        assert "not an admin" in str(refusal(deed, shown))


@pytest.mark.parametrize(
    "deed", [deed for deed in Deed if deed not in (Deed.COPY, Deed.PING, Deed.EXAMINE, Deed.EXPORT)]
)
def test_nothing_is_changed_by_who_may_only_look(deed: Deed) -> None:
    shown = view(tier=local_pb2.TIER_OBSERVE)
    assert "may only look" in str(refusal(deed, shown, shown.mesh))


def test_everything_offered_has_words_and_a_key_of_its_own() -> None:
    shown = view(routes=recordings.routes(), invites=recordings.invites(), pending=recordings.pending())
    mesh = shown.mesh
    assert mesh is not None
    check = Check("nft", Severity.ERROR, "not installed", "apt install nftables")
    for subject in (*mesh.members.values(), *mesh.routes, *mesh.invites, *mesh.pending, mesh, check):
        found = offers(shown, [subject], ())
        assert found
        assert len({offer.key for offer in found}) == len(found)
        assert all(offer.word and offer.title and offer.about for offer in found)


def gateway(**mesh: Any) -> View:
    """As gw-berlin sees it."""
    berlin, paris = recordings.members()[:2]
    own = recordings.member(1, "gw-berlin", is_self=True, path=local_pb2.PATH_SELF, primary=berlin.primary)
    return view(self_id=own.id, members=[own, paris], **mesh)


def test_a_node_leads_by_force_where_no_majority_answers() -> None:
    assert why(Deed.PROMOTE, gateway(), "gw-berlin") == "gw-berlin is the primary"
    assert why(Deed.PROMOTE, gateway(writable=False), "gw-berlin") == ""
    assert why(Deed.RENAME, gateway(writable=False), "gw-berlin").startswith("home can't be changed now")


def test_another_node_must_do_that_itself() -> None:
    expected = (
        "home can't be changed now: no majority of its nodes answers → "
        "on gw-paris: meshctl nodes promote gw-paris --force"
    )
    assert why(Deed.PROMOTE, gateway(writable=False), "gw-paris") == expected


def test_no_force_where_the_mesh_is_disconnected_here_or_where_a_peer_looks() -> None:
    down = gateway(writable=False, state=local_pb2.DOWN)
    assert why(Deed.PROMOTE, down, "gw-berlin").startswith("home is disconnected here")
    assert "--force" not in why(Deed.PROMOTE, view(writable=False), "gw-paris")
