"""The keyring, asked for several meshes at once: by one prompt at a time, answered for all; one that ends meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from meshproto import local_pb2
from meshproto.person_keys import NoKeyring
from meshtray import keyring_process
from meshtray.keyring import Keyring

KEYS = local_pb2.MemberKeys(wireguard=bytes(32), certificate=b"certificate")
PROGRAM = """
import os, sys, time
folder, name = sys.argv[1], __import__("json").loads(sys.stdin.readline())["name"]
open(f"{folder}/asked-{name}", "w").close()
while not os.path.exists(f"{folder}/unlocked") and not os.path.exists(f"{folder}/no-{name}"):
    time.sleep(0.01)
if os.path.exists(f"{folder}/no-{name}"):
    print(open(f"{folder}/no-{name}").read())
    raise SystemExit(4 if "entry" in name else 3)
sys.stdout.buffer.write(KEYS)
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A keyring that is locked until there is a file "unlocked"; "no-NAME" is what it says to a question."""
    program = f"KEYS = {KEYS.SerializeToString()!r}\n{PROGRAM}"

    def command() -> Sequence[str]:
        return [sys.executable, "-c", program, str(tmp_path)]

    monkeypatch.setattr(keyring_process, "own_command", command)
    monkeypatch.setattr(keyring_process, "SOON_S", 0.05)
    return tmp_path


class Asker:
    def __init__(self, keyring: Keyring, name: str) -> None:
        self.waited = asyncio.Event()
        self.unlocked_late = asyncio.Event()
        self.answer = asyncio.create_task(keyring.load(name, self.waited.set, self.unlocked_late.set))

    async def waits(self) -> Asker:
        async with asyncio.timeout(30):
            await self.waited.wait()
        return self

    async def fails(self, why: str) -> None:
        with pytest.raises(NoKeyring, match=why):
            async with asyncio.timeout(30):
                await self.answer


async def test_one_prompt_at_a_time_and_unlocked_for_both(folder: Path) -> None:
    keyring = Keyring()
    home = await Asker(keyring, "home").waits()
    work = await Asker(keyring, "work").waits()
    assert not (folder / "asked-work").exists()
    (folder / "unlocked").touch()
    async with asyncio.timeout(30):
        assert await asyncio.gather(home.answer, work.answer) == [KEYS, KEYS]


async def test_a_prompt_that_is_dismissed_is_meant_for_all_that_wait(folder: Path) -> None:
    keyring = Keyring()
    home = await Asker(keyring, "home").waits()
    work = await Asker(keyring, "work").waits()
    (folder / "no-home").write_text('{"message": "dismissed", "fix": "try again"}')
    await home.fails("dismissed")
    await work.fails("dismissed")
    assert not (folder / "asked-work").exists()
    (folder / "unlocked").touch()
    later = Asker(keyring, "work")  # a person asks for it
    async with asyncio.timeout(30):
        assert await later.answer == KEYS


async def test_an_entry_that_is_missing_says_nothing_about_others(folder: Path) -> None:
    keyring = Keyring()
    lost = await Asker(keyring, "lost-entry").waits()
    home = await Asker(keyring, "home").waits()
    (folder / "no-lost-entry").write_text('{"message": "not there", "fix": "join"}')
    await lost.fails("not there")
    (folder / "unlocked").touch()
    async with asyncio.timeout(30):
        assert await home.answer == KEYS


async def test_both_are_told_when_it_is_unlocked_after_they_gave_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_process, "LIMIT_S", 1.0)
    keyring = Keyring()
    home = await Asker(keyring, "home").waits()
    work = await Asker(keyring, "work").waits()
    await home.fails("was not unlocked within 1 s")
    await work.fails("was not unlocked within 1 s")
    (folder / "unlocked").touch()
    async with asyncio.timeout(30):
        await home.unlocked_late.wait()
        await work.unlocked_late.wait()


async def test_what_was_given_up_gives_way_to_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_process, "LIMIT_S", 0.1)
    keyring = Keyring()
    first = Asker(keyring, "home")
    await first.fails("was not unlocked")
    given_up = keyring._given_up
    assert given_up is not None
    monkeypatch.setattr(keyring_process, "LIMIT_S", 30.0)
    second = await Asker(keyring, "home").waits()
    async with asyncio.timeout(30):
        assert await given_up.process.wait() == -9
    (folder / "unlocked").touch()
    async with asyncio.timeout(30):
        assert await second.answer == KEYS
    assert not first.unlocked_late.is_set()


async def test_others_that_were_given_up_are_told_when_one_unlocks_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_process, "LIMIT_S", 0.5)
    keyring = Keyring()
    home = await Asker(keyring, "home").waits()
    work = await Asker(keyring, "work").waits()
    await home.fails("was not unlocked within 0.5 s")
    await work.fails("was not unlocked within 0.5 s")
    again = await Asker(keyring, "home").waits()
    await again.fails("was not unlocked within 0.5 s")
    monkeypatch.setattr(keyring_process, "LIMIT_S", 30.0)
    last = await Asker(keyring, "home").waits()
    assert not work.unlocked_late.is_set()
    (folder / "unlocked").touch()
    async with asyncio.timeout(30):
        assert await last.answer == KEYS
    assert work.unlocked_late.is_set()
    assert not home.unlocked_late.is_set()
    assert not again.unlocked_late.is_set()


async def test_who_says_no_says_it_for_those_that_were_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_process, "LIMIT_S", 0.1)
    keyring = Keyring()
    work = Asker(keyring, "work")
    await work.fails("was not unlocked")
    monkeypatch.setattr(keyring_process, "LIMIT_S", 30.0)
    home = await Asker(keyring, "home").waits()
    (folder / "no-home").write_text('{"message": "dismissed", "fix": "try again"}')
    await home.fails("dismissed")
    (folder / "unlocked").touch()
    later = Asker(keyring, "other")
    async with asyncio.timeout(30):
        assert await later.answer == KEYS
    assert not work.unlocked_late.is_set()


async def test_a_keyring_that_ends_while_it_is_asked(folder: Path) -> None:
    keyring = Keyring()
    home = await Asker(keyring, "home").waits()
    keyring.owner_changed("")
    await home.fails("the keyring ended while it was asked")
    keyring.owner_changed(":1.7")  # came, and nothing that was asked ended
    (folder / "unlocked").touch()
    again = Asker(keyring, "home")
    async with asyncio.timeout(30):
        assert await again.answer == KEYS


async def test_a_keyring_that_another_one_replaces_while_it_is_asked(folder: Path) -> None:
    keyring = Keyring()
    first = await Asker(keyring, "home").waits()
    keyring.owner_changed(":1.7")  # the bus started it for us
    keyring.owner_changed(":1.9")
    await first.fails("the keyring ended while it was asked")
    second = await Asker(keyring, "home").waits()
    keyring.owner_changed(":1.9")
    (folder / "unlocked").touch()
    async with asyncio.timeout(30):
        assert await second.answer == KEYS
