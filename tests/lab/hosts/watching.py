"""What a host's status says, second by second, beside whether packets pass: kept to be compared afterwards."""

from __future__ import annotations

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

    def __init__(self, host: Host, addresses: list[str]) -> None:
        self._host = host
        self._addresses = addresses
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name=f"status of {host.name}")
        self.samples: list[Sample] = []

    def __enter__(self) -> Watching:
        self._pings = [
            self._host.record(["ping", "-n", "-D", "-i", str(PING_EVERY), one], f"watched-{one}")
            for one in self._addresses
        ]
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for process in self._pings:
            self._host.send_signal(process, signal.SIGINT)
            process.wait(10)

    def _sample(self) -> None:
        channel, stub = connect(Path(f"/proc/{self._host.pid}/root/run/meshd/meshd.sock"))
        while not self._stop.wait(EVERY):
            self.samples.append(self.look(stub))
        channel.close()

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

    def lies(self, limit: float) -> list[str]:
        """The samples that say connected although no packet had come back for more than `limit` seconds."""
        answers = self.answers()
        told = []
        for one in self.samples:
            place = bisect_right(answers, one.at)
            silence = one.at - answers[place - 1] if place else one.at
            if one.state == "connected" and silence > limit:
                told.append(f"{time.strftime('%H:%M:%S', time.gmtime(one.at))}: connected, silent for {silence:.1f} s")
        return told
