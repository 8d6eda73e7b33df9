"""What actions make of a keyring that does not answer."""

from __future__ import annotations

import asyncio
import threading

import pytest
from meshproto.person_keys import NoKeyring
from meshtray import actions
from meshtray.actions import from_keyring


async def test_a_keyring_that_answers_is_not_waited_for() -> None:
    waited: list[str] = []
    assert await from_keyring(lambda: "keys", lambda: waited.append("it waits")) == "keys"
    assert waited == []


async def test_one_that_is_unlocked_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "KEYRING_SOON_S", 0.01)
    unlocked = threading.Event()

    def keys() -> str:
        assert unlocked.wait(30)
        return "keys"

    assert await from_keyring(keys, unlocked.set) == "keys"


async def test_one_that_is_never_unlocked_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "KEYRING_SOON_S", 0.01)
    over = threading.Event()
    try:
        for _ in range(6):  # more often than there are threads for it
            with pytest.raises(NoKeyring, match=r"was not unlocked within 0\.02 s") as raised:
                await from_keyring(lambda: over.wait(60), limit_s=0.02)
            assert raised.value.fix
    finally:
        over.set()


async def test_one_that_is_unlocked_after_that_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "KEYRING_SOON_S", 0.01)
    unlocked, told = threading.Event(), asyncio.Event()

    def keys() -> str:
        assert unlocked.wait(30)
        return "keys"

    with pytest.raises(NoKeyring):
        await from_keyring(keys, late=told.set, limit_s=0.02)
    assert not told.is_set()
    unlocked.set()
    async with asyncio.timeout(30):
        await told.wait()


async def test_what_a_keyring_raises_comes_through() -> None:
    def fail() -> None:
        raise NoKeyring("there is none", "get one")

    with pytest.raises(NoKeyring, match="there is none"):
        await from_keyring(fail)
