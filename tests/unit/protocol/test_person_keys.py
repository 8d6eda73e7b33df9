"""Entries of the keyring, against one that is kept in memory; a real Secret Service is in tests/lab/test_keyring.py."""

from __future__ import annotations

from collections.abc import Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError, PasswordSetError
from meshproto import person_keys
from meshproto.person_keys import SERVICE, NoKeyring

NOW_MS = 1_700_000_000_000


class InMemory(KeyringBackend):
    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}
        self.broken: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        assert service == SERVICE
        return self.entries.get(username)

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.broken is not None:
            raise self.broken
        self.entries[username] = password

    def delete_password(self, service: str, username: str) -> None:
        if username not in self.entries:
            raise PasswordDeleteError("No such password!")
        del self.entries[username]


@pytest.fixture
def backend() -> Iterator[InMemory]:
    before, found = keyring.get_keyring(), InMemory()
    keyring.set_keyring(found)
    yield found
    keyring.set_keyring(before)


def test_an_entry_comes_back_as_it_was(backend: InMemory) -> None:
    entry = person_keys.begin()
    assert list(backend.entries) == [entry.name]
    found = person_keys.load(entry.name)
    assert (found.wireguard, found.certificate, found.invites) == (entry.wireguard, entry.certificate, {})
    person_keys.abandon(entry)
    assert backend.entries == {}


def test_nothing_of_it_is_printed(backend: InMemory) -> None:
    entry = person_keys.begin()
    person_keys.keep_invite(entry.name, "4f1c", "mesh1-secret", NOW_MS)
    shown = f"{person_keys.load(entry.name)!r}"
    assert "mesh1" not in shown
    assert entry.wireguard.text() not in shown
    assert str(entry.certificate) not in shown


def test_who_asks_again_asks_with_the_same_keys(backend: InMemory) -> None:
    first = person_keys.begin("gw-berlin.example")
    assert person_keys.begin("gw-berlin.example").name == first.name
    assert person_keys.begin("gw-paris.example").name != first.name
    person_keys.finish(first, "gw-berlin.example")
    assert person_keys.load(first.name).certificate == first.certificate
    assert person_keys.begin("gw-berlin.example").name != first.name


def test_invites_that_ended_are_forgotten(backend: InMemory) -> None:
    entry = person_keys.begin()
    person_keys.keep_invite(entry.name, "old", "mesh1-unreadable", NOW_MS)
    person_keys.keep_invite(entry.name, "new", "mesh1-unreadable-too", NOW_MS)
    assert list(person_keys.load(entry.name).invites) == ["new"]


def test_what_was_deleted_already_is_no_error(backend: InMemory) -> None:
    person_keys.delete("never there")


def test_an_entry_that_is_not_there(backend: InMemory) -> None:
    with pytest.raises(NoKeyring, match="not in your keyring"):
        person_keys.load("never there")


@pytest.mark.parametrize(
    "document", ["", "{}", "[]", "null", '{"wireguard": 1}', '{"wireguard": "x", "certificate": ""}']
)
def test_a_damaged_entry_is_named(backend: InMemory, document: str) -> None:
    backend.entries["name"] = document
    with pytest.raises(NoKeyring, match="damaged"):
        person_keys.load("name")


@pytest.mark.parametrize("error", [PasswordSetError("locked"), OSError("no bus")], ids=["locked", "gone"])
def test_a_keyring_that_fails_is_said_to(backend: InMemory, error: Exception) -> None:
    backend.broken = error
    with pytest.raises(NoKeyring, match="can't be used") as raised:
        person_keys.begin()
    assert raised.value.fix


@pytest.mark.parametrize("priority", [0, 0.5])
def test_one_that_keeps_secrets_readable_is_none(
    backend: InMemory, priority: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InMemory, "priority", priority)
    with pytest.raises(NoKeyring, match="there is no keyring"):
        person_keys.begin()
    assert backend.entries == {}
