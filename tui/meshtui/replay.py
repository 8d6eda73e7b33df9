"""A recording in the place of the helper: its updates come when they came, faster where wanted, with pause and step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshproto.byte_scale import unpacked
from meshproto.plain_text import plain
from meshproto.recording import NoRecording, read

from meshtui.connection import Listener, Refused, client_modules
from meshtui.model import Link, LinkState

if TYPE_CHECKING:
    from meshproto import local_pb2 as wire
    from meshproto.figures import Figures

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 60.0, 300.0)
RECORDING = "this is a recording"
LONGEST_GAP_S = 10.0
"""Of the recording: nobody waits for a night in which nothing was recorded."""


class Replay:
    """Has the form of a Connection. `now_s` is the moment in the recording, in Unix seconds."""

    def __init__(self, path: Path, listener: Listener, speed: float = 1.0) -> None:
        self._listener = listener
        self._updates = read(path)
        self._next: tuple[int, bytes] | None = next(self._updates, None)
        self._at_s = self._next[0] / 1000 if self._next else time.time()
        self._since = time.monotonic()
        self.speed = speed
        self.paused = False
        self._changed = asyncio.Event()
        self._steps = 0
        self._days: dict[str, Any] = {}  # MemberDay by id of the member

    @property
    def ended(self) -> bool:
        return self._next is None

    def now_s(self) -> float:
        if self.paused or self.ended:
            return self._at_s
        ahead = self._at_s + (time.monotonic() - self._since) * self.speed
        return min(ahead, self._next[0] / 1000) if self._next else ahead

    def _hold(self) -> None:
        """Counts from here on with the present pace."""
        self._at_s, self._since = self.now_s(), time.monotonic()

    # --- keys -------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        self._hold()
        self.paused = not self.paused
        self._changed.set()

    def step(self) -> None:
        """One update further, and still there."""
        self._hold()
        self.paused = True
        self._steps += 1
        self._changed.set()

    def faster(self, steps: int) -> None:
        self._hold()
        nearest = min(range(len(SPEEDS)), key=lambda place: abs(SPEEDS[place] - self.speed))
        self.speed = SPEEDS[max(0, min(nearest + steps, len(SPEEDS) - 1))]
        self._changed.set()

    # --- in the place of the connection -----------------------------------------------------------------------------

    async def run(self) -> None:
        await asyncio.to_thread(client_modules)
        from meshproto.figures import Figures

        figures = Figures()
        self._listener.link_changed(Link(LinkState.LIVE))
        while self._next is not None:
            at_ms, data = self._next
            await self._wait_for(at_ms / 1000)
            self._at_s, self._since = at_ms / 1000, time.monotonic()
            try:
                update = await asyncio.to_thread(_restored, figures, data)
                self._days.update({one.member_id: one for one in update.days})
                await self._listener.update_came(update)
                self._next = next(self._updates, None)
            except (NoRecording, ValueError) as error:
                self._next = None
                self._listener.link_changed(Link(LinkState.LOST, plain(str(error)), since_ms=at_ms))
                return
        self._listener.link_changed(Link(LinkState.LIVE))

    async def _wait_for(self, at_s: float) -> None:
        while True:
            self._changed.clear()
            if self._steps:
                self._steps -= 1
                return
            left = min(at_s - self.now_s(), LONGEST_GAP_S) / self.speed
            if not self.paused and left <= 0:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), None if self.paused else left)
            except TimeoutError:
                return

    async def call(self, method: str, timeout_s: float = 0, **fields: Any) -> Any:
        day = self._days.get(fields.get("who", "")) if method == "GetPast" else None
        if day is None:
            raise Refused(RECORDING)
        return client_modules()[2].GetPastReply(
            newest_minute=day.newest_minute,
            traffic=map(unpacked, day.traffic),
            latency_ms=map(unpacked, day.latency_ms),
        )

    async def follow(self, method: str, heard: Callable[[Any], None], timeout_s: float = 0, **fields: Any) -> None:
        raise Refused(RECORDING)


def _restored(figures: Figures, data: bytes) -> wire.WatchUpdate:
    """In a thread: thousands of members take a moment. Raises ValueError."""
    return figures.whole(client_modules()[2].WatchUpdate.FromString(data))
