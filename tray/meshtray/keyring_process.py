"""The person's keyring, in a process of its own for each question: its libraries take memory that the icon would keep,
and a prompt that nobody answers holds a thread for ever. That process ends with the tray, and takes its prompt along.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from typing import Any, BinaryIO

from meshproto import local_pb2, person_keys
from meshproto.person_keys import NoEntry, NoKeyring
from meshproto.plain_text import plain

from meshtray.main import KEYRING
from meshtray.programs import NoProgram, own_command

SOON_S = 3.0
"""A keyring that is unlocked answers within milliseconds, and a process starts within a second or two."""
LIMIT_S = 120.0
KEEP_LIMIT_S = 20.0
"""The invite that was made waits for it to be shown."""
REFUSED, NO_ENTRY = 3, 4
"""Exit status of ours: why is on standard output."""


class GivenUp(NoKeyring):
    """Raised when nobody unlocked it in time. `process` still asks, and `answer` is what comes of it."""

    def __init__(self, limit_s: float, process: Process, answer: asyncio.Task[bytes]) -> None:
        super().__init__(f"the keyring was not unlocked within {limit_s:g} s", "unlock it, and try again")
        self.process = process
        self.answer = answer


async def load(name: str, waits: Callable[[], None]) -> local_pb2.MemberKeys:
    """The keys of that entry; `waits` is called while the person is asked to unlock it, it seems. Raises NoKeyring,
    NoProgram."""
    return local_pb2.MemberKeys.FromString(await _ask({"name": name}, waits, LIMIT_S))


async def keep_invite(name: str, invite_id: str, text: str, now_ms: int) -> None:
    """Raises NoKeyring, NoProgram."""
    asked = {"name": name, "invite": invite_id, "text": text, "now_ms": now_ms}
    await _ask(asked, lambda: None, KEEP_LIMIT_S)


async def _ask(question: dict[str, Any], waits: Callable[[], None], limit_s: float) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(*own_command(), KEYRING, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    except OSError as error:
        raise NoProgram(f"{own_command()[0]} can't be started: {error.strerror}") from error
    answer = asyncio.create_task(_answer(process, question))
    try:
        if not (await asyncio.wait([answer], timeout=SOON_S))[0]:
            waits()
            await asyncio.wait([answer], timeout=limit_s)
    except asyncio.CancelledError:
        answer.cancel()
        process.kill()
        raise
    if answer.done():
        return answer.result()
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())
    raise GivenUp(limit_s, process, answer)


async def _answer(process: Process, question: dict[str, Any]) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(question).encode() + b"\n")  # and not closed: it ends when that is
    said = await process.stdout.read()
    status = await process.wait()
    process.stdin.close()
    if status == 0:
        return said
    try:
        document = json.loads(said)
        message, fix = plain(str(document["message"])), plain(str(document["fix"]))
    except (ValueError, TypeError, KeyError):
        message = f"the keyring can't be used: the process that asks it ended with status {status}"
        fix = "try again, and report it if it stays so"
    raise (NoEntry if status == NO_ENTRY else NoKeyring)(message, fix)


# --- in that process --------------------------------------------------------------------------------------------------


def serve(given: BinaryIO, out: BinaryIO) -> int:
    """One question from the tray. The exit status."""
    question = json.loads(given.readline())
    threading.Thread(target=_end_with, args=(given,), daemon=True).start()
    try:
        if "invite" in question:
            person_keys.keep_invite(question["name"], question["invite"], question["text"], question["now_ms"])
        else:
            out.write(person_keys.load(question["name"]).message().SerializeToString())
    except NoKeyring as error:
        out.write(json.dumps({"message": str(error), "fix": error.fix}).encode())
        return NO_ENTRY if isinstance(error, NoEntry) else REFUSED
    return 0


def _end_with(given: BinaryIO) -> None:
    given.read()
    sys.stdout.flush()
    os._exit(1)
