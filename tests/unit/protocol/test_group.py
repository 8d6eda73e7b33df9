"""What has somebody in the group that may operate the helper."""

from __future__ import annotations

import grp

import pytest
from meshproto import group


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = ["ada"]
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", 990, found)))
    return found


def test_who_is_not_in_it(members: list[str]) -> None:
    assert group.way_in("grace") == "sudo usermod -aG mesh grace, then log in again"


def test_a_name_is_one_word_of_a_shell(members: list[str]) -> None:
    assert group.command("OFFICE\\grace") == "sudo usermod -aG mesh 'OFFICE\\grace'"


def test_an_account_without_a_name_can_not_come_into_it(members: list[str]) -> None:
    assert (group.command("uid 4711"), group.way_in("uid 4711")) == ("", "use an account of the group mesh")


def test_who_is_in_it_since_this_session_began(members: list[str]) -> None:
    assert (group.command("ada"), group.way_in("ada")) == ("", "log out and in again")


def test_a_group_that_does_not_exist_is_made_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> grp.struct_group:
        raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", missing)
    assert group.command("grace") == "sudo groupadd --system mesh && sudo usermod -aG mesh grace"
