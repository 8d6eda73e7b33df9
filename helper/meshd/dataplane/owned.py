"""What a mesh has outside its interface, on disk: the `unreachable` routes, which no interface takes along.

Written before they are made, so that a fresh process knows them after a crash. Everything blocks.
"""

from __future__ import annotations

import json
import os
from ipaddress import ip_network
from pathlib import Path

from meshd.dataplane.desired import Network


class OwnedRoutes:
    """One file for each interface."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, interface: str) -> Path:
        return self._folder / f"routes-{interface}.json"

    def read(self, interface: str) -> frozenset[Network]:
        try:
            return frozenset(ip_network(text) for text in json.loads(self._path(interface).read_text()))
        except (OSError, ValueError, TypeError):
            return frozenset()

    def add(self, interface: str, networks: frozenset[Network]) -> frozenset[Network]:
        """Notes these, too; returns all."""
        known = self.read(interface)
        if networks <= known and self._path(interface).exists():
            return known
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._path(interface).with_suffix(".new")
        with open(temporary, "w") as file:
            json.dump(sorted(str(network) for network in known | networks), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._path(interface))
        return known | networks

    def forget(self, interface: str) -> None:
        self._path(interface).unlink(missing_ok=True)

    def interfaces(self) -> list[str]:
        """The interfaces that have a file."""
        return sorted(path.stem.removeprefix("routes-") for path in self._folder.glob("routes-*.json"))
