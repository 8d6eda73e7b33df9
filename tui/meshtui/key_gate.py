"""Lets one key through at a time: the next one comes when what this one does is on the screen.

Textual hands each key to whatever has the focus when it arrives, and acts on it later. Keys that come at once, as over
a slow link, would so be lost, or act on the screen below the dialog that they were typed for. Letters that come at once
for a field of text are one: it is how a terminal without bracketed paste pastes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from textual import events
from textual.app import App, ScreenStackError
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input as Field

PATIENCE_S = 1.0
"""What takes longer than this, or was lost with a widget that is gone, holds up nothing."""

Input = events.Key | events.Paste


class Passed(Message):
    """Posted behind a key: it comes through the same widgets to the app, after it."""

    def __init__(self, seen: asyncio.Event) -> None:
        super().__init__()
        self.seen = seen


class KeyGate:
    """`run` is a task of the app; `act` is what the app does with one key."""

    def __init__(self, app: App[None], act: Callable[[Input], Awaitable[None]]) -> None:
        self._app = app
        self._act = act
        self._keys: asyncio.Queue[Input] = asyncio.Queue()
        self._next: Input | None = None
        """Taken out of the queue already, and its turn is next."""
        self._free = asyncio.Event()
        self._free.set()

    def put(self, key: Input) -> None:
        self._keys.put_nowait(key)

    def hold(self) -> None:
        """An action begins. Its first dialog, or the helper, is next."""
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def run(self) -> None:
        while True:
            key, self._next = self._next or await self._keys.get(), None
            await self._act(self._with_those_behind(key))
            with suppress(TimeoutError, ScreenStackError):  # without a screen the app is about to end
                async with asyncio.timeout(PATIENCE_S):
                    await self._settled()

    def _with_those_behind(self, key: Input) -> Input:
        """Letters for a field of text, as what is pasted into it."""
        letters = _letter(key)
        if not letters or not isinstance(self._app.focused, Field):
            return key
        while self._next is None and not self._keys.empty():
            behind = self._keys.get_nowait()
            letter = _letter(behind)
            letters += letter
            self._next = None if letter else behind
        return events.Paste(letters) if len(letters) > 1 else key

    async def _settled(self) -> None:
        await self._passes(self._app.focused or self._app.screen)
        # What a key has a widget say is heard in the second round.
        await self._passes(self._app.focused or self._app.screen)
        await self._free.wait()
        await self._passes(self._app.screen)  # a new one hears of it when it is mounted

    @staticmethod
    async def _passes(widget: Widget) -> None:
        seen = asyncio.Event()
        widget.post_message(Passed(seen))
        await seen.wait()


def _letter(key: Input) -> str:
    """What a key writes into a field of text; "" for every other key."""
    return key.character or "" if isinstance(key, events.Key) and key.is_printable else ""
