"""Lets one key through at a time: the next one comes when what this one does is on the screen.

Textual hands each key to whatever has the focus when it arrives, and acts on it later. Keys that come at once, as over
a slow link, would so be lost, or act on the screen below the dialog that they were typed for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from textual import events
from textual.app import App, ScreenStackError
from textual.message import Message
from textual.widget import Widget

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
            await self._act(await self._keys.get())
            with suppress(TimeoutError, ScreenStackError):  # without a screen the app is about to end
                async with asyncio.timeout(PATIENCE_S):
                    await self._settled()

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
