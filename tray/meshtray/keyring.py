"""The person's keyring, asked for one mesh after the other: they unlock it, or say no, once for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from meshproto import local_pb2
from meshproto.person_keys import NoEntry, NoKeyring

from meshtray import keyring_process
from meshtray.keyring_process import GivenUp

SERVICE = "org.freedesktop.secrets"
"""The name of a Secret Service on the session bus."""


class Keyring:
    """Owned by the app. `owner_changed` is to hear who has SERVICE."""

    def __init__(self) -> None:
        self._owner = ""
        self._turn = asyncio.Lock()
        self._gone = asyncio.Event()
        self._refusal: NoKeyring | None = None
        self._refusals = 0
        self._given_up: GivenUp | None = None
        self._late: dict[str, Callable[[], None]] = {}

    def owner_changed(self, owner: str) -> None:
        """One that ends, or is replaced, takes its prompt along, and whoever asked it would wait for ever."""
        before, self._owner = self._owner, owner
        if not owner or (before and before != owner):
            self._gone.set()
            self._drop()

    async def load(self, name: str, waits: Callable[[], None], late: Callable[[], None]) -> local_pb2.MemberKeys:
        """The keys of that entry. `waits` is called while the person is asked to unlock it, it seems, and `late` when
        that was done after we had given up: they were away. Raises NoKeyring, NoProgram."""
        before = self._refusals
        await self._take_turn(waits)
        try:
            if self._refusal is not None and self._refusals != before:  # and they meant this one, too
                if self._given_up is self._refusal:
                    self._late[name] = late
                raise self._refusal.with_traceback(None)
            others = {one: told for one, told in self._late.items() if one != name}
            self._drop()  # its prompt gives way to ours, which is for all that it was for
            self._late = others
            keys = await self._unless_gone(keyring_process.load(name, waits))
            self._tell_late()
            return keys
        except NoEntry:
            raise
        except NoKeyring as error:
            if error is not self._refusal:
                self._refused(error, name, late)
            raise
        finally:
            self._turn.release()

    async def _take_turn(self, waits: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(keyring_process.SOON_S):
                await self._turn.acquire()
        except TimeoutError:
            waits()
            await self._turn.acquire()

    async def _unless_gone(self, asking: Coroutine[Any, Any, local_pb2.MemberKeys]) -> local_pb2.MemberKeys:
        self._gone.clear()
        asked, gone = asyncio.create_task(asking), asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait([asked, gone], return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            raise NoKeyring("the keyring ended while it was asked", "try again")
        finally:
            for task in (asked, gone):
                task.cancel()
            await asyncio.gather(asked, gone, return_exceptions=True)

    def _refused(self, error: NoKeyring, name: str, late: Callable[[], None]) -> None:
        self._refusals += 1
        self._refusal = error
        if isinstance(error, GivenUp):
            self._given_up = error
            self._late[name] = late
            error.answer.add_done_callback(self._answered)
        else:
            self._late.clear()

    def _answered(self, answer: asyncio.Task[bytes]) -> None:
        if self._given_up is None or self._given_up.answer is not answer:
            return
        self._given_up = None
        if not answer.cancelled() and answer.exception() is None:
            self._tell_late()
        self._late.clear()

    def _tell_late(self) -> None:
        told, self._late = self._late, {}
        for late in told.values():
            late()

    def _drop(self) -> None:
        """What was given up and still asks."""
        given_up, self._given_up = self._given_up, None
        self._late = {}
        if given_up is not None and given_up.process.returncode is None:
            given_up.process.kill()
