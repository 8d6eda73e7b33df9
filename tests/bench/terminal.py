"""meshtui on a pseudo-terminal while members change: time to the first frame, from key to screen, CPU and memory.

The helper is a recorded one that says every 2 s that everybody's figures changed, so nothing else is measured. Beside
it `watch -n2 wg show` on an interface with as many peers, which shows less, just as often.
"""

from __future__ import annotations

import base64
import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
import tempfile
import termios
import threading
import time
from pathlib import Path

import meshproto.client  # noqa: F401  # before grpc: it silences the C core's own log
from lab.hosts.host import BIN, Host, wait_until
from meshproto import local_pb2
from tui.recorded_meshd import RecordedMeshd

from bench.figures import Figure, ratio
from bench.processes import cpu_seconds, cpu_with_children, found, megabytes
from tui import recordings

COUNTS = (10, 100, 1000, 3000)
ROUNDS = 3
EVERY = 2.0
"""Seconds between two updates, in which everybody changes."""
KEYS = 40
WATCH = 8.0


class Screen:
    """A program at 160×48; `wait_for` reads until a text comes."""

    def __init__(self, command: list[str]) -> None:
        self.began = time.monotonic()
        self._seen = b""
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled
            os.execvp(command[0], command)
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", 48, 160, 0, 0))

    def wait_for(self, text: bytes, limit: float = 20) -> float:
        """Seconds until `text` is written, since the last wait."""
        began = time.monotonic()
        while text not in self._seen:
            ready, _, _ = select.select([self._screen], [], [], max(began + limit - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"waited {limit} s for {text!r}")
            self._seen += os.read(self._screen, 1 << 16)
        self._seen = self._seen.partition(text)[2]
        return time.monotonic() - began

    def drain(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._screen], [], [], left)[0]:
                os.read(self._screen, 1 << 16)

    def press(self, key: bytes) -> None:
        self._seen = b""
        os.write(self._screen, key)

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._screen)


def measure() -> list[Figure]:
    samples: dict[str, list[tuple[str, float]]] = {}
    keys: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(ROUNDS):
        for count in COUNTS:
            seen = {**_look(count), "watch -n2 wg show: processor": ("%", _watch_wg(count))}
            keys[count].append(seen["key to screen, median"][1])
            for name, value in seen.items():
                samples.setdefault(f"{count} members: {name}", []).append(value)
    figures = [Figure.of(name, values[0][0], (value for _, value in values)) for name, values in samples.items()]
    figures.sort(key=lambda figure: int(figure.name.partition(" ")[0]))
    many, few = COUNTS[-1], COUNTS[0]
    return [*figures, ratio(f"key to screen with {many} members / with {few}", keys[many], keys[few])]


def _look(count: int) -> dict[str, tuple[str, float]]:
    folder = Path(tempfile.mkdtemp())
    members = recordings.crowd(count)
    meshd = RecordedMeshd(folder / "meshd.sock", recordings.status(recordings.mesh(members=members)))
    meshd.start()
    end = threading.Event()
    pusher = threading.Thread(target=_keep_changing, args=(meshd, members[4:], end))
    screen = Screen([str(BIN / "meshtui"), "--socket", str(folder / "meshd.sock")])
    try:
        screen.wait_for("⬡".encode())
        frame = time.monotonic() - screen.began
        screen.wait_for(b"gw-berlin")
        table = time.monotonic() - screen.began
        pusher.start()
        screen.drain(3)
        times = []
        for turn in range(KEYS):
            screen.press(b"kj"[turn % 2 ^ 1 :][:1])
            times.append(screen.wait_for("▸".encode()) * 1000)
            screen.drain(0.03 + 0.007 * (turn % 9))
        before, began = cpu_seconds(screen.pid), time.monotonic()
        screen.drain(WATCH)
        cpu = (cpu_seconds(screen.pid) - before) / (time.monotonic() - began) * 100
        memory = megabytes(screen.pid)
    finally:
        end.set()
        screen.close()
        if pusher.is_alive():
            pusher.join()
        meshd.stop()
        shutil.rmtree(folder)
    times.sort()
    return {
        "first frame": ("s", frame),
        "table on screen": ("s", table),
        "key to screen, median": ("ms", statistics.median(times)),
        "key to screen, 95 of 100": ("ms", times[int(len(times) * 0.95)]),
        "processor": ("%", cpu),
        "memory": ("MB", memory),
    }


def _watch_wg(count: int) -> float:
    """Percent of a processor that `watch` and the `wg` that it starts take."""
    host = Host("gw-berlin")
    try:
        wireguard = host.popen(["wireguard-go", "-f", "wgbench"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: host.run("wg show wgbench", check=False).returncode == 0, 10, "wireguard-go")
        peers = "".join(
            f"[Peer]\nPublicKey = {base64.b64encode(os.urandom(32)).decode()}\n"
            f"AllowedIPs = 10.{51 + place // 65536}.{place // 256 % 256}.{place % 256}/32\n"
            f"Endpoint = 192.0.2.{1 + place % 250}:10100\n"
            for place in range(count)
        )
        key = host.run("wg genkey").stdout
        host.run("cat > /run/wg.conf; wg setconf wgbench /run/wg.conf", input=f"[Interface]\nPrivateKey = {key}{peers}")
        screen = Screen([*host.enter, "watch", "-n2", "wg", "show"])
        try:
            screen.wait_for(b"wgbench")
            screen.drain(2)
            watch = min(found(host, "watch"))  # a moment after each fork there are two
            before, began = cpu_with_children(watch), time.monotonic()
            screen.drain(WATCH)
            return (cpu_with_children(watch) - before) / (time.monotonic() - began) * 100
        finally:
            screen.close()
            host.send_signal(wireguard)
    finally:
        host.destroy()


def _keep_changing(meshd: RecordedMeshd, members: list[local_pb2.MemberStatus], end: threading.Event) -> None:
    """Everybody's numbers change, as meshd would say it."""
    turn = 0
    while not end.wait(EVERY):
        turn += 1
        now_ms = int(time.time() * 1000)
        for place, one in enumerate(members):
            one.rx_rate = (place * 37 + turn * 311) % 90_000
            one.latency_ms = 1 + (place + turn) % 80
            one.latest_handshake_ms = now_ms - 1000 * (place % 120)
        difference = local_pb2.MeshDifference(mesh_id="mesh-home", members=members)
        meshd.push(local_pb2.WatchUpdate(differences=[difference], at_ms=now_ms))
