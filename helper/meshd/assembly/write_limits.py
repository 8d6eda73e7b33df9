"""How often those may write who may write little: peers about themselves, strangers to be let in. Of one node.

Every change takes a place among the last 10,000, which answer repeated requests and tell who did what.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from meshproto import node_pb2, state_pb2

from meshd.cluster.admission import (
    OWN_CHANGES,
    OWN_CHANGES_PER_SECOND,
    REQUESTS,
    REQUESTS_OF_ONE,
    REQUESTS_OF_ONE_PER_SECOND,
    REQUESTS_PER_SECOND,
    RateLimit,
    TooManyTries,
)
from meshd.model.addresses import origin
from meshd.model.members import Member, Role

EVERYBODY = IPv4Address(0)
"""Strangers are counted together, too: one of them may have many addresses."""


class WriteLimits:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._own = RateLimit(now, tries=OWN_CHANGES, per_second=OWN_CHANGES_PER_SECOND)
        self._stranger = RateLimit(now, tries=REQUESTS_OF_ONE, per_second=REQUESTS_OF_ONE_PER_SECOND)
        self._strangers = RateLimit(now, tries=REQUESTS, per_second=REQUESTS_PER_SECOND)

    def check_change(self, member: Member, change: node_pb2.Change) -> None:
        """Of a member that sent it. Raises TooManyTries. It can leave at any time: once."""
        if member.role is Role.NODE or member.admin or change.WhichOneof("what") == "remove_member":
            return
        wait = self._own.wait(member.ipv4)
        if wait:
            raise TooManyTries(f"{member.name} changes itself too often; nothing was changed", f"wait {wait} s")

    def check_request(
        self,
        source: IPv4Address | IPv6Address,
        known: state_pb2.JoinRequest | None,
        applicant: node_pb2.Applicant,
    ) -> None:
        """Of a stranger, and what is known of that request: asking again writes nothing. Raises TooManyTries. What one
        asks too much does not count for the others."""
        if known is not None and known.name == applicant.name:
            return
        wait = self._stranger.wait(source)
        if wait:
            raise TooManyTries(f"too many machines ask from {origin(source)} to be let in", f"try again in {wait} s")
        wait = self._strangers.wait(EVERYBODY)
        if wait:
            raise TooManyTries("too many machines ask to be let in", f"try again in {wait} s")
