"""Every state that has an appearance of its own, as a picture that a person has looked at.

After a wanted change: pytest tests/tui --snapshot-update, and look at the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from meshproto import local_pb2
from meshproto.recording import Recorder
from meshtui.app import MeshtuiApp
from meshtui.screens.story_screen import StoryScreen
from textual.pilot import Pilot
from tui.conftest import screen_text, settled, typing, until
from tui.recorded_meshd import RecordedMeshd
from tui.recordings import NOW_MS, S

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
Snapshot = Callable[..., bool]
SMALL, LARGE = (80, 24), (160, 48)
TABS = {"overview": 1, "members": 2, "nodes": 3, "routes": 4, "invites": 5, "topology": 6, "events": 7, "doctor": 8}
both_sizes = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x48"])


@both_sizes
@pytest.mark.parametrize("tab", TABS)
def test_tab(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int], tab: str) -> None:
    mesh = recordings.mesh(invites=recordings.invites())
    meshd = make_meshd(recordings.status(mesh), recordings.events())
    meshd.checks = recordings.checks()
    assert snap_compare(make_app(), terminal_size=size, run_before=typing(str(TABS[tab])))


@both_sizes
def test_story_of_a_relayed_peer(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    make_meshd(recordings.status(recordings.mesh()), recordings.events())

    async def with_its_day(pilot: Pilot[None]) -> None:
        await typing("j", "j", "j", "j", "enter")(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, StoryScreen)
        await until(lambda: screen._day.traffic, "its last day")
        await pilot.pause()

    assert snap_compare(make_app(), terminal_size=size, run_before=with_its_day)


@both_sizes
def test_meshd_is_not_running(snap_compare: Snapshot, make_app: MakeApp, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


@both_sizes
def test_no_mesh_yet(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    make_meshd(recordings.status())
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


def test_another_mesh_than_the_one_asked_for(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(mesh="office"), terminal_size=SMALL, run_before=typing())


@both_sizes
def test_stale(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    reason = "no answer from gw-berlin, gw-oslo, gw-paris for 8 s"
    mesh = recordings.mesh(
        state=local_pb2.STALE, reason=reason, stale_since_ms=NOW_MS - 8 * S, writable=False,
        members=[recordings.laptop_ada(), *recordings.offline(recordings.members()[:3])],
    )  # fmt: skip
    make_meshd(recordings.status(mesh), recordings.events())
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


@both_sizes
def test_connecting(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    mesh = recordings.mesh(
        state=local_pb2.CONNECTING, reason="no answer from gw-berlin", writable=False,
        members=[recordings.laptop_ada(), *recordings.offline(recordings.members()[:1])],
    )  # fmt: skip
    make_meshd(recordings.status(mesh))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


@both_sizes
def test_down(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    mesh = recordings.mesh(
        state=local_pb2.DOWN, reason="disconnected; connect with `meshctl up home`", writable=False,
        members=[recordings.laptop_ada(), *recordings.offline(recordings.members()[:3])],
    )  # fmt: skip
    make_meshd(recordings.status(mesh))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


@both_sizes
def test_alone(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    alone = recordings.member(1, "gw-berlin", is_self=True, primary=True, path=local_pb2.PATH_SELF)
    make_meshd(recordings.status(recordings.mesh(self_id=alone.id, members=[alone], routes=[])))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


@both_sizes
def test_no_members_known(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    make_meshd(recordings.status(recordings.mesh(members=[], routes=[], primary="")))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


@both_sizes
def test_warnings_and_a_machine_that_waits(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    mesh = recordings.mesh(
        routes=recordings.routes(),
        warnings=["route 192.0.2.0/24 is not installed here: eth0 has it"],
        pending=recordings.pending(),
    )
    make_meshd(recordings.status(mesh), recordings.events())
    assert snap_compare(make_app(), terminal_size=size, run_before=typing("4"))


@both_sizes
def test_two_meshes(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    office = recordings.mesh("office", state=local_pb2.CONNECTING, reason="no answer from gw-hq", writable=False)
    make_meshd(recordings.status(recordings.mesh(), office))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


@both_sizes
def test_who_may_only_look(
    snap_compare: Snapshot,
    make_app: MakeApp,
    make_meshd: MakeMeshd,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr("meshtui.permissions._way_in", lambda user: f"sudo usermod -aG mesh {user}, then log in again")
    make_meshd(recordings.status(recordings.mesh(), tier=local_pb2.TIER_OBSERVE))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing("j", "e"))


@both_sizes
def test_a_peer_that_is_no_admin(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    members = [*recordings.members()[:3], recordings.laptop_ada(admin=False), *recordings.members()[4:]]
    make_meshd(recordings.status(recordings.mesh(members=members)), recordings.events())
    assert snap_compare(make_app(), terminal_size=size, run_before=typing("j", "j", "j", "j", "d", wait="not an admin"))


@both_sizes
def test_meshd_is_gone_again(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()), recordings.events())

    async def gone(pilot: Pilot[None]) -> None:
        await settled(pilot)
        meshd.stop()
        await until(lambda: "meshd is not running" in screen_text(pilot.app), "that it is gone")
        await pilot.pause()

    assert snap_compare(make_app(), terminal_size=size, run_before=gone)


@both_sizes
@pytest.mark.parametrize("keys", [("1", "n"), ("1", "a"), ("1", "d"), ("4", "d")], ids="".join)
def test_questions_and_wizards(
    snap_compare: Snapshot,
    make_app: MakeApp,
    make_meshd: MakeMeshd,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    keys: tuple[str, ...],
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "laptop-ada")
    make_meshd(recordings.status(recordings.mesh()))
    wait = {"d": "keep it as it is" if keys[0] == "1" else "withdraw it there"}.get(keys[1], "escape: back")
    assert snap_compare(make_app(), terminal_size=size, run_before=typing(*keys, wait=wait))


def test_wide(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh(members=recordings.crowd(60))), recordings.events())
    assert snap_compare(make_app(), terminal_size=(220, 60), run_before=typing())


@both_sizes
def test_hostile_names(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    names = [
        "[red]markup[/red] [/] [@click=app.quit]x", "\x1b[31mescape\x1b[2J\x07\r\n\ttab", "\u202egnp.exe\u2066\u200b",
        "a" * 63, "🏳️‍🌈👩‍👩‍👧‍👦 emoji 🇩🇪", "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字", "z̷̢̛̖̗̘̙̜̝̞̟̠a̷̡̢̛̖̗̘̙̜̝̞̟l̵g̴o̶", "",
    ]  # fmt: skip
    hostile = [recordings.member(number + 5, name, relay=name) for number, name in enumerate(names)]
    events = [recordings.event(number, S, name, subject=name, actor=name) for number, name in enumerate(names)]
    mesh = recordings.mesh(members=[recordings.laptop_ada(), *hostile], primary=names[0])
    make_meshd(recordings.status(mesh), events)
    assert snap_compare(make_app(), terminal_size=size, run_before=typing("j"))


def test_three_thousand_members(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh(members=recordings.crowd(3000))))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("G"))


def test_filter(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("/", *"lap", "space", *"!ada"))


def test_filter_without_a_match(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("/", *"xyz", "enter"))


def test_sorted(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("s", "s", "S"))


def test_columns(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("C", "j", "j", "s", "j", "space"))


@pytest.mark.parametrize("keys", ["e", "r", "question_mark", "colon"])
def test_dialog(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, keys: str) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("j", keys))


@pytest.mark.parametrize("size", [(60, 18), (44, 14)], ids=["60x18", "44x14"])
def test_narrow(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    make_meshd(recordings.status(recordings.mesh(pending=recordings.pending())))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing())


@both_sizes
@pytest.mark.parametrize("keys", [("i",), ("4", "a", "2")], ids=["invite", "route"])
def test_form(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing(*keys))


@pytest.mark.parametrize("size", [SMALL, (120, 62)], ids=["80x24", "120x62"])
def test_an_invite_is_shown(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(), terminal_size=size, run_before=typing("i", *"laptop-bob", "enter", wait="mesh1-"))


def test_a_join_that_failed(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "laptop-ada")
    meshd = make_meshd(recordings.status())
    meshd.refuse = ("the invite was already used", "ask for a new one")
    meshd.stages = meshd.stages[:3]
    monkeypatch.setattr("meshtui.forms.judge_join", lambda values, now_ms: ("", "An invite to office, good for 2 h."))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("a", *"mesh1", "enter", wait="already used"))


@pytest.mark.parametrize("progress", ["pending", "open"])
def test_a_join(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch, progress: str
) -> None:
    """While people decide, and one that is done but for what goes on by itself."""
    monkeypatch.setattr("socket.gethostname", lambda: "laptop-ada")
    meshd = make_meshd(recordings.status())
    if progress == "pending":
        text = "waiting to be let in; on a node: meshctl peers authorize 4f2a"
        fingerprint = recordings.pending()[0].fingerprint
        pending = local_pb2.JoinProgress(stage="pending", text=text, fingerprint=fingerprint)
        meshd.stages = [*meshd.stages[:2], pending]
        meshd.held.clear()
    else:
        meshd.stages.insert(5, local_pb2.JoinProgress(stage="handshake", text="no answer from gw-berlin", open=True))
    keys = ("a", "tab", *"gw-berlin", "tab", "tab", "space", "enter")
    wait = "authorize 4f2a" if progress == "pending" else "is in office"
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing(*keys, wait=wait))


def test_no_keyring(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "laptop-ada")
    make_meshd(recordings.status())
    keys = ("a", "tab", *"gw-berlin", "enter")
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing(*keys, wait="Join without?"))


@both_sizes
def test_a_machine_that_waits_among_the_invites(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    mesh = recordings.mesh(invites=recordings.invites(), pending=recordings.pending())
    make_meshd(recordings.status(mesh), recordings.events())
    assert snap_compare(make_app(), terminal_size=size, run_before=typing("5", "g"))


def test_a_lead_by_force_is_asked_for(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    own = recordings.member(2, "gw-paris", is_self=True, path=local_pb2.PATH_SELF)
    others = recordings.offline([recordings.member(1, "gw-berlin", primary=True), recordings.member(3, "gw-oslo")])
    mesh = recordings.mesh(
        self_id=own.id, members=[own, *others], writable=False, primary="", routes=[],
        reason="no majority of the nodes answers",
    )  # fmt: skip
    make_meshd(recordings.status(mesh))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("3", "g", "P", wait="by force?"))


def test_after_a_change(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    """The keys say what they would do now, and the last line what was done."""
    meshd = make_meshd(recordings.status(recordings.mesh()))

    async def disable(pilot: Pilot[None]) -> None:
        await typing("j", "j", "j", "j", "e", "y", wait="is disabled")(pilot)
        grace = recordings.offline([recordings.members()[4]])[0]
        grace.enabled, grace.path_reason = False, "disabled"
        difference = local_pb2.MeshDifference(mesh_id="mesh-home", members=[grace])
        meshd.push(local_pb2.WatchUpdate(differences=[difference], at_ms=NOW_MS))
        await until(lambda: "e enable" in screen_text(pilot.app), "the key to say what it does now")

    assert snap_compare(make_app(), terminal_size=SMALL, run_before=disable)


def test_help_to_its_end(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing("question_mark", "G"))


def test_doctor_in_a_recording(snap_compare: Snapshot, make_app: MakeApp, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "hour")
    status = recordings.status(recordings.mesh())
    update = local_pb2.WatchUpdate(snapshot=status, checks=recordings.checks(), at_ms=NOW_MS)
    recorder.write(NOW_MS, update.SerializeToString())
    recorder.close()
    app = make_app(replay=tmp_path / "hour")
    assert snap_compare(app, terminal_size=SMALL, run_before=typing("8", wait="end of the rec"))


def test_marked(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    keys = ("j", "j", "j", "j", "space", "space", "d")
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=typing(*keys))


def test_recording(snap_compare: Snapshot, make_app: MakeApp, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "hour")
    snapshot = local_pb2.WatchUpdate(snapshot=recordings.status(recordings.mesh()), events=recordings.events())
    recorder.write(NOW_MS, snapshot.SerializeToString())
    recorder.close()
    app = make_app(replay=tmp_path / "hour")
    assert snap_compare(app, terminal_size=(120, 32), run_before=typing(wait="end of the recording"))


@pytest.mark.parametrize("theme", ["light", "contrast"])
def test_theme(snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, theme: str) -> None:
    make_meshd(recordings.status(recordings.mesh()), recordings.events())
    assert snap_compare(make_app(theme=theme), terminal_size=(120, 32), run_before=typing())


def test_without_colours(
    snap_compare: Snapshot, make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    make_meshd(recordings.status(recordings.mesh()), recordings.events())
    assert snap_compare(make_app(), terminal_size=(120, 32), run_before=typing())
