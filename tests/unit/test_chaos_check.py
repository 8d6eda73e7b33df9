"""The check of tests/chaos: it must see each thing that may not be, and nothing in a run where all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chaos.history import DONE, REFUSED, UNKNOWN, Copy, Operation, check
from meshd.model.position import Position
from meshproto import state_pb2

Entries = list[tuple[Position, state_pb2.ChangeEntry]]


def entry(revision: int, request: str, epoch: int = 2, action: str = "add-route", actor: str = "ada", **member: str):
    made = state_pb2.ChangeEntry(request_id=request, action=action, actor=actor)
    if member:
        statement = state_pb2.MemberStatement(id=member["ipv4"], **member)
        record = state_pb2.MemberRecord(statement=statement.SerializeToString())
        value = state_pb2.Member(record=record).SerializeToString()
        made.writes.add(kind="member", key=f"{member['name']}{revision}", value=value)
    return Position(epoch, revision), made


ENTRIES = [
    entry(1, "a"), entry(2, "b"), entry(3, "c", 3, "redeem-invite", "invite 7", name="ada", ipv4="10.51.0.1"),
]  # fmt: skip
VIEW = state_pb2.View(routes=[state_pb2.Route(cidr="192.0.2.0/24"), state_pb2.Route(cidr="203.0.113.0/24")])
HISTORY = [
    Operation("a", "add route", "192.0.2.0/24", 1.0, 2.0, DONE, 1, "", 2, 1),
    Operation("b", "add route", "203.0.113.0/24", 1.5, 3.0, DONE, 2, "", 2, 2),
    Operation("c", "redeem invite", "7", 3.5, 4.0, DONE, 1),
    Operation("d", "add route", "198.51.100.0/24", 1.5, 3.0, REFUSED, 1, "unavailable"),
    Operation("e", "add route", "198.51.100.0/25", 1.5, 3.0, UNKNOWN, 3),
    Operation("f", "rename", "7", 5.0, 6.0, REFUSED, 2, "not-found"),
]


def wrong(history=HISTORY, entries=ENTRIES, view=VIEW, *others: Copy) -> list[str]:
    return check(history, [Copy("gw-berlin", view, entries), *others]).wrong


def test_nothing_is_wrong_where_all_is_well() -> None:
    assert wrong() == []


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (ENTRIES[:2], "redeem invite 7 was reported done"),
        ([*ENTRIES, entry(4, "a", 3)], "request a was carried out 2 times"),
        ([*ENTRIES, entry(5, "x", 3)], "follows"),
        ([*ENTRIES, entry(4, "x", 2)], "follows"),
        ([*ENTRIES, entry(4, "d", 3)], "was refused"),
        ([*ENTRIES, entry(4, "f", 3)], "was refused"),
        ([*ENTRIES, entry(4, "x", 3, "redeem-invite", "invite 7")], "invite 7 was redeemed 2 times"),
        ([*ENTRIES, entry(4, "x", 3, name="bo", ipv4="10.51.0.1")], "2 members have the ipv4"),
        ([*ENTRIES, entry(4, "x", 3, name="ada", ipv4="10.51.0.2")], "2 members have the name"),
    ],
)
def test_what_must_not_be_among_the_changes(entries: Entries, said: str) -> None:
    assert any(said in one for one in wrong(entries=entries))


def test_an_answer_that_names_another_change() -> None:
    assert "and is" in wrong([replace(HISTORY[0], revision=2), *HISTORY[1:]])[0]


def test_data_that_lacks_what_its_changes_say() -> None:
    assert "is not there" in wrong(view=state_pb2.View(routes=VIEW.routes[:1]))[0]


def test_copies_that_differ() -> None:
    other = Copy("gw-paris", state_pb2.View(), ENTRIES[:2])
    found = wrong(HISTORY, ENTRIES, VIEW, other)
    assert "gw-paris and gw-berlin hold different data" in found
    assert "gw-paris and gw-berlin hold different changes" in found


def test_a_change_that_began_later_and_came_earlier() -> None:
    late = Operation("z", "add route", "192.0.2.0/25", 9.0, 9.5, DONE, 1, "", 3, 4)
    early = Operation("y", "add route", "192.0.2.128/25", 5.0, 6.0, DONE, 1, "", 3, 5)
    entries = [*ENTRIES, entry(4, "z", 3), entry(5, "y", 3)]
    view = state_pb2.View(routes=[*VIEW.routes, *(state_pb2.Route(cidr=one.key) for one in (late, early))])
    assert any("before it began" in one for one in wrong([*HISTORY, late, early], entries, view))
