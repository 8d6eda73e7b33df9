"""What a voter's word rests on (DESIGN.md 6.5 and 7.3): what is on disk about it, and whether its data is on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from meshd.model.errors import Failed
from meshd.model.position import Position
from meshd.model.voters import Voters
from meshd.store.connection import parse_info
from meshd.store.database import Database
from meshd.store.files import write_atomically
from meshd.store.formats import Step, brought_up

STEPS: tuple[Step, ...] = ()
"""Of the promise's file, from each format to the next."""

OK = "ok"

NOTHING = Position()

IN_FORCE = {
    "loading": "0",
    "aof_enabled": "1",
    "aof_rewrite_in_progress": "0",
    "aof_rewrite_scheduled": "0",
    "aof_last_bgrewrite_status": "ok",
    "aof_last_write_status": "ok",
}
"""What INFO persistence says while all that is in the data is on disk, too. After a full copy that takes a rewrite."""


@dataclass(frozen=True)
class Promise:
    """What is on disk about this voter's word."""

    epoch: int = 0  # nothing older is confirmed
    floor: Position = NOTHING  # the highest position ever confirmed
    vote: str = ""  # id of the member that has this voter's vote in `epoch`; "" when nobody has
    patience: float = 0.0  # seconds that the lease of the primary which was answered last may have gone on; 0: usual

    def save(self, path: Path) -> None:
        number, floor = len(STEPS) + 1, asdict(self.floor)
        document = {"format": number, "promised_epoch": self.epoch, "vote": self.vote, "floor": floor}
        if self.patience:
            document["patience_ms"] = round(self.patience * 1000)
        write_atomically(path, json.dumps(document).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Promise:
        """A voter without the file promised nothing yet. Raises NewerFormat, and Failed when it can't be read:
        guessing is unsafe."""
        try:
            document = brought_up(json.loads(path.read_bytes()), path, STEPS)
            floor = Position(epoch=document["floor"]["epoch"], revision=document["floor"]["revision"])
            epoch = document["promised_epoch"]
            patience = document.get("patience_ms", 0)
            if any(type(number) is not int or number < 0 for number in (epoch, floor.epoch, floor.revision, patience)):
                raise ValueError("not a number")
            vote = document.get("vote", "")  # files of the first release have none
            if not isinstance(vote, str):
                raise ValueError("the vote is not a member id")
            return cls(epoch, floor, vote, patience / 1000)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failed(
                f"{path} can't be read ({error}); this node can't vote without knowing what it promised",
                "remove this node from the mesh and join it again",
            ) from error


def why_not_in_force(info: dict[str, str]) -> str:
    """Why the append-only file does not hold everything in the data; "" when it does. Pure."""
    if info.get("loading") != "0":
        return "redis is loading its data"
    if info.get("aof_rewrite_in_progress") != "0" or info.get("aof_rewrite_scheduled") != "0":
        return "redis is rewriting its append-only file"
    wrong = [f"{name} is {info.get(name, 'missing')}" for name, value in IN_FORCE.items() if info.get(name) != value]
    return f"redis does not persist: {', '.join(wrong)}" if wrong else ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a Redis held at one instant."""

    position: Position
    voters: Voters  # the voter record in that very data
    in_force: bool  # whether all of it was on disk, too
    state: str  # "ok", or why it was not


async def look(database: Database) -> Sight:
    """What is there now. Raises StoreUnavailable and StoreFailed."""
    position, info, voters = await database.condition()
    state = why_not_in_force(parse_info(info))
    return Sight(position, Voters.from_message(voters), not state, state or OK)
