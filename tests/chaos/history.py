"""What clients did and were told, a line of JSON for each operation; and the check of that against what is left."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from meshd.model.position import Position
from meshd.store.database import Entry
from meshproto import state_pb2

DONE, REFUSED, UNKNOWN = "done", "refused", "unknown"


@dataclass(slots=True)
class Operation:
    """One change that a client wanted. `outcome` is what it was told last; it repeats what it was not told."""

    request_id: str
    what: str
    key: str  # the object: a CIDR with its node, a member, an invite
    began: float
    ended: float = 0.0
    outcome: str = UNKNOWN
    attempts: int = 0
    code: str = ""  # of a refusal
    epoch: int = 0
    revision: int = 0  # 0 where the answer has none
    subject: str = ""  # the new member

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def read(text: str) -> list[Operation]:
    return [Operation(**json.loads(line)) for line in text.splitlines()]


@dataclass(frozen=True, slots=True)
class Copy:
    """All that one node's Redis holds in the end."""

    node: str
    view: state_pb2.View
    entries: Sequence[Entry]


@dataclass(slots=True)
class Findings:
    """`wrong` is empty when all is well."""

    wrong: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    epochs: int = 0


def check(operations: Sequence[Operation], copies: Sequence[Copy]) -> Findings:
    findings = Findings(outcomes=Counter(one.outcome for one in operations))
    first = copies[0]
    for copy in copies[1:]:
        if copy.view != first.view:
            findings.wrong.append(f"{copy.node} and {first.node} hold different data")
        if [one for one, _ in copy.entries] != [one for one, _ in first.entries]:
            findings.wrong.append(f"{copy.node} and {first.node} hold different changes")
    for copy in copies:
        findings.wrong += (f"{copy.node}: {wrong}" for wrong in _check_stream(copy.entries))
        findings.wrong += (f"{copy.node}: {wrong}" for wrong in _check_answers(operations, copy))
    findings.wrong += _check_order(operations)
    findings.epochs = len({position.epoch for position, _ in first.entries})
    return findings


def _check_stream(entries: Sequence[Entry]) -> Iterator[str]:
    """Revisions grow by one, epochs never fall, nothing is carried out twice, no two members share what is theirs."""
    for (before, _), (after, _) in itertools.pairwise(entries):
        if after.revision != before.revision + 1 or after.epoch < before.epoch:
            yield f"{after} follows {before}"
    for request_id, count in Counter(entry.request_id for _, entry in entries if entry.request_id).items():
        if count > 1:
            yield f"request {request_id} was carried out {count} times"
    members: dict[str, state_pb2.MemberStatement] = {}
    redeemed: Counter[str] = Counter()
    for position, entry in entries:
        if entry.action == "redeem-invite":
            redeemed[entry.actor] += 1
        for write in entry.writes:
            if write.kind != "member":
                continue
            if write.HasField("value"):
                record = state_pb2.Member.FromString(write.value).record
                members[write.key] = state_pb2.MemberStatement.FromString(record.statement)
            else:
                members.pop(write.key, None)
        for what in ("name", "ipv4"):
            taken = Counter(getattr(one, what) for one in members.values())
            for value, count in taken.items():
                if count > 1:
                    yield f"{count} members have the {what} {value!r} after {position}"
    for invite, count in redeemed.items():
        if count > 1:
            yield f"{invite} was redeemed {count} times"


def _check_answers(operations: Sequence[Operation], copy: Copy) -> Iterator[str]:
    """What was reported done is there, at the revision that was told; what was refused is not."""
    there: Mapping[str, Position] = {entry.request_id: at for at, entry in copy.entries if entry.request_id}
    for one in operations:
        at = there.get(one.request_id)
        if one.outcome == DONE and at is None:
            yield f"{one.what} {one.key} was reported done as {one.epoch}.{one.revision}, and is missing"
        elif one.outcome == DONE and one.revision and at != Position(one.epoch, one.revision):
            yield f"{one.what} {one.key} was reported done as {one.epoch}.{one.revision}, and is {at}"
        elif one.outcome == REFUSED and at is not None:
            yield f"{one.what} {one.key} was refused ({one.code}), and is there as {at}"
    yield from _check_routes(operations, copy)


def _check_routes(operations: Sequence[Operation], copy: Copy) -> Iterator[str]:
    """The data itself, for routes: each has one writer, so what was done to it last is known."""
    kept = {route.cidr for route in copy.view.routes}
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        if one.what in ("add route", "remove route"):
            by_key[one.key].append(one)
    for key, history in by_key.items():
        sure = [one for one in history if one.outcome == DONE]
        if not sure or any(one.outcome == UNKNOWN and one.began >= sure[-1].began for one in history):
            continue
        if (sure[-1].what == "add route") != (key in kept):
            yield f"{sure[-1].what} {key} was done last, and it is {'' if key in kept else 'not '}there"


def _check_order(operations: Sequence[Operation]) -> Iterator[str]:
    """A change that began after another one was reported done has a higher revision."""
    done = [one for one in operations if one.outcome == DONE and one.revision]
    ends = sorted(done, key=lambda one: one.ended)
    highest, index = None, 0
    for one in sorted(done, key=lambda one: one.began):
        while index < len(ends) and ends[index].ended < one.began:
            if highest is None or ends[index].revision > highest.revision:
                highest = ends[index]
            index += 1
        if highest is not None and one.revision <= highest.revision:
            yield f"{one.what} {one.key} is {one.revision}, though {highest.revision} was reported done before it began"
