"""A request that is repeated with its id is answered as it was the first time, whatever it did to the names in it."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.local_api import LocalApi
from meshd.model.errors import Conflict, InvalidInput, NotFound
from meshd.model.state import State
from meshd.rpc.actor import Actor, Tier
from meshproto import local_pb2, node_pb2, state_pb2

ACTOR = Actor(0, Tier.OPERATE, 1)
DONE = node_pb2.ChangeResult(
    outcome=node_pb2.ChangeResult.DONE, position=state_pb2.Position(epoch=2, revision=7), member_id="gone"
)

REQUESTS = {
    "remove_member": local_pb2.MemberRequest(who="laptop-ada"),
    "rename_member": local_pb2.RenameMemberRequest(who="laptop-ada", name="laptop-bob"),
    "set_member_enabled": local_pb2.SetMemberFlagRequest(who="laptop-ada", on=True),
    "set_member_admin": local_pb2.SetMemberFlagRequest(who="laptop-ada", on=True),
    "deauthorize_peer": local_pb2.PeerRequest(id="laptop-ada"),
    "add_route": local_pb2.RouteRequest(cidr="203.0.113.0/24", node="gw-berlin"),
    "remove_route": local_pb2.RouteRequest(cidr="203.0.113.0/24", node="gw-berlin"),
}


class Mesh:
    """What is left when the request was carried out: nobody has the name any more."""

    def __init__(self) -> None:
        self.name, self.is_node, self.me, self.duties = "home", False, None, self
        self.choices = SimpleNamespace(member_id="own")
        self.state = State(settings=state_pb2.MeshSettings(name="home"))
        self.members: dict[str, Any] = {}
        self.done: dict[str, node_pb2.ChangeResult] = {}
        self.asked: list[node_pb2.Change] = []

    async def wait_changed(self, version: int, timeout: float) -> int:
        self.state = SimpleNamespace(position=SimpleNamespace(revision=7))  # type: ignore[assignment]  # it has arrived
        return version

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        """As the primary: by the id of the request first."""
        self.asked.append(change)
        refused = node_pb2.ChangeResult.REFUSED
        return self.done.get(change.request_id) or node_pb2.ChangeResult(
            outcome=refused, code="not-found", message="there is no member '' in home"
        )


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


async def ask(mesh: Mesh, method: str, request: Any) -> local_pb2.ChangeReply:
    api = LocalApi(SimpleNamespace(find=lambda name: mesh))  # type: ignore[arg-type]  # what changes use of it
    reply: local_pb2.ChangeReply = await getattr(api, method)(request, ACTOR)
    return reply


@pytest.mark.parametrize("method", REQUESTS)
async def test_what_was_done_is_told_again(mesh: Mesh, method: str) -> None:
    request = type(REQUESTS[method])()
    request.CopyFrom(REQUESTS[method])
    request.request_id = str(uuid.uuid4())
    mesh.done[request.request_id] = DONE
    assert await ask(mesh, method, request) == local_pb2.ChangeReply(epoch=2, revision=7)


@pytest.mark.parametrize("method", [one for one in REQUESTS if one != "deauthorize_peer"])
async def test_who_was_never_there_is_named_as_it_was_asked_for(mesh: Mesh, method: str) -> None:
    request = type(REQUESTS[method])()
    request.CopyFrom(REQUESTS[method])
    request.request_id = str(uuid.uuid4())
    with pytest.raises(NotFound, match=r"laptop-ada|gw-berlin"):
        await ask(mesh, method, request)
    request.request_id = ""
    mesh.asked.clear()
    with pytest.raises(NotFound, match=r"laptop-ada|gw-berlin"):
        await ask(mesh, method, request)
    assert not mesh.asked, "without an id it is no repeat"


async def test_a_route_that_no_node_offers_any_more(mesh: Mesh) -> None:
    request = local_pb2.RouteRequest(cidr="203.0.113.0/24", request_id="r")
    with pytest.raises(InvalidInput, match="0 nodes offer"):
        await ask(mesh, "remove_route", request)
    mesh.done["r"] = DONE
    assert (await ask(mesh, "remove_route", request)).revision == 7


async def test_another_member_is_never_meant(mesh: Mesh) -> None:
    """A role that does not fit is refused by what is known here: the id must not reach the primary."""
    conflict = Conflict("several")

    def find(who: str, role: object) -> Any:
        raise NotFound("there is no node") if role else conflict

    mesh.state = SimpleNamespace(find_member=find, parsed={})  # type: ignore[assignment]
    request = local_pb2.MemberRequest(who="0123456789", role=state_pb2.ROLE_NODE, request_id="r")
    with pytest.raises(NotFound):
        await ask(mesh, "remove_member", request)
    assert [one.remove_member.id for one in mesh.asked] == [""]
    with pytest.raises(Conflict):
        await ask(mesh, "rename_member", local_pb2.RenameMemberRequest(who="0123", name="x", request_id="r"))


@pytest.mark.parametrize("method", ["add_route", "remove_route"])
async def test_a_route_of_this_node_is_another_request_at_another_node(mesh: Mesh, method: str) -> None:
    """Else the second node would hear that it offers what the first one does."""
    contents = set()
    request = local_pb2.RouteRequest(cidr="203.0.113.0/24", request_id=str(uuid.uuid4()))
    for node in ("gw-berlin-id", "gw-paris-id"):
        mesh.is_node, mesh.choices = True, SimpleNamespace(member_id=node)
        mesh.done[request.request_id] = DONE
        for node_said in ("", node):
            request.node, mesh.state = node_said, State()
            await ask(mesh, method, request)
            contents.add((node, mesh.asked[-1].content))
    assert len({content for _, content in contents}) == len(contents) == 2
