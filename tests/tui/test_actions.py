"""Each action from its key to the call at the helper: the question, the words, and what is sent."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import grpc
import pytest
from meshproto import local_pb2, person_keys, state_pb2
from meshproto.cluster_key import ClusterKey
from meshproto.invite import Invite, InviteNode
from meshproto.keys import PrivateKey
from meshtui.app import MeshtuiApp
from meshtui.connection import Refused
from textual import events
from textual.pilot import Pilot
from tui.conftest import press, screen_text, settled, shows, until
from tui.recorded_meshd import CLUSTER_KEY, INVITE, RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
GRACE = ("j", "j", "j", "j")
"""From the first row to laptop-grace."""


def everything() -> local_pb2.Status:
    return recordings.status(
        recordings.mesh(routes=recordings.routes(), invites=recordings.invites(), pending=recordings.pending())
    )


def fields(call: Any) -> dict[str, Any]:
    return {field.name: value for field, value in call.ListFields() if field.name not in ("request_id", "mesh")}


CASES = [
    ("P", ("3", "g", "j", "P"), "Make gw-paris the primary of home?", {"who": recordings.members()[1].id},
     "gw-paris is the primary"),
    ("A", (*GRACE, "A"), "Make laptop-grace an admin of home?", {"who": recordings.members()[4].id, "on": True},
     "laptop-grace is an admin"),
    ("d", (*GRACE, "d"), "Remove laptop-grace from home?", {"who": recordings.members()[4].id},
     "laptop-grace is removed"),
    ("let in", ("5", "y"), "Let desk-alan into home?", {"id": "4f2a"}, "desk-alan is let in"),
    ("refuse", ("5", "d"), "Refuse desk-alan?", {"id": "4f2a"}, "desk-alan is refused"),
    ("revoke", ("5", "j", "d"), "Revoke invite 4f1cab02?", {"id": "4f1cab02"}, "invite 4f1cab02 is revoked"),
    ("withdraw", ("4", "d"), "Withdraw 192.0.2.0/24?", {"cidr": "192.0.2.0/24", "node": "gw-paris"},
     "192.0.2.0/24 is not offered by gw-paris any more"),
    ("use", ("4", "e"), "Use 192.0.2.0/24 on this machine all the same?", {"cidr": "192.0.2.0/24", "accept": True},
     "192.0.2.0/24 is used on this machine"),
    ("don't use", ("4", "G", "e"), "Don't use 203.0.113.0/24 on this machine?", {"cidr": "203.0.113.0/24"},
     "203.0.113.0/24 is not used on this machine"),
    ("disconnect", ("1", "e"), "Disconnect home?", {}, "home is down on this machine"),
    ("leave", ("1", "d"), "Leave home?", {"timeout_ms": 20_000}, "home is left; nothing of it remains here"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "question", "sent", "said"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
async def test_it_asks_and_then_calls(
    make_app: MakeApp, make_meshd: MakeMeshd, keys: Sequence[str], question: str, sent: dict[str, Any], said: str
) -> None:
    meshd = make_meshd(everything())
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, *keys)
        await shows(app, question)
        await press(pilot, "n")
        await pilot.pause()
        assert meshd.calls == []
        await press(pilot, keys[-1])
        await shows(app, question)
        await press(pilot, "y")
        await shows(app, said)
        assert [fields(call) for call in meshd.calls] == [sent]
        assert meshd.calls[0].mesh == "home"


async def test_an_invite_is_made_shown_once_and_copied(
    make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 60)) as pilot:
        await settled(pilot)
        await press(pilot, "i", *"laptop-bob")
        await press(pilot, "tab", "tab", "end", *(["backspace"] * 3), *"2h", "tab", "tab", *"1h", "tab", "space")
        await shows(app, "Lets laptop-bob join as peer, which may change the mesh, for 2h")
        await press(pilot, "enter")
        await shows(app, "Invite 4f1cab90 for laptop-bob", "█▀▀▀", INVITE[:40])
        assert [fields(call) for call in meshd.calls] == [
            {"member": "laptop-bob", "lifetime_ms": 7_200_000, "uses": 1, "ephemeral_ms": 3_600_000, "admin": True}
        ]
        copied: list[str] = []
        monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
        await press(pilot, "c")
        await shows(app, "it is on the clipboard")
        assert copied == [INVITE]
        await pilot.resize_terminal(80, 24)
        await shows(app, "The QR code needs a terminal of")


async def test_an_open_invite_is_shown_again(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(everything())
    app = make_app()
    async with app.run_test(size=(120, 60)) as pilot:
        await settled(pilot)
        await press(pilot, "5", "j", "K")
        await shows(app, "Invite 4f1cab02 for laptop-bob", INVITE[:40], "It lasts 2 d.")
        assert [fields(call) for call in meshd.calls] == [{"id": "4f1cab02"}]
        await press(pilot, "escape", "G", "K")
        await shows(app, "the invite is revoked already")


async def test_a_burst_of_keys_stays_in_order(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 60)) as pilot:
        await settled(pilot)
        await press(pilot, "i")
        for letter in "laptop-with-a-long-name":
            app.post_message(events.Key("minus" if letter == "-" else letter, letter))
        app.post_message(events.Key("enter", "\r"))
        await until(lambda: meshd.calls, "the call")
        assert fields(meshd.calls[0])["member"] == "laptop-with-a-long-name"


async def test_what_a_form_refuses_is_never_sent(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "i", *"gw-paris", "enter")
        await shows(app, "gw-paris is taken by another member.")
        await press(pilot, "escape", "4", "a", *"203.0.113.0/33", "enter")
        await shows(app, "A subnet is written")
        assert meshd.calls == []


async def test_a_route_is_published(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "4", "a", *"198.51.100.0/24", "tab", *"gw-oslo")
        await shows(app, "Every member reaches 198.51.100.0/24 through gw-oslo.")
        await press(pilot, "enter")
        await shows(app, "198.51.100.0/24 is offered by gw-oslo")
        assert [fields(call) for call in meshd.calls] == [{"cidr": "198.51.100.0/24", "node": "gw-oslo"}]


async def test_a_route_of_several_nodes_is_withdrawn_at_one(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "4", "d")
        await shows(app, "● gw-berlin   ○ gw-paris")
        await press(pilot, "space", "enter")
        await shows(app, "is not offered by gw-paris any more")
        assert [fields(call) for call in meshd.calls] == [{"cidr": "203.0.113.0/24", "node": "gw-paris"}]


async def test_several_marked_members(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, *GRACE, "space", "space")
        await shows(app, "✓● laptop-grace", "✓○ desk-edsger", "2 marked")
        await press(pilot, "p")
        await shows(app, "all 2 members answered")
        await press(pilot, "e")
        await shows(app, "Disable 2 members?", "laptop-grace, desk-edsger.", "They lose access")
        await press(pilot, "y")
        await shows(app, "2 members are disabled")
        disabled = [call.who for call in meshd.calls if isinstance(call, local_pb2.SetMemberFlagRequest)]
        assert disabled == [recordings.members()[4].id, recordings.members()[5].id]
        await press(pilot, "escape")
        await shows(app, "7 members")


async def test_of_several_it_is_told_which_failed_and_why(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    ids = [one.id for one in recordings.members()]
    meshd.refuse_about = {ids[1]: "gw-paris still offers routes", ids[2]: "gw-oslo is away"}
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "j", *["space"] * 2, "j", "space", "d")
        await shows(app, "Remove 3 members from home?")
        await press(pilot, "y")
        await shows(
            app, "1 of 3 is removed, but not gw-paris: gw-paris still", "offers routes; gw-oslo: gw-oslo is away"
        )
        removed = [call.who for call in meshd.calls]
        assert removed == [ids[1], ids[2], ids[4]], "the rest is tried all the same"
        await press(pilot, "p")
        await shows(app, "1 of 3 members answered, not: gw-paris (gw-paris still")
    meshd.calls.clear()


async def test_after_nobody_answered_the_rest_is_not_tried(
    make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    calls: list[Any] = []

    async def call(method: str, timeout_s: float = 10.0, **fields: Any) -> Any:
        calls.append(fields["who"])
        if len(calls) == 2:
            raise Refused("meshd did not answer in time", "try again", "timeout")

    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        monkeypatch.setattr(app.connection, "call", call)
        await press(pilot, "j", *["space"] * 2, "j", "space", "d", "y")
        await shows(app, "1 of 3 is removed, but not gw-oslo: meshd did not answer in time; laptop-grace: not tried")
    assert len(calls) == 2
    assert not meshd.calls


async def test_marks_that_the_filter_hides_do_not_act(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        await press(pilot, *GRACE, "space", "space")
        await shows(app, "2 marked · 7 members")
        await press(pilot, "slash", *"edsger", "enter")
        await shows(app, "1 marked · 1 of 7 members", "r rename")  # which is for one alone
        await press(pilot, "e")
        await shows(app, "Disable desk-edsger?")
        await press(pilot, "n", "slash", *["backspace"] * 6, *"oslo", "enter")
        await shows(app, "1 of 7 members")
        assert "marked" not in screen_text(app)
        await press(pilot, "p")
        await shows(app, "gw-oslo answered")
        assert [call.who for call in meshd.calls] == [recordings.members()[2].id]
        await press(pilot, "escape")
        await shows(app, "2 marked · 7 members")


async def test_a_mesh_is_created_and_its_key_shown(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status())
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "n", *"office", "tab", *"gw-hq", "enter")
        await shows(app, "The cluster key of office", CLUSTER_KEY[:60])
        assert [fields(call) for call in meshd.calls] == [{"name": "office", "member_name": "gw-hq"}]
        await press(pilot, "escape")
        await shows(app, "office ● connected")


def invite() -> str:
    key = PrivateKey.from_random(secrets.token_bytes(32))
    node = InviteNode(IPv4Address("10.11.0.1"), IPv6Address("fd00::1"), key.public, ("198.51.100.2:10100",))
    return Invite(
        "4f1cab90", "9e91c0de-0000-4000-8000-000000000001", "office", (node,), key, IPv4Address("10.51.0.9"),
        IPv6Address("fd00::9"), bytes(32), recordings.NOW_MS + recordings.HOUR, role=state_pb2.ROLE_PEER,
    ).to_text()  # fmt: skip


async def paste(pilot: Pilot[None], text: str) -> None:
    focused = pilot.app.focused
    assert focused is not None
    focused.insert_text_at_cursor(text)  # type: ignore[attr-defined]  # an Input
    await pilot.pause()


@pytest.mark.parametrize("peer", [True, False], ids=["invite", "cluster key"])
async def test_a_mesh_is_joined_stage_by_stage(make_app: MakeApp, make_meshd: MakeMeshd, peer: bool) -> None:
    meshd = make_meshd(recordings.status())
    app = make_app()
    secret = invite() if peer else ClusterKey.generate(b"a CA").text()
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "a")
        await paste(pilot, secret)
        if not peer:
            await shows(app, "through which node?")
            await press(pilot, "tab", *"198.51.100.2")
        await shows(app, "An invite to office, good for 1 h." if peer else "this machine becomes a node")
        await press(pilot, "enter")
        if peer:
            await shows(app, "There is no keyring in this session. Join without?", "a file that only root reads")
            await press(pilot, "y")
        await shows(
            app, "✓ Check it     gw-berlin.example is a node of office", "✓ Synced", "● this machine is in office"
        )
        call = meshd.calls[0]
        assert (call.what, list(call.hosts), call.always_on) == (secret, [] if peer else ["198.51.100.2"], peer)
        assert secret[:20] not in str(app.screen)


async def test_a_join_that_fails_says_where_and_why(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status())
    meshd.refuse = ("the invite was already used", "ask for a new one")
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "a")
        await paste(pilot, invite())
        await press(pilot, "tab", "tab", "tab", "space", "enter")
        await shows(app, "✓ Handshake", "▲ Synced", "▲ the invite was already used", "→ ask for a new")
        await press(pilot, "escape")
        await shows(app, "No mesh yet.")


async def test_a_hidden_join_that_fails_says_why(
    make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    meshd = make_meshd(recordings.status())
    hidden = threading.Event()

    def refuse(request: Any, context: Any) -> None:
        hidden.wait(10)
        context.set_trailing_metadata((("mesh-code", "refused"), ("mesh-fix-bin", b"ask for a new one")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the invite was already used")

    monkeypatch.setattr(meshd, "_answer", refuse)
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "a")
        await paste(pilot, invite())
        await press(pilot, "tab", "tab", "tab", "space", "enter")
        await shows(app, "gw-berlin.example is a node of office")
        await press(pilot, "escape")
        await shows(app, "No mesh yet.")
        hidden.set()
        await shows(app, "▲ the invite was already used  → ask for a new one")


async def test_a_mesh_that_is_down_is_connected_without_a_question(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh(state=local_pb2.DOWN)))
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "1", "e")
        await shows(app, "home is up on this machine")
        assert isinstance(meshd.calls[0], local_pb2.ConnectRequest)


async def test_doctor_is_asked_once_and_again_on_demand(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    meshd.checks = recordings.checks()
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await shows(app, "8 Doctor ✖")
        await press(pilot, "8")
        await shows(app, "2 to look at", "apt install nftables")
        meshd.checks = meshd.checks[:1]
        await press(pilot, "x")
        await shows(app, "nothing wrong")


async def test_a_mesh_of_the_overview_is_chosen(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    office = recordings.mesh("office", members=[recordings.laptop_ada(), recordings.member(8, "gw-hq")])
    make_meshd(recordings.status(recordings.mesh(), office))
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await shows(app, "▸ ● home", "2 meshes")
        await press(pilot, "j", "enter")
        await shows(app, "gw-hq", "2 members")


async def test_the_topology_goes_to_a_file(
    make_app: MakeApp, make_meshd: MakeMeshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_meshd(everything())
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "6", "w")
        await shows(app, "A drawing of home", "enter: write it")
        await press(pilot, "enter")
        await shows(app, "home.svg is written, in")
    drawn = (tmp_path / "home.svg").read_text()
    assert all(one.name in drawn for one in recordings.members())
    assert drawn.startswith("<svg ")


async def test_keys_of_the_keyring_are_handed_over(
    make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = person_keys.Entry(PrivateKey.from_random(secrets.token_bytes(32)), b"certificate")
    monkeypatch.setattr(person_keys, "load", {entry.name: entry}.__getitem__)
    forgotten: list[str] = []
    monkeypatch.setattr(person_keys, "delete", forgotten.append)
    meshd = make_meshd(recordings.status(recordings.mesh(state=local_pb2.DOWN, keyring_entry=entry.name)))
    meshd.keyring_entry = entry.name
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "1", "e")
        await shows(app, "home is up on this machine")
        assert [call.keys for call in meshd.calls] == [local_pb2.MemberKeys(), entry.message()]
        await press(pilot, "d")
        await shows(app, "Leave home?")
        await press(pilot, "y")
        await shows(app, "home is left; nothing of it remains here")
        assert forgotten == [entry.name]
