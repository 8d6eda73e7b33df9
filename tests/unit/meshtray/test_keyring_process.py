"""The process that asks the keyring: answers, refusals, one that waits for a person, one that falls over, a tray that
ends."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from meshproto import local_pb2, person_keys
from meshproto.person_keys import NoKeyring
from meshtray import keyring_process
from meshtray.keyring_process import GivenUp, keep_invite, load, serve
from meshtray.programs import NoProgram

KEYS = local_pb2.MemberKeys(wireguard=bytes(32), certificate=b"certificate")
ANSWER = f"import sys; sys.stdin.readline(); sys.stdout.buffer.write({KEYS.SerializeToString()!r})"


def nothing() -> None:
    raise AssertionError("not to be called")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What runs in place of ours: a line of Python."""
    found = [ANSWER]

    def command() -> Sequence[str]:
        return [sys.executable, "-c", found[0]]

    monkeypatch.setattr(keyring_process, "own_command", command)
    return found


async def test_an_answer_is_the_keys(program: list[str]) -> None:
    assert await load("an entry", nothing) == KEYS


async def test_what_is_asked_is_not_in_the_arguments(program: list[str], tmp_path: Path) -> None:
    program[0] = f"import sys; open({str(tmp_path / 'asked')!r}, 'w').write(sys.stdin.readline())"
    await keep_invite("an entry", "4f2a", "mesh1-secret", 7)
    asked = json.loads((tmp_path / "asked").read_text())
    assert asked == {"name": "an entry", "invite": "4f2a", "text": "mesh1-secret", "now_ms": 7}


async def test_one_that_has_to_be_unlocked_is_waited_for(
    program: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keyring_process, "SOON_S", 0.01)
    unlocked = tmp_path / "unlocked"
    program[0] = f"import os, time\nwhile not os.path.exists({str(unlocked)!r}): time.sleep(0.01)\n{ANSWER}"
    assert await load("an entry", unlocked.touch) == KEYS


async def test_one_that_is_unlocked_too_late_is_given_up_and_still_asked(
    program: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keyring_process, "SOON_S", 0.01)
    monkeypatch.setattr(keyring_process, "LIMIT_S", 0.02)
    unlocked = tmp_path / "unlocked"
    program[0] = f"import os, time\nwhile not os.path.exists({str(unlocked)!r}): time.sleep(0.01)\n{ANSWER}"
    with pytest.raises(GivenUp, match=r"was not unlocked within 0\.02 s") as raised:
        await load("an entry", lambda: None)
    assert raised.value.fix
    unlocked.touch()
    async with asyncio.timeout(30):
        assert await raised.value.answer == KEYS.SerializeToString()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('print(\'{"message": "it is locked", "fix": "unlock it"}\'); raise SystemExit(3)', "it is locked"),
        ('print(\'{"message": "it is not there", "fix": "join"}\'); raise SystemExit(4)', "it is not there"),
        ("raise SystemExit(9)", "ended with status 9"),
        ("print('[]'); raise SystemExit(3)", "ended with status 3"),
        ("print('{\"message\": 3}'); raise SystemExit(3)", "ended with status 3"),
    ],
)
async def test_a_refusal_says_why(program: list[str], line: str, why: str) -> None:
    program[0] = line
    with pytest.raises(NoKeyring, match=why) as raised:
        await load("an entry", nothing)
    assert raised.value.fix


async def test_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_process, "own_command", lambda: ["/nowhere/python"])
    with pytest.raises(NoProgram, match="can't be started"):
        await load("an entry", nothing)


def test_in_that_process_a_keyring_that_is_missing_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> person_keys.Entry:
        raise NoKeyring(f"there is none for {name}", "get one")

    monkeypatch.setattr(person_keys, "load", fail)
    monkeypatch.setattr(keyring_process, "_end_with", lambda given: None)
    out = io.BytesIO()
    assert serve(io.BytesIO(b'{"name": "x"}\n'), out) == keyring_process.REFUSED
    assert json.loads(out.getvalue()) == {"message": "there is none for x", "fix": "get one"}


def test_it_ends_with_the_tray() -> None:
    program = (
        "import sys, time; from meshtray import keyring_process as k\n"
        "k.person_keys.load = lambda name: time.sleep(600)\nk.serve(sys.stdin.buffer, sys.stdout.buffer)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b'{"name": "x"}\n')
        process.stdin.close()
        assert process.wait(30) == 1
