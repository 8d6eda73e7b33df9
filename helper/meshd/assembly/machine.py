"""What the meshes of one helper share, and what each does in its mesh besides carrying packets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from meshproto import local_pb2, node_pb2

from meshd.dataplane.apply import HostNetwork
from meshd.dataplane.wireguard.choice import ChosenBackend
from meshd.observe.journal import Journal
from meshd.system_bus import SystemBus


class Duties(Protocol):
    """What this machine does in the mesh besides carrying packets."""

    async def start(self) -> None: ...

    async def stop(self, keep: bool = True) -> None:
        """`keep`: what goes on without the helper does; else that ends, too."""

    async def erase(self) -> None: ...

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult: ...

    def renew(self) -> None:
        """This machine slept: connections to others are made anew."""

    def heard(self) -> None:
        """Somebody who was silent is heard again."""

    @property
    def writable(self) -> bool: ...

    @property
    def primary_id(self) -> str:
        """Who leads now; "" when nobody is known to."""

    @property
    def redis_port(self) -> int: ...

    @property
    def store_state(self) -> str:
        """ "ok", or what is wrong with the Redis of this node; "" on a peer, and before it was looked at."""

    def checks(self) -> list[local_pb2.Check]:
        """What `doctor` says of them."""


@dataclass(slots=True)
class Machine:
    """What all meshes of one helper share."""

    backend: ChosenBackend
    network: HostNetwork
    journal: Journal
    state_dir: Path
    run_dir: Path
    redis_url: str = ""
    interfaces: set[str] = field(default_factory=set)  # of all meshes that are up
    hosts_file: bool = True  # names go to the hosts file
    dns: bool = True  # nodes answer DNS
    split_dns: bool = True  # systemd-resolved, where it runs, asks them
    bus: SystemBus = field(default_factory=SystemBus)
