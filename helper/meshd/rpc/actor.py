"""Who is on the other end of the local socket, as the front door saw it."""

from __future__ import annotations

import enum
import pwd
import re
from dataclasses import dataclass
from urllib.parse import unquote

from meshd.model.errors import NotPermitted

NAME_PREFIX = "meshd"
_NAME = re.compile(r"unix-abstract:\x00?meshd/(\d{1,10})/(observe|operate)/(\d{1,10})/[0-9a-f]{32}")


class Tier(enum.Enum):
    OBSERVE = "observe"
    OPERATE = "operate"


@dataclass(frozen=True, slots=True)
class Actor:
    """A local user. The pid is for the log only: it may be somebody else's by now."""

    uid: int
    tier: Tier
    pid: int

    @property
    def user(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"

    def abstract_name(self, random: str) -> bytes:
        """The address that the front door binds, so that the server sees who it carries."""
        return f"\0{NAME_PREFIX}/{self.uid}/{self.tier.value}/{self.pid}/{random}".encode()


def actor_of(peer: str) -> Actor:
    """Reads gRPC's `context.peer()`. Raises NotPermitted for whoever did not come through the front door."""
    match = _NAME.fullmatch(unquote(peer))
    if match is None:
        raise NotPermitted("calls are taken through the front door only")
    return Actor(int(match[1]), Tier(match[2]), int(match[3]))
