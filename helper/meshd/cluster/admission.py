"""The node's side of joining: challenges, proofs, and the rate at which one source may try."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from meshproto import cluster_key

from meshd.model.addresses import origin
from meshd.model.changes.admission import ROTATED
from meshd.model.errors import MeshError, NotPermitted

CHALLENGE_LIFE = 60.0
"""Seconds that a nonce is good for."""

CHALLENGES_KEPT = 1024
"""Open nonces; the oldest go first, so that a flood of challenges fills no memory."""

TRIES = 10
"""Attempts that one source may make at once …"""

TRIES_PER_SECOND = 0.5
"""… and how fast they come back. An IPv6 source counts by its /64, which one machine can fill by itself."""

SOURCES_KEPT = 4096


OWN_CHANGES, OWN_CHANGES_PER_SECOND = 30, 0.05
"""Changes about itself that a peer may make at once, and how fast they come back: a laptop moves often, but the last
10,000 changes are all that is kept to answer repeats from, and to tell who did what."""

REQUESTS, REQUESTS_PER_SECOND = 200, 0.05
"""The same for the requests of all strangers together to be let in."""

REQUESTS_OF_ONE, REQUESTS_OF_ONE_PER_SECOND = REQUESTS // 5, REQUESTS_PER_SECOND / 5
"""The same for those from one source address: a crowd behind one NAT gets in, and one stranger shuts nobody out."""


class TooManyTries(MeshError):
    """Raised when somebody tries to join, or changes something, too often."""

    code = "too-many-tries"


class Challenges:
    """Nonces that were given out, each good once."""

    def __init__(self, random: Callable[[int], bytes], now: Callable[[], float] = time.monotonic) -> None:
        self._random = random
        self._now = now
        self._open: OrderedDict[bytes, float] = OrderedDict()

    def give(self) -> bytes:
        nonce = self._random(32)
        self._open[nonce] = self._now()
        while len(self._open) > CHALLENGES_KEPT:
            self._open.popitem(last=False)
        return nonce

    def take(self, nonce: bytes) -> None:
        """Uses a nonce up. Raises NotPermitted when it was never given, used or is too old."""
        given = self._open.pop(nonce, None)
        if given is None or self._now() - given > CHALLENGE_LIFE:
            raise NotPermitted("the challenge is unknown or too old", "try again")


def check_proof(
    proof: bytes, secret: bytes, nonce: bytes, ca: bytes, server_certificate: bytes, public_key: bytes, csr: bytes
) -> None:
    """Raises NotPermitted when the joiner does not know the cluster secret."""
    expected = cluster_key.proof(secret, nonce, ca, server_certificate, public_key, csr)
    if not hmac.compare_digest(expected, proof):
        raise NotPermitted(*ROTATED, "wrong-key")


class RateLimit:
    """A token bucket for each source address. `factor`: how many more tries are allowed than a stranger has."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        factor: int = 1,
        tries: int = TRIES,
        per_second: float = TRIES_PER_SECOND,
    ) -> None:
        self._now = now
        self._tries = float(tries * factor)
        self._per_second = per_second * factor
        self._sources: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, source: IPv4Address | IPv6Address) -> int:
        """Counts a try that is allowed, which is 0; else how many seconds there are to wait."""
        key = origin(source)
        now = self._now()
        tokens, at = self._sources.pop(key, (self._tries, now))
        tokens = min(self._tries, tokens + (now - at) * self._per_second)
        allowed = tokens >= 1
        self._sources[key] = (tokens - 1 if allowed else tokens, now)
        while len(self._sources) > SOURCES_KEPT:
            self._sources.popitem(last=False)
        return 0 if allowed else int((1 - tokens) / self._per_second) + 1

    def count(self, source: IPv4Address | IPv6Address) -> None:
        """Counts a try. Raises TooManyTries saying how long to wait."""
        wait = self.wait(source)
        if wait:
            raise TooManyTries(f"too many attempts to join from {origin(source)}", f"wait {wait} s and try again")
