"""One redis-server as it is: what is in memory, what a restart gives back, whom it copies from, who may copy it."""

from __future__ import annotations

import random

from election_model.entries import EMPTY, Entry


class Redis:
    def __init__(self, data: Entry) -> None:
        self.live = data  # in memory: what it acknowledges
        self.disk = data  # what a restart finds
        self.in_force = True  # the append-only file gets what memory gets; not after a full copy until it is rewritten
        self.alive = True
        self.hung_until = 0.0
        self.run = 1
        self.master: tuple[str, int] | None = None  # whom it copies from, with the account of which epoch
        self.takes_writes = False
        self.account = 0  # epoch of the replication account; 0: none
        self.copies = 0
        self.outgrown = False  # the file is to be rewritten
        self.rewriting = False  # because it has grown
        self.failed = False  # it was not rewritten to the end
        self.receiving: tuple[str, int] | None = None  # the link over which a full copy comes in that takes its time

    def restart(self) -> None:
        """Comes up with what is on disk, following nobody, without an account."""
        self.live = self.disk
        self.in_force = True
        self.alive = True
        self.run += 1
        self.rewriting = self.failed = False
        self.master = self.receiving = None
        self.takes_writes = False
        self.account = self.account_after_restart()

    def account_after_restart(self) -> int:
        return 0

    def park(self) -> None:
        """Follows nobody, takes no writes."""
        self.master = None
        self.takes_writes = False

    def revoke(self) -> None:
        """Deletes the replication account."""
        self.account = 0

    def admits(self, epoch: int) -> bool:
        """Whether a replica with that epoch's password may copy."""
        return self.account == epoch

    def append(self, expected: Entry | None, entry: Entry) -> bool:
        """The one script that writes: only on the entry that the change was decided on."""
        if not self.takes_writes or entry.parent is not self.live:
            return False
        self.live = entry
        self.sync()
        return True

    def sync(self) -> None:
        if self.in_force:
            self.disk = self.live

    @property
    def copying(self) -> bool:
        return self.receiving is not None and self.receiving == self.master

    def copy(self, source: Redis, chance: random.Random) -> str:
        """Gets what the primary has: "part", or "" for nothing. "full": it takes a full copy, which is not made yet."""
        if self.live is source.live:
            return ""
        if self.live.within(source.live) and chance.random() > 0.05:
            self.live = source.live
            return "part"
        return "full"

    def copy_all(self, source: Redis) -> None:
        """The full copy is here. Not on disk until the file is rewritten."""
        self.receiving = None
        self.live = source.live
        self.in_force = self.rewriting = self.failed = False
        self.copies += 1

    def begin_rewrite(self) -> int:
        """Because the file has grown. As bad as can be: until it is done the disk gets nothing. Returns its number."""
        self.in_force = self.failed = False
        self.rewriting = True
        self.copies += 1
        return self.copies

    def rewritten(self) -> None:
        self.in_force = True
        self.outgrown = self.rewriting = self.failed = False
        self.disk = self.live

    def lose(self, back: int) -> None:
        """A disk that lied: the file lost its end; -1: everything."""
        if back < 0:
            self.disk = EMPTY
        for _ in range(back):
            self.disk = self.disk.parent or EMPTY
