"""Sizes of the packages, how long their installation and first starts take, and the memory then, in a fresh Debian 12
without Python or systemd. Cold: none of the packages' files is in the kernel's cache, as after a boot.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.hosts.host import wait_until
from vm.machine import IN_A_ROOT, TOP, UNSAFE_SETTING, bootstrap

from bench.figures import Figure

ROUNDS = 7
INSTALLS = 3
NAMES = ("meshtui-helper", "meshtui", "meshtui-tray")
LISTS = ("run", "test", "build", "kernel")

INSIDE = """
mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t sysfs sysfs "$1/sys" &&
mount -t tmpfs tmpfs "$1/run" && mkdir "$1/run/lock" && ip link set lo up && exec chroot "$1" sleep infinity
"""


def measure() -> list[Figure]:
    subprocess.run(
        [TOP / "packaging/install-environment", *(TOP / f"packaging/apt-{one}.txt" for one in LISTS)], check=True
    )
    with tempfile.TemporaryDirectory(prefix="meshtui-bench.") as work:
        made, root = Path(work, "dist"), Path(work, "root")
        subprocess.run([TOP / "packaging/build", "deb", "--out", made], check=True)
        bootstrap(root, f"{IN_A_ROOT},redis-server,libssl3,libstdc++6")
        (root / UNSAFE_SETTING).unlink()  # an installation takes as long as on a machine that waits for its disk
        files = {name: next(made.glob(f"{name}_*.deb")) for name in NAMES}
        figures = []
        for name, path in files.items():
            figures.append(Figure.of(f"{name}, to download", "MB", [path.stat().st_size / 1e6]))
            size = subprocess.run(
                ["dpkg-deb", "-f", path, "Installed-Size"], check=True, capture_output=True, text=True
            )
            figures.append(Figure.of(f"{name}, on disk", "MB", [int(size.stdout) * 1024 / 1e6]))
            (root / "media" / path.name).write_bytes(path.read_bytes())
        with _machine(root) as enter:
            return figures + _lives(root, enter, files["meshtui-helper"].name)


@contextmanager
def _machine(root: Path) -> Iterator[list[str]]:
    """The words that enter it."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh", str(root)]
    holder = subprocess.Popen(words)
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    try:
        pid = wait_until(lambda: children.read_text().strip(), 10, "the root")
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", 10, "the root to be entered")
        yield ["nsenter", "-t", pid, "-n", "-m", "-p", "-r", "-w"]
    finally:
        holder.kill()
        holder.wait()


def _lives(root: Path, enter: list[str], file: str) -> list[Figure]:
    def run(*command: str) -> str:
        return subprocess.run([*enter, *command], check=True, capture_output=True, text=True).stdout

    def milliseconds(action: Callable[[], object]) -> float:
        began = time.perf_counter()
        action()
        return (time.perf_counter() - began) * 1000

    def start() -> subprocess.Popen[bytes]:
        helper = subprocess.Popen([*enter, "meshd"], stderr=subprocess.DEVNULL)
        there = Path(f"/proc/{enter[2]}/root/run/meshd/meshd.sock")
        deadline = time.monotonic() + 30
        while not there.exists():
            assert helper.poll() is None, "meshd ended"
            assert time.monotonic() < deadline, "meshd does not start"
            time.sleep(0.002)
        return helper

    installs = []
    for number in range(INSTALLS):
        if number:
            run("dpkg", "-P", "meshtui-helper")
        installs.append(milliseconds(lambda: run("dpkg", "-i", f"/media/{file}")) / 1000)

    starts: dict[str, list[float]] = {"cold": [], "warm": []}
    asked: dict[str, list[float]] = {"cold": [], "warm": []}
    memory: list[float] = []
    for _ in range(ROUNDS):
        for how in starts:
            if how == "cold":
                _forget(root)
            began = time.perf_counter()
            helper = start()
            starts[how].append((time.perf_counter() - began) * 1000)
            if how == "cold":
                _forget(root)
            asked[how].append(milliseconds(lambda: run("meshctl", "status")))
            pid = run("cat", "/run/meshd/meshd.lock").strip()
            memory.append(_resident(run("cat", f"/proc/{pid}/status")))
            run("kill", pid)
            helper.wait()
    helper = start()
    run("meshctl", "--timeout", "60", "create", "home")
    pid = run("cat", "/run/meshd/meshd.lock").strip()
    of_a_node = _resident(run("cat", f"/proc/{pid}/status"))
    run("kill", pid)
    helper.wait()
    return [
        Figure.of("dpkg -i meshtui-helper", "s", installs),
        *(Figure.of(f"meshd to its socket, {how}", "ms", values) for how, values in starts.items()),
        *(Figure.of(f"meshctl status, {how}", "ms", values) for how, values in asked.items()),
        Figure.of("memory of meshd in no mesh", "MB", memory),
        Figure.of("memory of meshd as a mesh's only node", "MB", [of_a_node]),
    ]


def _resident(status: str) -> float:
    return int(next(one for one in status.splitlines() if one.startswith("VmRSS")).split()[1]) * 1024 / 1e6


def _forget(root: Path) -> None:
    """Takes the packages' files out of the kernel's cache, but what a running program has mapped."""
    os.sync()
    for path in [*(root / "usr/lib/meshtui").rglob("*"), root / "usr/bin/meshd", root / "usr/bin/meshctl"]:
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
