"""What a node that goes on makes of another one's data that it hears of outside of the tunnel."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import other_world
from meshd.assembly.other_world import OtherWorld
from meshd.cluster.election import worlds
from meshd.model.position import Position
from meshproto import local_pb2

OURS = Position(7, 40)
RESTORED = Position(worlds.restored_epoch(5, 1_800_000_000, 9) + 1, 31)


class Here:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.events: list[str] = []
        self.state = SimpleNamespace(position=OURS)
        monkeypatch.setattr(other_world, "boottime", lambda: self.now)
        mesh: Any = SimpleNamespace(
            name="home", state=self.state, event=lambda kind, text, **_: self.events.append(text)
        )
        self.other = OtherWorld(mesh, None)  # type: ignore[arg-type]  # nobody is asked

    def hear(self, position: Position) -> str:
        self.other.heard(position, "gw-berlin")
        return self.other.problem


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(monkeypatch)


def test_a_restored_mesh_is_told_once_with_what_to_do(here: Here) -> None:
    assert here.other.checks() == []
    for _ in range(3):
        assert here.hear(RESTORED).startswith("gw-berlin goes on as another mesh home")
    (told,) = here.events
    assert "That of gw-berlin: `meshctl down home` on all nodes here but one" in told
    assert told.endswith("This one: `meshctl down home` on gw-berlin")
    (check,) = here.other.checks()
    assert (check.check, check.state) == ("one home", local_pb2.ERROR)


def test_later_changes_of_our_own_mesh_are_none(here: Here) -> None:
    """gw-berlin is missed here and not by the primary."""
    assert here.hear(Position(7, 41)) == ""
    assert here.hear(Position(9, 50)) == ""
    assert here.hear(Position(6, 90)) == ""
    assert here.events == []


def test_it_is_over_when_this_node_follows_or_the_other_one_is_gone(here: Here) -> None:
    assert here.hear(RESTORED)
    here.now += other_world.KEPT - 1
    assert here.hear(RESTORED)
    here.now += other_world.KEPT + 1
    assert here.other.problem == ""
    assert here.hear(RESTORED)
    assert len(here.events) == 2, "it is back"
    here.state.position = RESTORED
    assert here.other.problem == ""
