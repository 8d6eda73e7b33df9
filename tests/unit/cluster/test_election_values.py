"""`replace` of the election's values does what that of `dataclasses` does."""

import dataclasses

import pytest
from meshd.cluster.election.state import Attempt, Release, Stage, Term, starting
from meshd.cluster.election.values import replace
from meshd.model.position import Position
from meshd.model.voters import Voters
from meshd.store.durability import Promise

VALUES = [
    starting("a", Promise(3), 1.0),
    Term(2, 1.0, Voters(("a", "b")), Position(1, 7)),
    Attempt(Stage.ASKING, 4, 2.0, 1),
    Release("b", 3, 1.0, 2.0),
    Promise(3, Position(2, 9), "b"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_copy_differs_in_the_named_field_alone(value):
    before = dataclasses.asdict(value)
    for field in dataclasses.fields(value):
        changed = replace(value, **{field.name: 42})
        assert changed == dataclasses.replace(value, **{field.name: 42})
        assert type(changed) is type(value)
    assert dataclasses.asdict(value) == before


def test_an_unknown_field_is_refused():
    with pytest.raises(TypeError, match="no_such_field"):
        replace(VALUES[0], no_such_field=1)
