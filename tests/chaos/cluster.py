"""A mesh of real nodes whose disks are small, and what the test asks them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network
from meshd.store import settings
from meshd.store.connection import Connection
from meshd.store.database import Database, parse_entry
from meshproto import local_pb2

from chaos.history import Copy

NAMES = ("gw-berlin", "gw-paris", "gw-oslo", "gw-rome", "gw-wien", "gw-bern", "gw-riga")
DISK = "48m"
CLOCK = "/run/clock-offset"
BEGUN, FAILED = "rewriting the append-only file", "the append-only file was not rewritten"
CROWD = IPv4Network("203.0.113.0/26")
TESTS = str(Path(__file__).parents[1])
REDIS_PID = "$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' /var/lib/meshd/home/redis/server.json)"


@dataclass(slots=True)
class Healing:
    """How the nodes came to one view, from a cure on."""

    views: list[tuple[float, str]] = field(default_factory=list)
    """Seconds since the cure, and what the nodes saw, whenever that was another thing than before; the last is it."""

    @property
    def seconds(self) -> float:
        return self.views[-1][0]

    def note(self, seconds: float, seen: Mapping[str, local_pb2.MeshStatus | None], goal: int) -> None:
        def of(one: local_pb2.MeshStatus | None) -> str:
            if one is None:
                return "silent"
            lacks = "" if one.revision >= goal else ", lacks changes"
            return f"{one.primary or 'nobody'} leads {one.epoch}{lacks}{'' if one.writable else ', takes none'}"

        groups: dict[str, list[str]] = {}
        for name, one in seen.items():
            groups.setdefault(of(one), []).append(name)
        view = "; ".join(f"{', '.join(names)}: {text}" for text, names in groups.items())
        if not self.views or self.views[-1][1] != view:
            self.views.append((seconds, view))

    def text(self) -> str:
        return "\n".join(f"    after {seconds:.1f} s {view}" for seconds, view in self.views)


@dataclass(slots=True)
class Cluster:
    network: Network = field(default_factory=Network)
    nodes: dict[str, Host] = field(default_factory=dict)
    visitor: Host | None = None

    def start(self, count: int) -> None:
        for name in NAMES[:count]:
            host = self.nodes[name] = self.network.host(name, ipv6=False)
            host.run(f"mount -t tmpfs -o size={DISK},mode=700 tmpfs /var/lib/meshd")
            self.set_clock(host, 0)
            host.run("nft add table inet chaos")
            host.run("nft 'add chain inet chaos cut { type filter hook input priority -300; }'")
            self.start_meshd(host)
        first, *others = self.nodes.values()
        key = first.meshctl("create", "home")["cluster_key"]
        for host in others:
            host.meshctl("join", "-", self.network.address(first.name), input=key)
        wait_until(lambda: self._voters() == count, 60, f"{count} nodes to vote")
        self.visitor = self.network.host("visitor", ipv6=False)
        self._crowd(self.visitor)

    def _crowd(self, visitor: Host) -> None:
        """Whoever comes from there comes from another address each time: strangers are counted by theirs."""
        self.network.router.run(f"ip route add {CROWD} via {self.network.address(visitor.name)}")
        addresses = ", ".join(f"{number} : {CROWD[number + 1]}" for number in range(CROWD.num_addresses - 2))
        visitor.run("nft add table ip crowd; nft 'add chain ip crowd post { type nat hook postrouting priority 100; }'")
        count = CROWD.num_addresses - 2
        visitor.run(f"nft 'add rule ip crowd post snat to numgen inc mod {count} map {{ {addresses} }}'")

    def start_meshd(self, host: Host) -> None:
        """With a wall clock that `set_clock` moves, which what it starts has, too, but for wireguard-go: that asks the
        kernel itself."""
        library = self.network.router.state / "clock.so"
        if not library.exists():
            source = Path(__file__).with_name("clock.c")
            subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source], check=True)
        host.start_meshd(
            environment={"LD_PRELOAD": str(library), "CHAOS_CLOCK": CLOCK, "PYTHONPATH": TESTS},
            program=(sys.executable, "-m", "chaos.meshd"),
        )

    def _voters(self) -> int:
        status = next(iter(self.nodes.values())).mesh()
        return sum(member.voter for member in status.members) if status else 0

    def primary(self) -> Host | None:
        """As most of those that answer say."""
        named = [one.primary for host in self.nodes.values() if (one := host.mesh(0.5)) and one.primary]
        return self.nodes[max(set(named), key=named.count)] if named else None

    def clients(self, seed: int, seconds: float, out: Path) -> subprocess.Popen[bytes]:
        """Starts the clients, in the network of the visitor and in the file system of this test."""
        assert self.visitor is not None
        targets = [f"{h.name}={h.socket}={self.network.address(h.name)}" for h in self.nodes.values()]
        return subprocess.Popen(
            ["nsenter", "-t", str(self.visitor.pid), "-n", sys.executable, "-m", "chaos.clients",
             "--seed", str(seed), "--seconds", str(seconds), "--out", str(out), *targets],
            env={**os.environ, "PYTHONPATH": TESTS},
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def rewriting(self) -> list[Host]:
        """Those whose append-only file is being rewritten now."""
        folder = "root/var/lib/meshd/home/redis"
        return [
            host for host in self.nodes.values() if list(Path(f"/proc/{host.pid}/{folder}").glob("temp-rewriteaof-*"))
        ]

    def rewrites(self) -> tuple[int, int]:
        """How many were begun because the file had grown, and how many of them failed, as the nodes logged."""
        logs = [host.log() for host in self.nodes.values()]
        return tuple(sum(log.count(text) for log in logs) for text in (BEGUN, FAILED))  # type: ignore[return-value]

    # --- faults -----------------------------------------------------------------------------------------------------

    def signal_redis(self, host: Host, number: signal.Signals) -> None:
        host.run(f"kill -{int(number)} {REDIS_PID}", check=False)

    def signal_meshd(self, host: Host, number: signal.Signals) -> None:
        if host.meshd is not None:
            os.kill(host.meshd_pid(), number)
            if number == signal.SIGCONT:
                host.meshd.send_signal(number)  # nsenter stops with what it runs

    def drop(self, at: Host, sender: Host) -> None:
        """What comes from that node is lost on arrival."""
        at.run(f"nft add rule inet chaos cut ip saddr {self.network.address(sender.name)} drop")

    def lose(self, at: Host, percent: int) -> None:
        at.run(f"nft 'add rule inet chaos cut iifname eth0 numgen random mod 100 < {percent} drop'")

    def connect_all(self) -> None:
        for host in self.nodes.values():
            host.run("nft flush chain inet chaos cut")

    def fill_disk(self, host: Host) -> None:
        host.run("dd if=/dev/zero of=/var/lib/meshd/filler bs=64k 2>/dev/null", check=False)

    def empty_disk(self, host: Host) -> None:
        host.run("rm -f /var/lib/meshd/filler")

    def set_clock(self, host: Host, ahead: float) -> None:
        """The wall clock of a node jumps to so many seconds before or behind the true time. Those that count intervals
        stay true, as when a machine's clock is set."""
        offset = int(ahead * 1e9).to_bytes(8, sys.byteorder, signed=True)
        file = os.open(f"/proc/{host.pid}/root{CLOCK}", os.O_RDWR | os.O_CREAT)
        os.pwrite(file, offset, 0)
        os.close(file)

    # --- the end ----------------------------------------------------------------------------------------------------

    def settle(self, limit: float, exact: bool = False) -> Healing:
        """Until all have one primary, take changes, and have what any of them had when this was called. `exact`: nobody
        writes any more, and all have the same."""
        began = time.monotonic()
        goal = max((one.revision for host in self.nodes.values() if (one := host.mesh())), default=0)
        healing = Healing()

        def same() -> bool:
            found = {host.name: host.mesh() for host in self.nodes.values()}
            healing.note(time.monotonic() - began, found, goal)
            there = [one for one in found.values() if one]
            if len(there) < len(found) or not all(one.writable and one.revision >= goal for one in there):
                return False
            return len({(one.primary, one.epoch, one.revision if exact else 0) for one in there}) == 1

        try:
            wait_until(same, limit, "all nodes to have one view")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.views()}\n{self.network.logs(self.nodes)}") from None
        return healing

    def views(self) -> str:
        found = {host.name: host.mesh() for host in self.nodes.values()}
        told = (
            f"{name}: {one.primary or 'nobody'} leads, {one.epoch}.{one.revision}, writable: {one.writable}"
            for name, one in found.items()
            if one
        )
        return "; ".join(told)

    async def copies(self) -> list[Copy]:
        """What each Redis holds."""
        found = []
        for host in self.nodes.values():
            root = Path(f"/proc/{host.pid}/root")
            password = (root / "var/lib/meshd/home/redis/redis.password").read_text().strip()
            connection = Connection.to_socket(root / "run/meshd/home/redis.sock", settings.USER, password)
            database = Database(connection)
            try:
                view = await database.load()
                entries = [parse_entry(raw) for raw in await connection.call("XRANGE", "changes", "-", "+")]
            finally:
                await database.close()
                await connection.close()
            found.append(Copy(host.name, view, entries))
        return found
