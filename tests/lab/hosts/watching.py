"""What a host's status and tray say, second by second, beside whether packets pass: kept to be compared afterwards."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import grpc
from lab.hosts.host import Host
from meshproto import local_pb2
from meshproto.client import connect
from meshtray.bus import BusError
from tray.desktop import Panel

EVERY = 1.0
"""Seconds between samples of the status."""

PING_EVERY = 0.1

LONGEST_TRIP = 2000.0
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Sample:
    at: float  # Unix seconds
    state: str  # "" when the helper did not answer: it is frozen
    reason: str


class Watching:
    """While it is open: asks `host` for its status every second, and pings `addresses` through the tunnel."""

    def __init__(self, host: Host, addresses: list[str], session: Path) -> None:
        self._host = host
        self._addresses = addresses
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name=f"status of {host.name}")
        self.samples: list[Sample] = []
        self._session = session
        self._panel_there = threading.Event()
        self._tray_thread = threading.Thread(target=self._sample_tray, name=f"tray of {host.name}")
        self.tray: list[Sample] = []
        self.thawed = 0.0  # when the host was frozen last, until then

    def __enter__(self) -> Watching:
        self._pings = [
            self._host.record(["ping", "-n", "-D", "-i", str(PING_EVERY), one], f"watched-{one}")
            for one in self._addresses
        ]
        self._thread.start()
        self._tray_thread.start()
        assert self._panel_there.wait(10), "no panel on the session's bus"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._tray_thread.join()
        for process in self._pings:
            self._host.send_signal(process, signal.SIGINT)
            process.wait(10)

    def _sample(self) -> None:
        channel, stub = connect(Path(f"/proc/{self._host.pid}/root/run/meshd/meshd.sock"))
        while not self._stop.wait(EVERY):
            self.samples.append(self.look(stub))
        channel.close()

    def _sample_tray(self) -> None:
        asyncio.run(self._ask_tray())

    async def _ask_tray(self) -> None:
        """Has a panel on the session's bus, asks the icon as panels do, and writes down what it is."""
        panel = await Panel.start(f"unix:path={self._session}")
        self._panel_there.set()
        while not self._stop.is_set():
            await asyncio.sleep(EVERY)
            try:
                async with asyncio.timeout(0.9):
                    icon = await panel.icon() if panel.items else ""
            except (TimeoutError, BusError):  # it is frozen, or has ended
                icon = ""
            self.tray.append(Sample(time.time(), icon, ""))
        await panel.stop()

    @staticmethod
    def look(stub: object) -> Sample:
        try:
            status = stub.GetStatus(local_pb2.GetStatusRequest(), timeout=0.9)  # type: ignore[attr-defined]  # the stub
        except grpc.RpcError:
            return Sample(time.time(), "", "")
        (mesh,) = status.meshes
        return Sample(time.time(), local_pb2.MeshState.Name(mesh.state).lower(), mesh.reason)

    def answers(self) -> list[float]:
        """When packets came back, in Unix seconds. Not those that had come before a freeze, and were read after it."""
        found: list[float] = []
        for one in self._addresses:
            lines = re.findall(
                r"^\[([\d.]+)\].*bytes from.* time=([\d.]+) ms", self._host.recorded(f"watched-{one}"), re.M
            )
            found += [float(at) for at, trip in lines if float(trip) < LONGEST_TRIP]
        return sorted(found)

    def first_answer(self, after: float) -> float | None:
        return next((one for one in self.answers() if one >= after), None)

    def lies(self, limit: float, blink: float) -> list[str]:
        """The samples that say connected although no packet had come back for more than `limit` seconds, nor did within
        `blink` seconds of it: when the network is back, meshd's own packets may pass before the next ping is sent.

        The tray's are taken as a person sees them: while all stands still, nothing is drawn.
        """
        answers = self.answers()
        told = []
        for who, samples, seen_since in (("status", self.samples, 0.0), ("tray", self.tray, self.thawed)):
            for one in samples:
                place = bisect_right(answers, one.at)
                last = answers[place - 1] if place else 0.0
                if place < len(answers) and answers[place] - one.at < blink:
                    continue
                silence = one.at - (max(last, seen_since) if one.at > seen_since else last)
                if one.state == "connected" and silence > limit:
                    at = time.strftime("%H:%M:%S", time.gmtime(one.at))
                    told.append(f"{at}: {who} says connected, silent for {silence:.1f} s")
        return told
