"""Icon, tooltip and menu, by tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from meshtray.appearance import appearance, icon_of
from meshtray.deeds import Connect, Copy, Disconnect, Join, LetIn, MakeInvite, OpenMeshtui, Pause, Quit
from meshtray.menu import MOST_MEMBERS, Item, menu
from meshtray.state import UNLOCKING, Failure, State
from meshtray.values import Alarm, Icon, Link, LinkState, Mesh, MeshState, Pending, Preferences
from unit.meshtray.situations import (
    DESK_ALAN,
    HOUR,
    LIVE,
    LOST,
    NOW,
    SILENT,
    down,
    invite,
    member,
    mesh,
    snapshot,
    state,
)

STALE = mesh(state=MeshState.STALE, reason="no answer from gw-berlin for 7 s")
CONNECTING = mesh(state=MeshState.CONNECTING, reason="no answer yet")
ALARM = Alarm("home", "the key of gw-oslo changed; it is left out", NOW)
ASKED = mesh(admin=True, pending=(DESK_ALAN,))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (State("ada", "0.1.0"), Icon.DISCONNECTED),
        (state(mesh()), Icon.CONNECTED),
        (state(mesh(), mesh("work")), Icon.CONNECTED),
        (state(mesh(), down("work")), Icon.CONNECTED),
        (state(mesh(), down("work", wanted=True)), Icon.DEGRADED),  # it waits for a keyring
        (state(mesh(), down("work", wanted=True, person="grace")), Icon.CONNECTED),  # not for this person's
        (state(mesh(), down("work", wanted=True, paused_until_ms=NOW + HOUR)), Icon.CONNECTED),
        (state(down(), busy={"mesh-home": UNLOCKING}), Icon.ATTENTION),
        (state(), Icon.DISCONNECTED),
        (state(down()), Icon.DISCONNECTED),
        (state(CONNECTING), Icon.CONNECTING),
        (state(down(), busy={"mesh-home": "connecting"}), Icon.CONNECTING),
        (state(mesh("work"), CONNECTING), Icon.CONNECTING),
        (state(STALE), Icon.DEGRADED),
        (state(mesh("work"), STALE), Icon.DEGRADED),
        (state(mesh(warnings=("names: the hosts file can't be written",))), Icon.DEGRADED),
        (state(ASKED), Icon.ATTENTION),
        (state(mesh(pending=(DESK_ALAN,))), Icon.CONNECTED),  # not for this person to decide
        (state(mesh(admin=True, invites=(invite(1, expires_ms=NOW + HOUR),))), Icon.ATTENTION),
        (state(replace(ASKED, state=MeshState.STALE)), Icon.DEGRADED),  # what is wrong before what waits
        (state(STALE, snapshot=snapshot(STALE, alarms=(ALARM,))), Icon.ATTENTION),  # but an alarm first
        (state(mesh(), snapshot=snapshot(mesh(), alarms=(ALARM,)), preferences=Preferences(seen=(ALARM.key,))),
         Icon.CONNECTED),
    ],
)  # fmt: skip
def test_icon(now: State, expected: Icon) -> None:
    assert icon_of(now) is expected
    assert appearance(now).urgent is (expected is Icon.ATTENTION)


@pytest.mark.parametrize("link", [Link(), LOST, SILENT])
@pytest.mark.parametrize("one", [mesh(), ASKED, STALE])
def test_never_green_while_the_helper_is_not_heard(link: Link, one: Mesh) -> None:
    now = state(one, link=link)
    shown = appearance(now)
    assert shown.icon is Icon.DISCONNECTED
    assert "connected" not in shown.text.replace("Not connected", "")
    assert not [item for item in everything(shown.menu) if isinstance(item.deed, Connect | Disconnect | Pause)]


def test_a_frozen_helper_is_named() -> None:
    assert appearance(state(mesh(), link=SILENT)).text == "The helper is not answering: no word from meshd for 5 s"
    assert appearance(state(mesh(), link=LOST)).text == "Meshd is not running"


@pytest.mark.parametrize(
    ("now", "title", "text"),
    [
        (state(mesh()), "home: connected, 10.51.0.4", ""),
        (state(STALE), "home: stale", "   no answer from gw-berlin for 7 s"),
        (state(ASKED), "home: connected, 10.51.0.4", "   desk-alan asks to be let in"),
        (state(mesh(), down("work")), "1 of 2 meshes connected", "● home: connected, 10.51.0.4\n○ work: disconnected"),
        (state(), "No mesh yet", "This machine is in no mesh."),
    ],
)
def test_tooltip(now: State, title: str, text: str) -> None:
    shown = appearance(now)
    assert (shown.title, shown.text) == (title, text)


# --- the menu ---------------------------------------------------------------------------------------------------------


def everything(items: Any) -> list[Item]:
    return [found for one in items for found in (one, *everything(one.children))]


def by_label(now: State) -> dict[str, Item]:
    return {one.label: one for one in everything(menu(now))}


def deeds(now: State) -> list[Any]:
    return [one.deed for one in everything(menu(now)) if one.deed is not None and one.enabled]


def test_keys_are_unique_and_stay() -> None:
    crowd = [member(number, f"laptop-{number}") for number in range(10, 60)]
    now = state(mesh("home", *crowd, admin=True, pending=(DESK_ALAN,)), mesh("work"))
    keys = [one.key for one in everything(menu(now))]
    assert len(keys) == len(set(keys))
    later = state(mesh("home", *crowd, admin=True, pending=(DESK_ALAN,), reason="x"), mesh("work"))
    assert set(keys) <= {one.key for one in everything(menu(later))}


def test_connected() -> None:
    now = state(mesh())
    assert Disconnect("mesh-home") in deeds(now)
    assert [one.minutes for one in deeds(now) if isinstance(one, Pause)] == [5, 60, 0]
    assert Copy("10.51.0.4", "the address") in deeds(now)
    assert Copy("10.51.0.1", "the address of gw-berlin") in deeds(now)
    assert not [one for one in deeds(now) if isinstance(one, Connect | MakeInvite)]  # no admin
    assert menu(now)[-1] == Item("quit", "Quit (home stays as it is)", Quit())


def test_disconnected_and_paused() -> None:
    assert Connect("mesh-home") in deeds(state(down()))
    assert menu(state(down()))[-1].label == "Quit"
    labels = by_label(state(down(paused_until_ms=NOW + HOUR)))
    assert [one for one in labels if one.startswith("○ home: paused until ")]


def test_while_something_is_done_nothing_else_is_begun() -> None:
    for one in (down(), mesh()):
        now = state(one, busy={"mesh-home": "connecting"})
        assert not [deed for deed in deeds(now) if isinstance(deed, Connect | Disconnect)]
        assert (
            "◐ home: connecting …" in by_label(now)
            or "● home: connecting …" in by_label(now)
            or one.state is MeshState.DOWN
        )


@pytest.mark.parametrize(
    ("one", "effect"),
    [
        (mesh(connected_by="grace", person="grace"), "grace connected it; only grace has the keys to connect it again"),
        (mesh(connected_by="grace", person=""), "grace connected it"),
        (mesh(connected_by="", person="", keyring_entry=""), "It is connected for all users of this machine"),
        (mesh(self_id="m1"), "This machine is a node: peers and subnets behind it are cut off too"),
    ],
)
def test_what_would_cut_others_asks_first(one: Mesh, effect: str) -> None:
    found = by_label(state(one))
    assert found["Disconnect"].deed is None
    assert [item.label for item in found["Disconnect"].children] == [effect, "Disconnect all the same"]
    assert found["Disconnect all the same"].deed == Disconnect("mesh-home")
    assert "Pause" not in found


def test_a_request_shows_its_fingerprint_before_it_can_be_granted() -> None:
    found = by_label(state(ASKED))
    inside = [one.label for one in found["desk-alan asks to be let in"].children]
    assert inside == ["From 192.0.2.77", "It shows: b3f1 9a20", "Let desk-alan in", "Refuse"]
    assert found["Let desk-alan in"].deed == LetIn("mesh-home", "4f2a", "desk-alan")
    assert found["Let desk-alan in"].enabled
    assert not by_label(state(mesh(pending=(DESK_ALAN,))))["Let desk-alan in"].enabled


def test_several_meshes_have_menus_of_their_own() -> None:
    items = menu(state(mesh(), down("work")))
    assert [one.label for one in items[:2]] == ["● home: connected", "○ work: disconnected"]
    assert Disconnect("mesh-home") in [one.deed for one in items[0].children]
    assert Connect("mesh-work") in [one.deed for one in items[1].children]


def test_a_crowd_is_cut() -> None:
    crowd = [member(number, f"laptop-{number}", ipv4=None) for number in range(10, 60)]
    found = by_label(state(mesh("home", *crowd)))
    assert len(found["Members"].children) == MOST_MEMBERS + 2
    assert found["And 21 more, in meshtui"].deed == OpenMeshtui("home")


def test_who_may_only_look_is_told_what_changes_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshtray.menu._command", lambda user: f"sudo usermod -aG mesh {user}")
    now = state(mesh(admin=True), snapshot=snapshot(mesh(admin=True), may_operate=False))
    assert Copy("sudo usermod -aG mesh ada", "the command") in deeds(now)
    assert not [one for one in deeds(now) if isinstance(one, Disconnect | Pause)]
    assert not by_label(now)["Join a mesh"].enabled
    monkeypatch.setattr("meshtray.menu._command", lambda user: "")
    assert "ada may only look; logging in again changes that" in by_label(now)
    assert not any(isinstance(one, Copy) and "usermod" in one.text for one in deeds(now))
    assert "uid 4711 may only look; use an account of the group mesh" in by_label(replace(now, user="uid 4711"))


def test_another_version_of_the_helper_is_shown() -> None:
    now = state(mesh(), snapshot=snapshot(mesh(), version="0.2.0"))
    assert "▲ meshd is 0.2.0, meshtray 0.1.0: restart the older one" in by_label(now)
    assert not [one for one in by_label(state(mesh())) if "restart the older" in one]


def test_trouble_failures_and_alarms_are_in_the_menu_too() -> None:
    now = state(
        down(), trouble={"mesh-home": "the keyring is locked → unlock it"},
        failure=Failure("it did not work", "do this"), snapshot=snapshot(down(), alarms=(ALARM,)),
    )  # fmt: skip
    found = by_label(now)
    assert "▲ The keyring is locked → unlock it" in found
    assert "▲ it did not work → do this" in found
    assert "I have seen it" in found


def test_without_a_helper_there_is_what_starts_it() -> None:
    now = state(mesh(), link=LOST)
    assert Copy("sudo systemctl start meshd", "the command") in deeds(now)
    assert Quit() in deeds(now)
    assert not [one for one in deeds(now) if isinstance(one, Join)]
    assert now.link.state is LinkState.LOST
    assert replace(now, link=LIVE).live


def test_a_crowd_that_asks_to_be_let_in_fills_no_screen() -> None:
    crowd = tuple(Pending(f"{number}", f"x-{number}", "192.0.2.77", "") for number in range(100))
    labels = [one.label for one in everything(menu(state(mesh(admin=True, pending=crowd))))]
    assert [one for one in labels if one.endswith("asks to be let in") and one.startswith("x-")] == [
        f"x-{n} asks to be let in" for n in range(5)
    ]
    assert "And 95 more ask, in meshtui" in labels


def test_what_waits_in_great_number_does_not_fill_the_screen() -> None:
    asking = tuple(replace(DESK_ALAN, id=f"{number}", name=f"desk-{number}") for number in range(100))
    text = appearance(state(mesh(admin=True, pending=asking))).text
    assert text.splitlines()[-2:] == ["   desk-4 asks to be let in", "   and 95 more"]
