"""The helper's bounded journal of events, and whoever follows it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from meshproto import local_pb2

KEPT = 5000
"""Events in memory, about 300 bytes each."""


class Journal:
    """Events in the order in which this helper learnt of them. `sequence` grows by one each."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._events: deque[local_pb2.Event] = deque(maxlen=KEPT)
        self._sequence = 0
        self._grown = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def last_sequence(self) -> int:
        return self._sequence

    def add(
        self,
        mesh: str,
        kind: str,
        text: str,
        *,
        severity: str = "info",
        actor: str = "",
        action: str = "",
        subject: str = "",
        subject_id: str = "",
        revision: int = 0,
        epoch: int = 0,
        at_ms: int = 0,
    ) -> None:
        """Adds an event. Changes of the mesh carry their revision and the time of their commit."""
        self._sequence += 1
        self._events.append(
            local_pb2.Event(
                mesh=mesh,
                kind=kind,
                text=text,
                severity=severity,
                actor=actor,
                action=action,
                subject=subject,
                subject_id=subject_id,
                revision=revision,
                epoch=epoch,
                at_ms=at_ms or int(self._now() * 1000),
                sequence=self._sequence,
            )
        )
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._grown:
            self._grown.notify_all()

    def after(self, sequence: int) -> list[local_pb2.Event]:
        """The kept events with a higher sequence number."""
        return [event for event in self._events if event.sequence > sequence]

    async def follow(self, sequence: int) -> AsyncIterator[local_pb2.Event]:
        """The kept events after `sequence`, then each new one."""
        while True:
            for event in self.after(sequence):
                sequence = event.sequence
                yield event
            async with self._grown:
                while self._sequence <= sequence:
                    await self._grown.wait()
