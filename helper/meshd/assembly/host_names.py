"""A mesh's names in this machine's hosts file, and what stands in their way. Owned by `mesh`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from meshproto import local_pb2

from meshd.model.errors import MeshError
from meshd.model.members import Member
from meshd.naming.hosts_file import Entry, ReadOnly, write_block

log = logging.getLogger(__name__)


class HostNames:
    """`report` gets a line for the journal when the file can't be written, once."""

    def __init__(self, mesh: str, wanted: bool, report: Callable[[str], None]) -> None:
        self._mesh = mesh
        self._wanted = wanted
        self._report = report
        self._problem: MeshError | None = None
        self._written = False

    async def write(self, members: Iterable[Member], domain: str, ipv6: bool) -> None:
        """Without the right to write the file there is DNS only: no error. Raises Failed for everything else."""
        entries = _entries(members, domain, ipv6) if self._wanted else []
        try:
            await asyncio.to_thread(write_block, self._mesh, entries)
        except ReadOnly as error:
            if self._problem is None:
                self._report(f"{error}; names are answered by DNS only")
            self._problem = error
        else:
            self._problem, self._written = None, True

    async def remove(self) -> None:
        """Never fails: whoever leaves is told what stays."""
        try:
            await asyncio.to_thread(write_block, self._mesh, [])
        except MeshError as error:
            if self._problem is None:
                log.error("%s: %s", self._mesh, error)
                self._report(f"{error}; or remove the lines of {self._mesh} there by hand")
            self._problem = error
        else:
            self._problem, self._written = None, False

    def checks(self) -> list[local_pb2.Check]:
        """What `doctor` says."""
        problem = self._problem
        if problem is not None:
            state, found = local_pb2.WARNING, f"{problem.message}; names are answered by DNS only"
        elif self._written:
            state, found = local_pb2.OK, "has the members' names" if self._wanted else "switched off"
        else:
            return []
        fix = problem.fix if problem else ""
        return [local_pb2.Check(check=f"hosts file {self._mesh}", state=state, found=found, fix=fix)]


def _entries(members: Iterable[Member], domain: str, ipv6: bool) -> list[Entry]:
    entries: list[Entry] = []
    for member in sorted(members, key=lambda one: one.name):
        entries.append((member.ipv4, f"{member.name}.{domain}"))
        if ipv6:
            entries.append((member.ipv6, f"{member.name}.{domain}"))
    return entries
