"""When to try for a straight path to a member whose session is relayed, and what came of it.

Pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from meshd.model.errors import InvalidInput
from meshd.model.members import Endpoint

Address = IPv4Address | IPv6Address

FIRST_PAUSE = 5.0
"""Seconds until the second attempt; each later pause is twice as long, up to `LONGEST_PAUSE`."""

LONGEST_PAUSE = 300.0
"""Seconds. A path that opened without either side's addresses changing is found after this long at the latest."""

HEAD_START = 3.0
"""Seconds that the side with the higher key leaves to the other: one attempt is enough when it succeeds."""

CANDIDATES = 8
"""Endpoints tried in one attempt; also bounds what a hostile member can have us send to addresses of its choice."""


@dataclass(slots=True)
class _Attempt:
    due: float
    pause: float = FIRST_PAUSE
    seen: frozenset[str] = field(default=frozenset())
    outcome: str = ""


class Attempts:
    """One record for each member that is relayed and in use."""

    def __init__(self) -> None:
        self._known: dict[str, _Attempt] = {}

    def due(self, member_id: str, now: float, waits: bool, addresses: Iterable[str]) -> bool:
        """Whether to try now. `waits`: the other side goes first. New addresses of either side make it due again."""
        seen = frozenset(addresses)
        known = self._known.get(member_id)
        if known is None:
            known = self._known[member_id] = _Attempt(now + (HEAD_START if waits else 0.0), seen=seen)
        elif seen - known.seen:
            known.due, known.pause = min(known.due, now + (HEAD_START if waits else 0.0)), FIRST_PAUSE
            known.seen = seen
        return now >= known.due

    def began(self, member_id: str, now: float) -> None:
        """Sets the next attempt; `forget` when this one succeeds."""
        known = self._known.setdefault(member_id, _Attempt(now))
        known.due = now + known.pause
        known.pause = min(known.pause * 2, LONGEST_PAUSE)

    def failed(self, member_id: str, outcome: str) -> None:
        """`outcome` is for people: what was tried."""
        if member_id in self._known:
            self._known[member_id].outcome = outcome

    def outcome(self, member_id: str) -> str:
        known = self._known.get(member_id)
        return known.outcome if known else ""

    def forget(self, member_id: str) -> None:
        self._known.pop(member_id, None)

    def keep(self, member_ids: Iterable[str]) -> None:
        """Drops the records of all other members."""
        kept = set(member_ids)
        for member_id in [known for known in self._known if known not in kept]:
            del self._known[member_id]


def usable_candidates(texts: Iterable[str], is_usable: Callable[[Address], bool]) -> list[tuple[Address, int]]:
    """The endpoints that may be tried, in order, each once, `CANDIDATES` at most. Names are not resolved: a member says
    where it is by address. `is_usable` leaves out what can't be another machine's endpoint, such as our own addresses.
    """
    found: dict[tuple[Address, int], None] = {}
    for text in texts:
        try:
            endpoint = Endpoint.parse(text)
            address = ip_address(endpoint.host)
        except (InvalidInput, ValueError):
            continue
        if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local:
            continue
        if address == IPv4Address("255.255.255.255") or not is_usable(address):
            continue
        found.setdefault((address, endpoint.port))
        if len(found) == CANDIDATES:
            break
    return list(found)
