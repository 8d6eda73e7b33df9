"""meshtui on a pseudo-terminal against a recorded helper: start time, time from key to screen, CPU and memory.

PYTHONPATH=tests python tests/bench/meshtui_terminal.py [MEMBERS …]
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

import meshproto.client  # noqa: F401  # before grpc: it silences the C core's own log
from meshproto import local_pb2
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MESHTUI = Path(sys.executable).parent / "meshtui"
CLOCK_TICK = os.sysconf("SC_CLK_TCK")


class Terminal:
    """meshtui at 160×48; `wait_for` reads until a text comes."""

    def __init__(self, socket: Path) -> None:
        self.began = time.monotonic()
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execv(MESHTUI, [str(MESHTUI), "--socket", str(socket)])
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 48, 160, 0, 0))
        self.written = 0

    def wait_for(self, text: bytes, limit: float = 20) -> float:
        """Seconds until `text` is written."""
        began, seen = time.monotonic(), b""
        while text not in seen:
            ready, _, _ = select.select([self.screen], [], [], max(began + limit - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"waited {limit} s for {text!r}")
            seen += os.read(self.screen, 1 << 16)
        return time.monotonic() - began

    def drain(self, seconds: float) -> int:
        """Reads for a while; how many bytes came."""
        end, count = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            if select.select([self.screen], [], [], left)[0]:
                count += len(os.read(self.screen, 1 << 16))
        return count

    def press(self, key: bytes) -> None:
        os.write(self.screen, key)

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICK

    def memory_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.screen)


def keep_changing(
    meshd: RecordedMeshd, members: list[local_pb2.MemberStatus], every: float, end: threading.Event
) -> None:
    """Everybody's numbers change, as meshd would say it."""
    turn = 0
    while not end.wait(every):
        turn += 1
        now_ms = int(time.time() * 1000)
        for place, one in enumerate(members):
            one.rx_rate = (place * 37 + turn * 311) % 90_000
            one.latency_ms = 1 + (place + turn) % 80
            one.latest_handshake_ms = now_ms - 1000 * (place % 120)
        difference = local_pb2.MeshDifference(mesh_id="mesh-home", members=members)
        meshd.push(local_pb2.WatchUpdate(differences=[difference], at_ms=now_ms))


def measure(count: int, every: float) -> None:
    folder = Path(tempfile.mkdtemp())
    members = recordings.crowd(count)
    meshd = RecordedMeshd(folder / "meshd.sock", recordings.status(recordings.mesh(members=members)))
    meshd.start()
    starts = []
    for _ in range(5):
        terminal = Terminal(folder / "meshd.sock")
        terminal.wait_for("⬡".encode())
        first = time.monotonic() - terminal.began
        terminal.wait_for(b"gw-berlin")
        starts.append((first, time.monotonic() - terminal.began))
        terminal.close()
    terminal = Terminal(folder / "meshd.sock")
    terminal.wait_for(b"gw-berlin")
    end = threading.Event()
    pusher = threading.Thread(target=keep_changing, args=(meshd, members[4:], every, end), daemon=True)
    pusher.start()
    terminal.drain(3)
    times = []
    for turn in range(60):
        terminal.press(b"j" if turn % 20 < 10 else b"k")
        times.append(terminal.wait_for("▸".encode()) * 1000)
        terminal.drain(0.03 + 0.007 * (turn % 9))
    before, began = terminal.cpu(), time.monotonic()
    written = terminal.drain(10)
    seconds = time.monotonic() - began
    cpu = (terminal.cpu() - before) / seconds * 100
    memory = terminal.memory_mb()
    end.set()
    pusher.join()
    terminal.close()
    meshd.stop()
    shutil.rmtree(folder)
    times.sort()
    print(
        f"{count:5} members: first frame {statistics.median(one for one, _ in starts):.2f} s, table"
        f" {statistics.median(one for _, one in starts):.2f} s; key {statistics.median(times):.0f} ms median,"
        f" {times[int(len(times) * 0.95)]:.0f} ms p95, {times[-1]:.0f} ms worst; {cpu:.1f} % CPU,"
        f" {memory:.0f} MB, {written / seconds / 1000:.1f} kB/s to the terminal"
    )


if __name__ == "__main__":
    for number in [int(one) for one in sys.argv[1:]] or [10, 100, 1000, 3000]:
        measure(number, 2.0)
