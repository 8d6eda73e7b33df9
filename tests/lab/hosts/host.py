"""One host: its own network, mounts, processes, /etc, /run and /var/lib/meshd, in namespaces that die with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from meshproto import client, local_pb2

BIN = Path(sys.executable).parent
# Every time-out of the lab is multiplied by this: 1 on a machine, more in an emulated one.
PATIENCE = float(os.environ.get("LAB_PATIENCE", "1"))

# The host's init: mounts, says it is ready, then reaps children until it is killed.
_INIT = r"""
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/wireguard /run/netns /run/u /run/w /var/lib/meshd /run/lib
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w /etc
mount -t sysfs sysfs /sys
mount --bind "$LAB_STATE" /var/lib/meshd
hostname "$LAB_NAME"
ip link set lo up
echo ready > "$LAB_STATE/../ready"
set +e
trap : CHLD
sleep infinity &
sleeper=$!
while :; do wait $sleeper; done
"""


_OWN_PROCESSES = ("sh", "sleep", "ps", "grep", "sort", "nsenter")
"""Of the host itself, and of looking at it."""


NETWORK_STATE = {
    "links": "ip -br link | awk '{print $1, $2, $3}' | sort",
    "addresses": "ip -o addr | grep -v fe80 | awk '{print $2, $3, $4}' | sort",
    "routes": "ip route show table all | grep -v -e fe80 -e ff00 | sort",
    "rules": "ip rule; ip -6 rule",
    "nftables": "nft list ruleset",
    # What counts or measures changes by itself.
    "sysctls": "cd /proc/sys/net; grep -rs . core ipv4 ipv6 netfilter 2>/dev/null"
    " | grep -v -e _count: -e /neigh/ -e random -e fastopen_key -e /route/ -e tcp_fastopen_blackhole | sort",
    "hosts": "ls -l --time-style=+ /etc/hosts; cat /etc/hosts",
    "processes": f"ps -eo comm= | grep -v -x -e meshd -e {' -e '.join(_OWN_PROCESSES)} | sort",
    "listening": "ss -Hlntu | grep -v -e ':5353' | awk '{print $1, $5}' | sort",
    "state": "find /var/lib/meshd /run/wireguard -mindepth 1 | sort",
}
"""What says that nothing is left: commands for sh."""


def wait_until(condition: Callable[[], Any], limit: float, what: str) -> Any:
    """The condition's value once it is true. Fails after `limit` seconds (times PATIENCE) with what was waited for."""
    limit *= PATIENCE
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit:g} s for: {what}")
        time.sleep(0.05)


class CommandFailed(AssertionError):
    """A command in a host ended with another status than 0."""


class Host:
    """Enter with `run`; `destroy` ends every process in it and removes its folder."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._folder = Path(tempfile.mkdtemp(prefix=f"meshlab-{name}-"))
        self.state = self._folder / "state"
        self.state.mkdir(mode=0o700)
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.meshd: subprocess.Popen[bytes] | None = None
        self._boot()

    def _boot(self) -> None:
        ready = self._folder / "ready"
        ready.unlink(missing_ok=True)
        self._init = subprocess.Popen(
            ["unshare", "--kill-child", "-n", "-m", "-p", "-u", "-f", "--mount-proc", "--propagation", "private",
             "sh", "-c", _INIT],
            env={**os.environ, "LAB_STATE": str(self.state), "LAB_NAME": self.name},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # unshare complains when its child is killed, which is how a host ends
            start_new_session=True,
        )  # fmt: skip
        wait_until(ready.exists, 10, f"host {self.name} to boot")
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        self.pid = int(children[0])

    @property
    def enter(self) -> list[str]:
        """The command prefix that runs something in this host."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", "-r", "-w"]

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*self.enter, *command], start_new_session=True, **options)
        self._daemons.append(process)
        return process

    def record(self, command: list[str], name: str) -> subprocess.Popen[bytes]:
        """Starts a command whose output goes to the file `name` (see `recorded`)."""
        with open(self._folder / name, "wb") as file:
            return self.popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)

    def recorded(self, name: str) -> str:
        return (self._folder / name).read_text(errors="replace")

    def run(
        self, command: list[str] | str, *, check: bool = True, timeout: float = 60, input: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Runs a command, or a line for sh. Raises CommandFailed with its output."""
        words = ["sh", "-c", command] if isinstance(command, str) else command
        done = subprocess.run(
            [*self.enter, *words],
            capture_output=True, text=True, errors="replace", timeout=timeout * PATIENCE, check=False, input=input,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        if check and done.returncode != 0:
            raise CommandFailed(f"{self.name}: {words} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    # --- the product ------------------------------------------------------------------------------------------------

    def start_meshd(
        self,
        *options: str,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (str(BIN / "meshd"),),
    ) -> None:
        log = open(self._folder / "meshd.log", "ab")
        self.meshd = self.popen(
            [*program, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        log.close()
        wait_until(lambda: self.socket.exists() or self._meshd_ended(), 20, f"meshd on {self.name}\n{self.log()}")

    def with_meshd(self) -> Host:
        """Starts meshd; the host itself, for one line where it is made."""
        self.start_meshd()
        return self

    def _meshd_ended(self) -> bool:
        if self.meshd is not None and self.meshd.poll() is not None:
            raise AssertionError(f"meshd on {self.name} ended with {self.meshd.returncode}:\n{self.log()}")
        return False

    def log(self) -> str:
        path = self._folder / "meshd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def faults(self) -> list[str]:
        """The entries of the log that have a traceback: only a fault of ours writes one."""
        return [entry for entry in re.split(r"^(?=\d{4}-)", self.log(), flags=re.MULTILINE) if "Traceback" in entry]

    @staticmethod
    def _pid_inside(process: subprocess.Popen[bytes]) -> int:
        """The pid of what nsenter runs, as the machine outside sees it."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(children[0]) if children else process.pid

    def send_signal(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
        """Signals a command that `popen` or `record` started."""
        os.kill(self._pid_inside(process), number)

    def meshd_pid(self) -> int:
        assert self.meshd is not None
        return self._pid_inside(self.meshd)

    def stop_meshd(self, number: int = signal.SIGTERM) -> None:
        assert self.meshd is not None
        os.kill(self.meshd_pid(), number)
        self.meshd.wait(20 * PATIENCE)
        if number == signal.SIGKILL:
            self.socket.unlink(missing_ok=True)
        self.meshd = None

    @property
    def socket(self) -> Path:
        """Of its meshd, as the machine outside sees it."""
        return Path(f"/proc/{self.pid}/root/run/meshd/meshd.sock")

    def mesh(self, timeout: float = 3.0) -> local_pb2.MeshStatus | None:
        """What its meshd says of its mesh, without starting a program. None when it does not answer, or has no mesh."""
        channel, stub = client.connect(self.socket)
        with channel:
            try:
                status: local_pb2.Status = stub.GetStatus(local_pb2.GetStatusRequest(), timeout=timeout)
            except grpc.RpcError:
                return None
        return status.meshes[0] if status.meshes else None

    def meshctl(self, *arguments: str, input: str | None = None, timeout: float = 60) -> Any:
        """What `meshctl --json` answers. Raises CommandFailed with the error it gave."""
        done = self.meshctl_raw("--json", *arguments, input=input, timeout=timeout)
        if done.returncode != 0:
            raise CommandFailed(
                f"{self.name}: meshctl {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
            )
        lines = done.stdout.strip()
        return json.loads(lines) if lines else None

    def meshctl_raw(
        self, *arguments: str, input: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        patient = ["--timeout", f"{25 * PATIENCE:g}"] if PATIENCE > 1 else []
        return self.run([str(BIN / "meshctl"), *patient, *arguments], check=False, input=input, timeout=timeout)

    def ping(self, address: str, count: int = 3, interval: float = 0.2) -> int:
        """How many of `count` pings were answered."""
        done = self.run(
            ["ping", "-q", "-c", str(count), "-i", str(interval), "-W", f"{2 * PATIENCE:g}", address],
            check=False,
            timeout=count * 3 + 10,
        )
        for line in done.stdout.splitlines():
            if " received" in line:
                return int(line.split(",")[1].split()[0])
        return 0

    def network_state(self) -> dict[str, str]:
        """What must be as before once a mesh is left, and before meshd is started: compare two of them."""
        return {name: self.run(command, check=False).stdout for name, command in NETWORK_STATE.items()}

    # --- standing still ---------------------------------------------------------------------------------------------

    def _processes(self, namespace: str) -> list[int]:
        """Those whose namespace of that kind is this host's, but its init, as the machine outside numbers them."""
        own = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns" / namespace) == own and int(folder.name) != self.pid:
                    found.append(int(folder.name))
            except OSError:  # it ended
                continue
        return found

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process stands still, as in a laptop whose lid is closed."""
        for pid in self._processes("pid"):
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.thaw()

    def thaw(self) -> None:
        """Everything goes on that stands still, and each nsenter outside, which stops with what it runs."""
        for pid in [*self._processes("pid"), *self._processes("pid_for_children")]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    # --- life -------------------------------------------------------------------------------------------------------

    def power_off(self) -> None:
        """As if the plug was pulled: every process ends at once; the disk stays."""
        os.kill(self.pid, signal.SIGKILL)
        for process in self._daemons:
            process.send_signal(signal.SIGCONT)  # one whose command stood still does, too, and reaps nothing
        self._init.wait(10 * PATIENCE)
        for process in self._daemons:
            process.wait(10 * PATIENCE)
        self._daemons, self.meshd = [], None

    def power_on(self) -> None:
        """A boot; whoever owns the network attaches it again."""
        self._boot()

    def destroy(self) -> None:
        if self._init.poll() is None:
            self.power_off()
        shutil.rmtree(self._folder, ignore_errors=True)
