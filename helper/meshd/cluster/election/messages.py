"""What goes in and out of the election: messages between voters, events, effects. Plain values."""

from __future__ import annotations

from dataclasses import dataclass

from meshd.cluster.election.state import Timing
from meshd.model.position import Position
from meshd.model.voters import Voters

# --- messages between nodes; the sender is known from the connection --------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """A candidate asks for a vote or, as a trial, whether it would get one."""

    epoch: int
    position: Position  # the last entry of the candidate's data
    trial: bool = False
    released: int = 0  # the epoch whose primary gave it up for this candidate (hand-over); 0: none


@dataclass(frozen=True, slots=True)
class VoteReply:
    epoch: int
    trial: bool
    promised_epoch: int
    refusal: str = ""  # why not; "" is the vote


@dataclass(frozen=True, slots=True)
class Heartbeat:
    epoch: int
    sent_at: float  # the primary's own clock; comes back in the reply
    committed: Position = Position()
    open: bool = False  # the first entry of the epoch is on the primary's disk: its Redis can be followed
    timeout: float = 0.0  # the election time-out that the primary's lease is shorter than


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    promised_epoch: int
    sent_at: float
    stored: Position = Position()
    copying: bool = False  # its Redis is getting a full copy right now


@dataclass(frozen=True, slots=True)
class ConfirmRequest:
    position: Position


@dataclass(frozen=True, slots=True)
class ConfirmReply:
    promised_epoch: int
    confirmed: Position  # of the promised epoch, durable; (0, 0): nothing


@dataclass(frozen=True, slots=True)
class HandOver:
    """The primary of `epoch` has stepped down in favour of whoever gets this."""

    epoch: int


Message = VoteRequest | VoteReply | Heartbeat | HeartbeatReply | ConfirmRequest | ConfirmReply | HandOver

# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: due at `state.wake_at`, harmless at any other time."""


@dataclass(frozen=True, slots=True)
class Received:
    sender: str
    message: Message


@dataclass(frozen=True, slots=True)
class StoreSeen:
    """The local Redis was looked at: what it holds, and whether all of it was on disk at that instant."""

    position: Position
    voters: Voters  # the voter record in that very data
    in_force: bool
    copying: bool = False  # a full copy is coming in that will take the place of what it holds


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The local Redis ended, was started again, hangs, or failed a write."""

    reason: str


@dataclass(frozen=True, slots=True)
class Parked:
    """`Park(token)` is done: the data will not change by itself."""

    token: int
    position: Position
    voters: Voters


@dataclass(frozen=True, slots=True)
class Appended:
    """The primary wrote an entry, and Redis said so. `voters`: the record in the data after it."""

    position: Position
    voters: Voters


@dataclass(frozen=True, slots=True)
class NodesChanged:
    """All nodes of the mesh: who gets heartbeats."""

    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class TimingChanged:
    """The time-outs of the mesh."""

    timing: Timing


@dataclass(frozen=True, slots=True)
class HandOverWanted:
    """`nodes promote WHO`, at the primary."""

    target: str


@dataclass(frozen=True, slots=True)
class ForceWanted:
    """`nodes promote --force`, at the node that is to lead. `accepted`: with data from that position on, also where
    this node confirmed more than that, which its Redis has lost; the person was told so. (0, 0): only with all of it.
    `slot`: drawn for this force alone, of `worlds.SLOTS`.
    """

    slot: int
    accepted: Position = Position()


Event = (
    Tick | Received | StoreSeen | StoreFailed | Parked | Appended | NodesChanged | TimingChanged | HandOverWanted
    | ForceWanted
)  # fmt: skip

# --- effects ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    to: str
    message: Message


@dataclass(frozen=True, slots=True)
class Park:
    """Follow nobody and take no writes, then report `Parked(token)` with what is there. Unless Redis is loading."""

    token: int


@dataclass(frozen=True, slots=True)
class Lead:
    """Take writes; write the first entry of `epoch`, expecting `base`, in the Redis run that was parked with `token`.

    Then let replicas in and report `Appended`; else `StoreFailed`. `voters`: a record to write with it (`--force`).
    """

    epoch: int
    base: Position
    token: int
    voters: Voters | None = None


@dataclass(frozen=True, slots=True)
class Follow:
    """Copy from that primary with the account of its epoch. Nothing to do when it is so already."""

    primary: str
    epoch: int
    aside: bool = False  # keep the old append-only file: a person gave up what is in it with `--force`


@dataclass(frozen=True, slots=True)
class StepDown:
    """Nothing is written in this epoch any more: delete its replication account, then park."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """Look at the local Redis as soon as it answers and may hold `position`, and report `StoreSeen`.

    When it does not hold that yet, or not on disk, look again until it does or the machine no longer waits for it.
    """

    position: Position


@dataclass(frozen=True, slots=True)
class Committed:
    """Everything up to here is committed: callers can be answered."""

    position: Position


@dataclass(frozen=True, slots=True)
class Refused:
    """A request of a person can't be carried out."""

    reason: str


Effect = Send | Park | Lead | Follow | StepDown | Look | Committed | Refused


def answers(event: Event, effect: Send) -> bool:
    """Whether this is the reply to the message that the event brought."""
    if not isinstance(event, Received):
        return False
    asked, told = event.message, effect.message
    if isinstance(asked, Heartbeat):
        return isinstance(told, HeartbeatReply)
    return isinstance(asked, VoteRequest) and isinstance(told, VoteReply)
