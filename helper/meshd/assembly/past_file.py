"""Keeps what `observe` remembers of a mesh in its state folder: read at the start, written now and then, and at stop.

Nothing depends on it: a past that can't be read or written is said in the log, and begins anew.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from meshproto import local_pb2

from meshd.observe.day import Day
from meshd.observe.kept_past import DamagedPast, decode, encode
from meshd.observe.past import Past
from meshd.store.files import write_atomically
from meshd.store.formats import NewerFormat

log = logging.getLogger(__name__)

EVERY = 300.0
"""Seconds. What a crash costs of the past; the file of 3,000 busy members has some megabytes."""


class PastFile:
    def __init__(self, path: Path, past: Past, day: Day) -> None:
        self._path, self._past, self._day = path, past, day
        self._read = False
        self._kept_by_newer = False

    async def read(self) -> None:
        """Once: afterwards memory knows better."""
        if self._read:
            return
        self._read = True
        try:
            kept = decode(await asyncio.to_thread(self._path.read_bytes))
        except FileNotFoundError:
            return
        except NewerFormat as error:
            log.warning("%s: %s; the past of this run is not kept", self._path, error)
            self._kept_by_newer = True
            return
        except (OSError, DamagedPast) as error:
            log.warning("the past in %s is lost: %s", self._path, error)
            return
        self._past.recall(kept.past)
        self._day.recall(kept.days)

    async def write(self) -> None:
        """Blocks nobody else. Does not bring back the folder of a mesh that was left."""
        if self._kept_by_newer:
            return
        kept = local_pb2.WatchUpdate(past=self._past.messages(""), days=self._day.messages(""))
        try:
            await asyncio.to_thread(lambda: write_atomically(self._path, encode(kept)))
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("the past can't be kept in %s: %s", self._path, error.strerror)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.write()
