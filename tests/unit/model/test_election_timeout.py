"""How long the nodes wait for their primary: chosen with the mesh, and changed later."""

import pytest
from meshd.model.errors import InvalidInput
from meshproto import node_pb2


def set_to(milliseconds):
    return {"set_election_timeout": node_pb2.SetElectionTimeout(milliseconds=milliseconds)}


def test_it_is_set_and_nothing_else_changes(mesh):
    before = mesh.state.settings.SerializeToString()
    assert mesh.decide(**set_to(1000)) is None
    mesh.do(**set_to(4000))
    assert mesh.state.settings.election_timeout_ms == 4000
    assert mesh.entries[-1].summary == "another primary is elected after 4 s without one"
    assert mesh.decide(**set_to(4000)) is None
    mesh.state.settings.election_timeout_ms = 0
    assert mesh.state.settings.SerializeToString() == before


@pytest.mark.parametrize("milliseconds", [0, 999, 30_001, 2**32 - 1])
def test_one_that_no_mesh_could_work_with_is_refused(mesh, milliseconds):
    with pytest.raises(InvalidInput, match="election time-out"):
        mesh.decide(**set_to(milliseconds))
