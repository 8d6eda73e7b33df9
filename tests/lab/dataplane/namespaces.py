"""Hosts in network namespaces, each with an event loop of its own whose threads live in that namespace."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from meshd.dataplane.apply import HostNetwork
from meshd.dataplane.wireguard.backend import Backend
from meshd.dataplane.wireguard.userspace import UserspaceBackend

T = TypeVar("T")
CLONE_NEWNET = 0x40000000  # linux/sched.h

MakeBackend = Callable[[Path], Backend]
"""From a folder for its files to a backend."""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class Host:
    """A network namespace; `do` runs a coroutine in it."""

    foreign = "lo"  # a link that no backend made

    def __init__(self, name: str, folder: Path, make_backend: MakeBackend = UserspaceBackend) -> None:
        self.name, self.folder, self._make_backend = name, folder, make_backend
        self._children: list[subprocess.Popen[str]] = []
        run("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        self.backend = make_backend(folder)
        self.network = HostNetwork(self.backend, folder)

    def _enter(self) -> None:
        descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            assert ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) == 0
        finally:
            os.close(descriptor)

    def _live(self) -> None:
        self._enter()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(4, initializer=self._enter))
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def ip(self, *arguments: str) -> str:
        return run("ip", "-n", self.name, *arguments)

    def run(self, *command: str) -> str:
        return run("ip", "netns", "exec", self.name, *command)

    def start(self, *command: str, output: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        """A process that ends with the host at the latest."""
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *command], stdout=output, text=True)
        self._children.append(process)
        return process

    def restart_helper(self) -> None:
        """What a new process starts with, after the old one was killed: nothing but the files."""
        self.do(self.backend.close())
        self.backend = self._make_backend(self.folder)
        self.network = HostNetwork(self.backend, self.folder)

    def end(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        try:
            self.do(self.network.remove_all_but_identity())
            self.do(self.backend.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            run("ip", "netns", "del", self.name)


STEADY = 5
"""Pings after which a flood runs."""


class Flood:
    """Pings all the time; `lost` ends it and says how many had no answer, of how many. They count once it runs:
    in an emulated machine one of the very first is lost now and then, before anything is done to the tunnel."""

    def __init__(self, host: Host, target: str, interval: float = 0.001) -> None:
        self._path = host.folder / f"flood-{target}"
        with self._path.open("w") as output:
            self._process = host.start("ping", "-i", str(interval), target, output=output)
        self._from = self._until(STEADY, "the first answers")

    def _until(self, number: int, what: str) -> int:
        """Waits for the answer to that ping or a later one; returns its number."""
        deadline = time.monotonic() + 30
        while (answered := max(self._answered(), default=0)) < number:
            assert time.monotonic() < deadline, f"no ping was answered for 30 s: waiting for {what}"
            time.sleep(0.02)
        return answered

    def _answered(self) -> set[int]:
        return set(map(int, re.findall(r"icmp_seq=(\d+) ttl", self._path.read_text())))

    def lost(self) -> tuple[int, int]:
        """What was sent before now counts; what comes after only shows that no answer to it can come any more."""
        try:
            sent = max(self._answered(), default=0)
            self._until(sent + 50, "later answers")
        finally:
            self._process.kill()
            self._process.wait()
        return len(set(range(self._from, sent + 1)) - self._answered()), sent


def wire(one: Host, other: Host, first: str, second: str, addresses: tuple[str, str]) -> None:
    run("ip", "link", "add", first, "netns", one.name, "type", "veth", "peer", "name", second, "netns", other.name)
    for host, interface, address in ((one, first, addresses[0]), (other, second, addresses[1])):
        host.ip("addr", "add", address, "dev", interface)
        host.ip("link", "set", interface, "up")


@contextmanager
def three_hosts(folder: Path, make_backend: MakeBackend = UserspaceBackend) -> Iterator[dict[str, Host]]:
    """lan (10.12.3.2) ── gateway (10.12.3.1, 192.0.2.1) ── laptop (192.0.2.2)"""
    made: dict[str, Host] = {}
    with ExitStack() as ends:
        for name in ("gateway", "laptop", "lan"):
            (folder / name).mkdir()
            made[name] = Host(f"dp{os.getpid()}-{name}", folder / name, make_backend)
            ends.callback(made[name].end)
        wire(made["gateway"], made["laptop"], "up0", "up0", ("192.0.2.1/24", "192.0.2.2/24"))
        wire(made["gateway"], made["lan"], "lan0", "eth7", ("10.12.3.1/24", "10.12.3.2/24"))
        made["gateway"].ip("route", "add", "default", "via", "192.0.2.2")
        yield made
