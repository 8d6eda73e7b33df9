"""A Debian machine with systemd as its init, in an emulated VM; commands go in and answers come out over a serial line.

Its clock counts instructions, two nanoseconds each, and leaps over idle time: inside, it is a slow machine with nothing
else to do, however busy the one is that emulates it, and no time-out of the product needs to be longer there.
Its root is made with mmdebstrap, without Python, and kept in build/ of this tree.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CACHE = TOP / "build" / "packages-vm"

INCLUDED = (
    "systemd-sysv,dbus,iproute2,iputils-ping,nftables,redis-server,wireguard-tools,wireguard-go,kmod,procps,openssh-server,"
    "libssl3,libffi8,libexpat1,libsqlite3-0,zlib1g,passwd,linux-image-cloud-amd64"
)
"""What an administrator's machine has, and what our packages depend on: there is no network to fetch it from."""

IN_A_ROOT = "iproute2,nftables,procps,libffi8,libexpat1,libsqlite3-0,zlib1g,passwd,wireguard-go"
"""What our packages need in a root without systemd, besides Redis and OpenSSL, of which there are several."""

SHELL = r"""#!/bin/sh
stty raw -echo
echo ready
while read -r number command; do
    printf %s "$command" | base64 -d >/run/shell-command
    sh /run/shell-command >/run/shell-output 2>&1 </dev/null
    status=$?
    echo "$number $status $(base64 -w 0 /run/shell-output)"
done
"""

UNIT = """[Unit]
Description=Commands from outside
After=multi-user.target
[Service]
ExecStart=/usr/local/sbin/shell
StandardInput=tty
StandardOutput=tty
TTYPath=/dev/ttyS1
Environment=HOME=/root LANG=C.UTF-8
KillMode=process
[Install]
WantedBy=multi-user.target
"""


UNSAFE = "force-unsafe-io"
UNSAFE_SETTING = "etc/dpkg/dpkg.cfg.d/99mmdebstrap"
"""Where mmdebstrap writes it, for all that dpkg does in that root later."""

FAST = "mitigations=off no5lvl tsc=reliable clocksource=tsc"
"""For the kernel: time from a register instead of a device, shorter page tables, no cure of processors' faults."""


class VmFailed(Exception):
    """Raised when the VM can't be made or a command in it fails."""


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    output: str


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True)
    if done.returncode:
        raise VmFailed(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _disk(folder: Path, image: Path, size: str) -> None:
    _run("truncate", "-s", size, image)
    _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", folder, image)


def _sources() -> Path:
    new = Path("/etc/apt/sources.list.d/debian.sources")
    return new if new.exists() else Path("/etc/apt/sources.list")


def bootstrap(root: Path, packages: str, suite: str = "bookworm") -> None:
    """Makes a Debian with these packages, separated by commas, besides the least.

    dpkg does not wait for the disk there, then and later (`UNSAFE_SETTING`): that is most of its time.
    """
    sources = root.parent / f"{root.name}-{_sources().name}"  # it keeps the form by which mmdebstrap knows the format
    sources.write_text(re.sub(r"\bbookworm\b", suite, _sources().read_text()))
    _run(
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--dpkgopt={UNSAFE}",
        f"--include={packages}",
        suite,
        root,
        sources,
    )


def _built() -> Path:
    """The folder with root.img, vmlinuz and initrd.img."""
    key = hashlib.sha256("\n".join([INCLUDED, SHELL, UNIT, "2", _sources().read_text()]).encode()).hexdigest()[:16]
    done = CACHE / key
    if done.exists():
        return done
    shutil.rmtree(CACHE, ignore_errors=True)
    part = CACHE / "part"
    part.mkdir(parents=True)
    root = part / "root"
    bootstrap(root, INCLUDED)
    (root / "usr/local/sbin/shell").write_text(SHELL)
    (root / "usr/local/sbin/shell").chmod(0o755)
    (root / "etc/systemd/system/shell.service").write_text(UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    (wants / "shell.service").symlink_to("/etc/systemd/system/shell.service")
    for name in ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer"):
        (root / "etc/systemd/system" / name).symlink_to("/dev/null")
    (root / "etc/hostname").write_text("gw-berlin\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 gw-berlin\n")
    for name in ("vmlinuz", "initrd.img"):
        shutil.copyfile(root / name, part / name)
    _disk(root, part / "root.img", "4G")
    shutil.rmtree(root)
    part.rename(done)
    return done


class Machine:
    """Boots on construction; `close` ends it. `given` are files that it finds in /media."""

    def __init__(self, work: Path, given: Iterable[Path]) -> None:
        built = _built()
        media = work / "media"
        media.mkdir(parents=True)
        for one in given:
            shutil.copy(one, media)
        _disk(media, work / "media.img", "1G")
        self.log = work / "console"
        path = work / "shell.sock"
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
             "-accel", "tcg", "-icount", "shift=1,sleep=off", "-cpu", "max", "-m", "2048", "-no-reboot",
             "-display", "none", "-monitor", "none", "-nic", "none", "-serial", f"file:{self.log}",
             "-serial", f"unix:{path},server=on,wait=off",
             "-drive", f"file={built}/root.img,if=virtio,format=raw,snapshot=on",
             "-drive", f"file={work}/media.img,if=virtio,format=raw,cache=unsafe",
             "-kernel", built / "vmlinuz", "-initrd", built / "initrd.img",
             "-append", "console=ttyS0 quiet panic=-1 root=/dev/vda rw net.ifnames=0 " + FAST],
            stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(work)},
        )  # fmt: skip
        self._number = 0
        self._read = b""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(path, 30)
            self._line(900, b"ready")
            self.run("mkdir -p /media; mount -o ro /dev/vdb /media")
        except BaseException:
            self.close()
            raise

    def _connect(self, path: Path, limit: float) -> None:
        deadline = time.monotonic() + limit
        while True:
            try:
                return self._socket.connect(str(path))
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise VmFailed("qemu does not come up") from None
                time.sleep(0.05)

    def _line(self, limit: float, wanted: bytes) -> bytes:
        """The first line that begins with `wanted`."""
        deadline = time.monotonic() + limit
        while True:
            while b"\n" in self._read:
                line, self._read = self._read.split(b"\n", 1)
                if line.strip().startswith(wanted):
                    return line.strip()
            self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                more = b""
            if not more:
                raise VmFailed(f"no {wanted!r} from the VM in {limit:g} s; its console: {self._console()}")
            self._read += more

    def _console(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def run(self, command: str, *, check: bool = True, limit: float = 1200) -> Done:
        """Runs lines for sh; standard output and error together."""
        self._number += 1
        self._socket.sendall(b"%d %s\n" % (self._number, base64.b64encode(command.encode())))
        _, status, *rest = self._line(limit, b"%d " % self._number).split(b" ")
        done = Done(int(status), base64.b64decode(b"".join(rest)).decode(errors="replace"))
        if check and done.status:
            raise VmFailed(f"{command!r} ended with {done.status}:\n{done.output}\n{self._journal()}")
        return done

    def _journal(self) -> str:
        return self.run(
            "uptime; ps -eo time,args --sort=-time | head -5; journalctl -n 80 --no-pager", check=False
        ).output

    def wait(self, command: str, limit: float = 900) -> None:
        """Until the command succeeds."""
        deadline = time.monotonic() + limit
        while (done := self.run(command, check=False)).status:
            if time.monotonic() > deadline:
                raise VmFailed(f"waited {limit:g} s for {command!r}, which ended with {done.status}:\n{done.output}")

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
