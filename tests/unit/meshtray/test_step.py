"""From one state of the tray to the next, and what it wants done: connecting, losing, telling once, keys, pauses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from meshtray.deeds import Connect, Deed, Disconnect, LetIn, Mute, Pause, Quit, Seen, Symbolic, TurnAway
from meshtray.state import (
    UNLOCKING,
    AtLogin,
    Chosen,
    Effect,
    Ended,
    Failure,
    Heard,
    Leave,
    LinkChanged,
    Notify,
    Nowhere,
    Perform,
    Save,
    State,
    Ticked,
    Unlocked,
    Waits,
    Withdraw,
)
from meshtray.step import LOST_AFTER_MS, step
from meshtray.values import Alarm, Kind, LinkState, MeshState, Preferences, Snapshot
from unit.meshtray.situations import (
    DESK_ALAN,
    HOUR,
    LIVE,
    LOST,
    NOW,
    SILENT,
    down,
    invite,
    mesh,
    snapshot,
    state,
    with_state,
)

HOME = "mesh-home"


def told(effects: list[Effect]) -> list[str]:
    return [one.title for one in effects if isinstance(one, Notify)]


def performed(effects: list[Effect]) -> list[Deed]:
    return [one.deed for one in effects if isinstance(one, Perform)]


def hear(now: State, *meshes: object, after_ms: int = 0, **fields: object) -> tuple[State, list[Effect]]:
    return step(now, Heard(snapshot(*meshes, **fields), now.now_ms + after_ms, now.boot_ms + after_ms))  # type: ignore[arg-type]  # meshes


# --- a person connects and disconnects --------------------------------------------------------------------------------


def test_connect_says_when_it_is_connected_and_only_then() -> None:
    now, effects = step(state(down()), Chosen(Connect(HOME), NOW))
    assert performed(effects) == [Connect(HOME)]
    assert now.busy == {HOME: "connecting"}
    now, effects = step(now, Chosen(Connect(HOME), NOW))
    assert performed(effects) == []  # a second click
    now, effects = hear(now, mesh(state=MeshState.CONNECTING))
    assert told(effects) == []
    now, effects = step(now, Ended(Connect(HOME)))
    assert (now.busy, told(effects)) == ({}, [])
    now, effects = hear(now, mesh())
    assert told(effects) == ["home is connected"]
    now, effects = hear(now, mesh())
    assert told(effects) == []


@pytest.mark.parametrize("deed", [Disconnect(HOME), Pause(HOME, 5)])
def test_letting_go_is_no_loss(deed: Deed) -> None:
    now, effects = step(state(mesh()), Chosen(deed, NOW))
    assert performed(effects) == [deed]
    now, effects = hear(now, down(reason="disconnected"))
    assert told(effects) == []
    now, effects = step(now, Ended(deed))
    now, effects = step(now, Ticked(NOW + 10 * LOST_AFTER_MS, NOW + 10 * LOST_AFTER_MS))
    assert (told(effects), now.busy) == ([], {})


def test_letting_go_that_failed_is_said_and_a_later_loss_too() -> None:
    now, _ = step(state(mesh()), Chosen(Disconnect(HOME), NOW))
    now, effects = step(now, Ended(Disconnect(HOME), Failure("meshd did not answer in time", "try again")))
    assert told(effects) == ["Home could not be disconnected"]
    now, _ = hear(now, with_state(mesh(), MeshState.STALE, "no answer from gw-berlin"))
    now, effects = step(now, Ticked(NOW + LOST_AFTER_MS, NOW + LOST_AFTER_MS))
    assert told(effects) == ["home is not connected any more"]


def test_who_connects_without_keys_is_told_why_and_may_try_again() -> None:
    now, _ = step(state(down()), Chosen(Connect(HOME), NOW))
    failure = Failure("the keyring can't be used: it is locked", "unlock it, and try again", "no-keyring")
    now, effects = step(now, Ended(Connect(HOME), failure))
    (notice,) = (one for one in effects if isinstance(one, Notify))
    assert notice.title == "Home could not be connected"
    assert notice.actions == (("Try again", Connect(HOME)),)
    assert "unlock it" in notice.body
    assert now.trouble == {HOME: str(failure)}
    now, _ = step(now, Chosen(Connect(HOME), NOW))
    assert now.trouble == {}


# --- keys -------------------------------------------------------------------------------------------------------------


WAITING = down(wanted=True, reason="its keys are in the keyring of ada")


def test_at_login_what_was_connected_is_connected_again_once() -> None:
    fresh = State("ada", "0.1.0", link=LIVE)
    now, effects = hear(fresh, WAITING)
    assert performed(effects) == [Connect(HOME, by_itself=True)]
    now, effects = hear(now, WAITING)
    assert performed(effects) == []
    now, effects = step(
        now, Ended(Connect(HOME, by_itself=True), Failure("the keyring can't be used", code="no-keyring"))
    )
    assert told(effects) == ["Home could not be connected"]
    now, effects = hear(now, replace(WAITING, reason="still"))
    assert performed(effects) == []  # a person is not asked for the keyring again and again


@pytest.mark.parametrize(
    "one",
    [
        down(),  # a person disconnected it
        replace(WAITING, person="grace"),  # another's keys
        replace(WAITING, keyring_entry="", person=""),  # root's files have them: meshd connects it
        replace(WAITING, paused_until_ms=NOW + HOUR),
    ],
)
def test_nothing_else_is_connected_by_itself(one: object) -> None:
    assert performed(hear(State("ada", "0.1.0", link=LIVE), one)[1]) == []


# --- lost and found ---------------------------------------------------------------------------------------------------


def test_a_short_gap_is_not_mentioned() -> None:
    now, effects = hear(state(mesh()), with_state(mesh(), MeshState.STALE))
    assert told(effects) == []
    now, effects = step(now, Ticked(NOW + LOST_AFTER_MS - 1, NOW + LOST_AFTER_MS - 1))
    assert told(effects) == []
    now, effects = hear(now, mesh())
    assert told(effects) == []
    assert told(step(now, Ticked(NOW + 10 * LOST_AFTER_MS, NOW + 10 * LOST_AFTER_MS))[1]) == []


def test_a_loss_is_said_once_and_that_it_is_over() -> None:
    now, _ = hear(state(mesh()), with_state(mesh(), MeshState.STALE, "no answer from gw-berlin for 3 s"))
    now, effects = step(now, Ticked(NOW + LOST_AFTER_MS, NOW + LOST_AFTER_MS))
    assert told(effects) == ["home is not connected any more"]
    for seconds in (11, 12, 60):
        now, effects = step(now, Ticked(NOW + seconds * 1000, NOW + seconds * 1000))
        assert told(effects) == []
    now, effects = hear(now, mesh())
    assert told(effects) == ["home is connected again"]


def test_a_clock_that_is_set_neither_hides_a_loss_nor_makes_one() -> None:
    lost, _ = hear(state(mesh()), with_state(mesh(), MeshState.STALE))
    now, effects = step(lost, Ticked(NOW + HOUR, NOW + 1000))
    assert told(effects) == []
    now, effects = step(now, Ticked(NOW - HOUR, NOW + LOST_AFTER_MS - 1))
    assert told(effects) == []
    now, effects = step(now, Ticked(NOW - HOUR, NOW + LOST_AFTER_MS))
    assert told(effects) == ["home is not connected any more"]


@pytest.mark.parametrize("link", [LOST, SILENT])
def test_a_helper_that_is_gone_or_frozen_is_a_loss(link: object) -> None:
    now, effects = step(state(mesh()), LinkChanged(link, NOW, NOW))  # type: ignore[arg-type]  # a link
    assert now.connected == frozenset()
    now, effects = step(now, Ticked(NOW + LOST_AFTER_MS, NOW + LOST_AFTER_MS))
    assert told(effects) == ["home is not connected any more"]
    now, effects = step(now, LinkChanged(LIVE, NOW + 60_000, NOW + 60_000))
    assert told(effects) == ["home is connected again"]


def test_a_restart_of_the_helper_is_not_mentioned() -> None:
    now, _ = step(state(mesh()), LinkChanged(LOST, NOW, NOW))
    now, effects = step(now, Heard(snapshot(mesh()), NOW + 3000, NOW + 3000))
    now, more = step(now, LinkChanged(LIVE, NOW + 3000, NOW + 3000))
    assert told(effects + more) == []
    assert now.lost_ms == {}


def test_somebody_else_disconnected_it() -> None:
    _, effects = hear(state(mesh()), down(reason="disconnected; connect with `meshctl up home`"))
    (notice,) = (one for one in effects if isinstance(one, Notify))
    assert notice.title == "home was disconnected"
    assert notice.actions == (("Connect", Connect(HOME)),)


def test_a_mesh_that_is_left_leaves_nothing() -> None:
    now, _ = hear(state(mesh()), with_state(mesh(), MeshState.STALE))
    now, effects = hear(now)
    assert (now.lost_ms, now.connected, told(effects)) == ({}, frozenset(), [])


# --- news -------------------------------------------------------------------------------------------------------------


def test_a_request_is_told_once_and_withdrawn() -> None:
    asked = mesh(admin=True, pending=(DESK_ALAN,))
    now, effects = hear(state(mesh(admin=True)), asked)
    (notice,) = (one for one in effects if isinstance(one, Notify))
    assert notice.title == "desk-alan asks to join home"
    assert notice.actions[0] == ("Let it in", LetIn(HOME, "4f2a", "desk-alan"))
    assert notice.actions[1] == ("Refuse", TurnAway(HOME, "4f2a", "desk-alan"))
    assert Save() in effects
    now, effects = hear(now, replace(asked, writable=False))
    now, effects = hear(now, asked)
    assert told(effects) == []
    again = State("ada", "0.1.0", link=LIVE, preferences=now.preferences)  # the tray was started anew
    assert told(hear(again, asked)[1]) == []
    assert Withdraw(notice.key) in hear(now, mesh(admin=True))[1]


def test_who_may_not_let_in_is_not_asked() -> None:
    assert told(hear(state(mesh()), mesh(pending=(DESK_ALAN,)))[1]) == []
    assert told(hear(state(mesh()), mesh(admin=True, pending=(DESK_ALAN,)), may_operate=False)[1]) == []


def test_an_invite_that_is_used_is_told_each_time() -> None:
    now, effects = hear(State("ada", "0.1.0", link=LIVE), mesh(invites=(invite(1, used=1),)))
    assert told(effects) == []  # before this start
    now, effects = hear(now, mesh(invites=(invite(1, used=2, member=""),)))
    assert told(effects) == ["A machine joined home"]
    now, effects = hear(now, mesh(invites=(invite(1, used=2), invite(2, used=1))))
    assert told(effects) == ["laptop-grace joined home"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"expires_ms": NOW + 23 * HOUR}, ["Your invite to home ends in 23 h"]),
        ({"expires_ms": NOW + 25 * HOUR}, []),
        ({"expires_ms": NOW - 1}, []),
        ({"expires_ms": NOW + HOUR, "created_ms": NOW - HOUR}, []),  # was meant to be short
        ({"expires_ms": NOW + HOUR, "created_by": "gw-berlin (root)"}, []),
        ({"expires_ms": NOW + HOUR, "open": False}, []),
    ],
)
def test_an_invite_about_to_expire(fields: dict[str, object], expected: list[str]) -> None:
    assert told(hear(state(mesh()), mesh(invites=(invite(1, **fields),)))[1]) == expected


def test_an_invite_whose_time_comes_while_nothing_happens() -> None:
    now, effects = hear(state(mesh()), mesh(invites=(invite(1, expires_ms=NOW + 25 * HOUR),)))
    assert told(effects) == []
    now, effects = step(now, Ticked(NOW + 2 * HOUR, NOW + 2 * HOUR))
    assert told(effects) == ["Your invite to home ends in 23 h"]
    assert told(step(now, Ticked(NOW + 3 * HOUR, NOW + 3 * HOUR))[1]) == []


def test_a_hundred_invites_that_end_together_are_told_as_five() -> None:
    """Otherwise those that are told first are forgotten before the last one is, and all are told again each minute."""
    many = mesh(invites=tuple(invite(number, expires_ms=NOW + 20 * HOUR) for number in range(400)))
    now, effects = hear(state(mesh()), many)
    assert len(told(effects)) == 5
    for minute in range(1, 60):
        now, effects = step(now, Ticked(NOW + minute * 60_000, NOW + minute * 60_000))
        assert told(effects) == []


def test_a_session_without_a_place_for_the_icon_is_told_once_ever() -> None:
    now, effects = step(state(), Nowhere("no place is there", "add one"))
    (shown,) = (one for one in effects if isinstance(one, Notify))
    assert (shown.title, shown.body) == ("meshtray can't show its icon", "No place is there. Add one.")
    assert Save() in effects
    assert told(step(now, Nowhere("no place is there", "add one"))[1]) == []


def test_an_alarm_is_told_once_and_urgently() -> None:
    alarm = Alarm("home", "the key of gw-oslo changed; it is left out", NOW - 1000)
    now, effects = hear(state(mesh()), mesh(), alarms=(alarm,))
    (notice,) = (one for one in effects if isinstance(one, Notify))
    assert (notice.title, notice.urgent) == ("Alarm: home", True)
    assert told(hear(now, mesh(), alarms=(alarm,))[1]) == []
    old = replace(alarm, at_ms=NOW - 25 * HOUR)
    assert told(hear(state(mesh()), mesh(), alarms=(old,))[1]) == []


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_has_a_switch(kind: Kind) -> None:
    quiet, effects = step(state(mesh(admin=True)), Chosen(Mute(kind, True), NOW))
    assert effects == [Save()]
    alarm = Alarm("home", "the key of gw-oslo changed", NOW)
    ending = invite(2, expires_ms=NOW + HOUR)
    news = mesh(admin=True, pending=(DESK_ALAN,), invites=(invite(1, used=1), ending))
    now, effects = hear(quiet, news, alarms=(alarm,))
    kinds = [one.kind for one in effects if isinstance(one, Notify)]
    now, _ = hear(now, with_state(news, MeshState.STALE), alarms=(alarm,))
    now, effects = step(now, Ticked(NOW + LOST_AFTER_MS, NOW + LOST_AFTER_MS))
    kinds += [one.kind for one in effects if isinstance(one, Notify)]
    assert set(kinds) == set(Kind) - {kind}
    loud, _ = step(now, Chosen(Mute(kind, False), NOW))
    assert loud.preferences.muted == frozenset()


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_quit_leaves_the_meshes_alone() -> None:
    _, effects = step(state(mesh()), Chosen(Quit(), NOW))
    assert effects == [Leave()]


def test_what_a_person_sets_is_kept() -> None:
    now, effects = step(state(mesh()), Chosen(Symbolic(True), NOW))
    assert (now.preferences.symbolic, effects) == (True, [Save()])
    now, effects = step(now, Chosen(Seen("alarm/x"), NOW))
    assert (now.preferences.seen, effects) == (("alarm/x",), [Save()])
    assert step(now, AtLogin(True))[0].at_login is True


def test_what_came_of_a_deed_is_said_and_its_failure_stays_until_something_works() -> None:
    deed = LetIn(HOME, "4f2a", "desk-alan")
    now, effects = step(state(mesh()), Ended(deed, Failure("home can't be changed now", "meshctl nodes list")))
    assert told(effects) == ["Desk-alan could not be let in"]
    assert now.failure is not None
    now, effects = step(now, Ended(deed, say="desk-alan is let in to home"))
    assert told(effects) == ["desk-alan is let in to home"]
    assert now.failure is None


def test_the_same_event_twice_wants_nothing_the_second_time() -> None:
    """Whatever the helper repeats, nobody is told twice."""
    one = mesh(admin=True, pending=(DESK_ALAN,), invites=(invite(1, expires_ms=NOW + HOUR),), warnings=("a route",))
    heard = Heard(snapshot(one, alarms=(Alarm("", "x", NOW),)), NOW, NOW)
    now, effects = step(State("ada", "0.1.0", link=LIVE), heard)
    assert effects
    again, effects = step(now, heard)
    assert (again, effects) == (now, [])


def test_preferences_hold_what_was_told_but_not_for_ever() -> None:
    now = replace(state(mesh(admin=True)), preferences=Preferences(told=tuple(map(str, range(300)))))
    now, _ = hear(now, mesh(admin=True, pending=(DESK_ALAN,)))
    assert len(now.preferences.told) == 300
    assert now.preferences.told[-1] == "request/mesh-home/4f2a"


def test_nothing_is_expected_of_a_helper_that_was_never_heard() -> None:
    now, effects = step(State("ada", "0.1.0"), Ticked(NOW, NOW))
    assert effects == []
    assert now.link.state is LinkState.WAITING
    assert now.snapshot == Snapshot()


def test_a_crowd_that_asks_is_told_of_five_at_once_and_the_next_when_they_are_decided() -> None:
    crowd = tuple(replace(DESK_ALAN, id=f"{number}", name=f"x-{number}") for number in range(100))
    now, effects = hear(state(mesh(admin=True)), mesh(admin=True, pending=crowd))
    assert told(effects) == [f"x-{number} asks to join home" for number in range(5)]
    now, effects = hear(now, mesh(admin=True, pending=crowd[3:]))
    assert told(effects) == [f"x-{number} asks to join home" for number in (5, 6, 7)]
    assert [one.key for one in effects if isinstance(one, Withdraw)] == [f"request/mesh-home/{n}" for n in range(3)]


# --- a keyring, and a helper, that do not answer ----------------------------------------------------------------------


def test_a_prompt_of_the_keyring_is_shown_and_ends_with_the_deed() -> None:
    now, _ = step(state(down(wanted=True)), Ticked(NOW, NOW))
    assert now.busy == {HOME: "connecting"}
    now, effects = step(now, Waits(HOME))
    assert (now.busy, effects) == ({HOME: UNLOCKING}, [])
    failure = Failure("the keyring was not unlocked within 120 s", "unlock it, and try again", "no-keyring")
    now, effects = step(now, Ended(Connect(HOME, by_itself=True), failure))
    assert now.busy == {}
    assert told(effects) == ["Home could not be connected"]
    now, effects = step(now, Waits(HOME))  # too late
    assert now.busy == {}
    now, effects = step(step(now, LinkChanged(LOST, NOW, NOW))[0], LinkChanged(LIVE, NOW, NOW))
    assert performed(effects) == []  # asked once is enough


def test_what_was_said_yes_to_is_not_asked_again_before_it_is_shown() -> None:
    now, effects = step(state(down(wanted=True)), Ticked(NOW, NOW))
    assert performed(effects) == [Connect(HOME, by_itself=True)]
    now, effects = step(now, Ended(Connect(HOME, by_itself=True)))
    assert performed(effects) == []  # the answer may come before the change does, or the change never
    now, effects = step(now, Ticked(NOW + HOUR, NOW + HOUR))
    assert performed(effects) == []
    assert performed(step(now, Chosen(Connect(HOME), NOW))[1]) == [Connect(HOME)]
    now, effects = hear(now, mesh())
    now, effects = hear(now, down(wanted=True))
    assert performed(effects) == [Connect(HOME, by_itself=True)]
    now, effects = step(now, Ended(Connect(HOME, by_itself=True)))
    now, effects = step(step(now, LinkChanged(LOST, NOW, NOW))[0], LinkChanged(LIVE, NOW, NOW))
    assert performed(effects) == [Connect(HOME, by_itself=True)]  # another run of the helper


def test_a_keyring_that_is_unlocked_late_connects_all_the_same() -> None:
    now, _ = step(state(down(wanted=True)), Ticked(NOW, NOW))
    failure = Failure("the keyring was not unlocked within 120 s", "unlock it, and try again", "no-keyring")
    now, effects = step(now, Ended(Connect(HOME, by_itself=True), failure))
    now, effects = step(now, Unlocked(HOME))
    assert performed(effects) == [Connect(HOME, by_itself=True)]
    now, effects = step(now, Unlocked(HOME))
    assert performed(effects) == []


@pytest.mark.parametrize("code", ["helper-unreachable", "timeout"])
def test_what_a_helper_did_not_answer_is_asked_again_when_it_is_back(code: str) -> None:
    now, _ = step(state(down(wanted=True)), Ticked(NOW, NOW))
    now, effects = step(now, Ended(Connect(HOME, by_itself=True), Failure("meshd is not running", "", code)))
    assert performed(effects) == []
    now, effects = step(now, LinkChanged(LOST, NOW, NOW))
    assert performed(effects) == []
    now, effects = step(now, LinkChanged(LIVE, NOW, NOW))
    assert performed(effects) == [Connect(HOME, by_itself=True)]
