"""What watchers hear: all of them the same as if each was told everything, however far they were."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import peer_duties, watching
from meshd.assembly.peer_duties import PeerDuties
from meshd.assembly.watching import KEPT, STEPS, WATCHES, History, Watching
from meshd.model.errors import NotFound, NotPermitted
from meshd.model.members import Role
from meshd.model.position import Position
from meshd.model.state import State
from meshproto import node_pb2, state_pb2

PEERS = [f"laptop-{number}" for number in range(8)]


def member(name: str, number: int = 0, enabled: bool = True) -> state_pb2.Member:
    return state_pb2.Member(
        id=name, enabled=enabled, listen_port=number, certificate=b"signed", wrapped_secret=b"for itself"
    )


class Node:
    """The mesh as `Watching` sees it, and what happens to it."""

    name = "home"
    closing = False
    writable = True
    primary_id = "gw-berlin"

    def __init__(self) -> None:
        self.state = State(
            position=Position(1, 10), members={name: member(name) for name in PEERS},
            settings=state_pb2.MeshSettings(id="home", encrypted_ca_key=b"closed"),
        )  # fmt: skip
        self.presence: dict[str, node_pb2.Presence] = {}
        self.node_health: dict[str, node_pb2.NodeHealth] = {}
        self.admitted = SimpleNamespace(messages={})
        self.reach_changes = 0
        self.watching = Watching(self, self)  # type: ignore[arg-type]  # what it uses of a mesh

    @property
    def committed(self) -> Position:
        return self.state.position

    async def wait_changed(self, seen: int, timeout: float) -> int:
        raise AssertionError("there is no pause in these tests")

    def write(self, *writes: state_pb2.Write) -> None:
        position = Position(self.state.position.epoch, self.state.position.revision + 1)
        entry = state_pb2.ChangeEntry(request_id="7", summary=str(position), writes=writes)
        self.watching.grown([(position, entry)])
        self.state = self.state.with_entry(entry, position)

    def change_member(self, name: str, number: int, enabled: bool = True) -> None:
        value = member(name, number, enabled).SerializeToString()
        self.write(state_pb2.Write(kind="member", key=name, value=value))

    def elect(self) -> None:
        """The next entries are of another epoch."""
        position = Position(self.state.position.epoch + 3, self.state.position.revision + 1)
        entry = state_pb2.ChangeEntry(
            summary="term", writes=[state_pb2.Write(kind="primary", key="", value=b"gw-oslo")]
        )
        self.watching.grown([(position, entry)])
        self.state = self.state.with_entry(entry, position)

    def see(self, chance: random.Random) -> None:
        """Some members come, go, or move."""
        self.presence = dict(self.presence)
        for name in chance.sample(PEERS, 3):
            if chance.random() < 0.3:
                self.presence.pop(name, None)
            else:
                self.presence[name] = node_pb2.Presence(
                    member_id=name, online=True, latest_handshake_ms=chance.randrange(9)
                )


class Peer:
    """Takes what it hears as `PeerDuties` does."""

    def __init__(self, name: str) -> None:
        self.choices = SimpleNamespace(member_id=name)
        self.name = "home"
        self.state = State()
        self.committed = Position()
        self.presence: dict[str, node_pb2.Presence] = {}
        self.summaries: list[str] = []
        self.positions: list[Position] = []
        self.snapshots = 0
        self.stream: Any = None
        self.duties = PeerDuties(self)  # type: ignore[arg-type]  # what `_take` uses of a mesh

    def set_state(self, state: State, entries: Any = None) -> None:
        self.state = state
        self.summaries += [entry.summary for _, entry in entries or []]
        self.positions += [position for position, _ in entries or []]
        self.snapshots += entries is None

    def take_presence(self, presence: Any, nodes: Any) -> None:
        last = {seen.member_id: seen for seen in presence}
        self.presence = {name: seen for name, seen in last.items() if seen != node_pb2.Presence(member_id=name)}

    async def notify(self) -> None: ...

    async def hear(self, node: Node) -> None:
        if self.stream is None:
            known = self.state.position if self.duties._whole else Position()
            self.presence = {}
            self.stream = node.watching.watch(SimpleNamespace(id=self.choices.member_id, name="it"), known)  # type: ignore[arg-type]
        while True:
            assert await self.duties._take(await anext(self.stream))
            if self.state.position == node.state.position:  # else a snapshot is still to come
                return

    async def leave(self) -> None:
        if self.stream is not None:
            await self.stream.aclose()
            self.stream = None


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAUSE", 0.0)
    monkeypatch.setattr(watching, "SNAPSHOT_PAUSE", 0.0)


@pytest.mark.parametrize("seed", range(20))
async def test_all_have_in_the_end_what_one_snapshot_would_tell(seed: int) -> None:
    chance = random.Random(seed)
    node = Node()
    peers = [Peer(name) for name in PEERS]
    for step in range(300):
        what = chance.random()
        if what < 0.25:
            node.change_member(chance.choice(PEERS), step)
        elif what < 0.35:
            cidr = f"203.0.113.{chance.randrange(4)}/32"
            route = state_pb2.Route(cidr=cidr, node_id="gw", created_ms=step).SerializeToString()
            gone = chance.random() < 0.4
            node.write(state_pb2.Write(kind="route", key=f"{cidr}|gw", value=None if gone else route))
        elif what < 0.4:
            node.elect()
        elif what < 0.43:
            node.state = State.from_view(node.state.to_view())
            node.watching.replaced()
        elif what < 0.6:
            node.see(chance)
        else:
            peer = chance.choice(peers)
            await (peer.leave() if what > 0.95 else peer.hear(node))
    for peer in peers:
        await peer.hear(node)
        seen, told = peer.state.to_view(), node.state.for_peer(peer.choices.member_id)
        for view in (seen, told):
            view.members.sort(key=lambda one: one.id)
            view.routes.sort(key=lambda one: one.cidr)
        assert seen == told
        assert peer.presence == node.presence
        await peer.leave()


async def test_who_comes_back_hears_the_changes_meanwhile_also_of_another_epoch() -> None:
    node, ada = Node(), Peer("laptop-1")
    await ada.hear(node)
    assert ada.snapshots == 1
    await ada.leave()
    node.change_member("laptop-2", 7)
    node.elect()
    node.change_member("laptop-3", 8)
    await ada.hear(node)
    assert ada.snapshots == 1
    assert ada.summaries == ["11-1", "term", "13-4"]
    assert ada.positions == [Position(1, 11), Position(4, 12), Position(4, 13)], "as the events will say"
    assert ada.state.position == node.state.position
    await ada.leave()


async def test_who_was_changed_itself_gets_its_own_certificate() -> None:
    node, ada = Node(), Peer("laptop-1")
    await ada.hear(node)
    node.change_member("laptop-1", 7)
    await ada.hear(node)
    assert ada.snapshots == 2
    assert ada.state.members["laptop-1"] == member("laptop-1", 7) or not ada.state.members["laptop-1"].wrapped_secret
    assert ada.state.members["laptop-1"].certificate == b"signed"
    assert ada.state.members["laptop-2"].certificate == b""
    assert not ada.state.settings.encrypted_ca_key
    await ada.leave()


async def test_a_position_of_another_history_gets_a_snapshot() -> None:
    history = History(Position(1, 10))
    entry = state_pb2.ChangeEntry(writes=[state_pb2.Write(kind="primary", key="", value=b"gw")])
    history.add([(Position(1, 11), entry), (Position(3, 12), entry), (Position(3, 13), entry)])
    for has, leads_to in (((1, 10), (1, 11)), ((1, 11), (3, 13)), ((3, 12), (3, 13))):
        step = history.after(Position(*has), "ada")
        assert step is not None
        assert step.position == Position(*leads_to), "a step is of one epoch"
        assert len(node_pb2.ViewUpdate.FromString(step.update).entries) == leads_to[1] - has[1]
    for has in ((0, 0), (1, 9), (2, 11), (1, 12), (2, 12), (3, 13), (3, 14), (9, 2**63)):
        assert history.after(Position(*has), "ada") is None


async def test_what_follows_is_kept_for_few_positions() -> None:
    history = History(Position(1, 0))
    entry = state_pb2.ChangeEntry(writes=[state_pb2.Write(kind="primary", key="", value=b"gw")])
    history.add([(Position(1, revision), entry) for revision in range(1, 101)])
    assert all(history.after(Position(1, revision), "ada") for revision in range(1, 100))
    assert len(history._steps) == STEPS


async def test_so_many_changes_are_kept() -> None:
    history = History(Position(1, 0))
    entry = state_pb2.ChangeEntry(writes=[state_pb2.Write(kind="primary", key="", value=b"gw")])
    for revision in range(1, KEPT + 11):
        history.add([(Position(1, revision), entry)])
    assert history.after(Position(1, 9), "ada") is None
    step = history.after(Position(1, 10), "ada")
    assert step is not None
    assert len(node_pb2.ViewUpdate.FromString(step.update).entries) == KEPT


async def test_who_is_removed_or_disabled_hears_that_last() -> None:
    node, ada, bob = Node(), Peer("laptop-1"), Peer("laptop-2")
    await ada.hear(node)
    await bob.hear(node)
    node.change_member("laptop-1", 7, enabled=False)
    node.write(state_pb2.Write(kind="member", key="laptop-2"))
    await ada.hear(node)
    assert set(ada.state.members) == {"laptop-1"}, "whoever is disabled sees nobody but itself and the nodes"
    await bob.hear(node)
    assert not bob.state.members
    with pytest.raises(NotPermitted, match="is disabled"):
        await anext(ada.stream)
    with pytest.raises(NotFound, match="was removed"):
        await anext(bob.stream)


async def test_a_node_that_is_behind_tells_who_is_online_and_goes_on_when_it_has_caught_up() -> None:
    ahead, behind, ada = Node(), Node(), Peer("laptop-1")
    for node in (ahead, behind):
        node.change_member("laptop-3", 6)
    ahead.change_member("laptop-2", 7)
    await ada.hear(ahead)
    await ada.leave()
    stream: Any = behind.watching.watch(SimpleNamespace(id="laptop-1", name="it"), ada.state.position)  # type: ignore[arg-type]
    behind.presence = {"laptop-5": node_pb2.Presence(member_id="laptop-5", online=True)}
    for _ in range(3):
        update = await anext(stream)
        assert not update.HasField("snapshot")
        assert await ada.duties._take(update)
    assert ada.presence.keys() == {"laptop-5"}
    assert ada.state.position == Position(1, 12)
    behind.change_member("laptop-2", 7)
    behind.change_member("laptop-2", 8)
    assert await ada.duties._take(await anext(stream))
    assert ada.state.position == Position(1, 13)
    assert ada.state.members["laptop-2"].listen_port == 8
    assert ada.snapshots == 1
    await stream.aclose()


@pytest.mark.parametrize("epoch", [1, 9])
async def test_an_older_snapshot_and_what_follows_on_it_change_nothing_that_is_newer(epoch: int) -> None:
    """A node does not know what a peer has that asks it after a start of its own."""
    node, ada = Node(), Peer("laptop-1")
    ada.state = State.from_view(node.state.to_view())
    for number in (1, 2):
        ada.state = ada.state.with_entry(state_pb2.ChangeEntry(summary=f"{number}"), Position(1, 10 + number))
    stream: Any = node.watching.watch(SimpleNamespace(id="laptop-1", name="it"), Position())  # type: ignore[arg-type]
    assert await ada.duties._take(await anext(stream))
    assert ada.state.position == Position(1, 12)
    assert not ada.duties._whole
    node.state = replace(node.state, position=Position(epoch, 10))
    node.watching.replaced()
    node.change_member("laptop-2", 7)
    for _ in range(3):  # a snapshot may have to wait for its turn
        assert await ada.duties._take(await anext(stream))
    if epoch == 1:
        assert ada.state.position == Position(1, 12), "it has that already"
    else:
        assert ada.state.position == Position(9, 11), "another world, from a snapshot"
        assert ada.state.members["laptop-2"].listen_port == 7
    await stream.aclose()


async def test_changes_that_do_not_follow_are_not_taken() -> None:
    ada = Peer("laptop-1")
    ada.state = State(position=Position(1, 10))
    ada.duties._whole = True
    entry = state_pb2.ChangeEntry(summary="too late")
    update = node_pb2.ViewUpdate(entries=[entry], committed=Position(1, 13).message)
    assert not await ada.duties._take(update)
    assert ada.state.position == Position(1, 10)
    assert not ada.duties._whole, "it asks for all"


async def test_who_begins_shares_what_is_told_of_who_is_online() -> None:
    node = Node()
    node.see(random.Random(1))
    for name in PEERS:
        await anext(node.watching.watch(SimpleNamespace(id=name, name=name), node.state.position))  # type: ignore[arg-type]
    assert len(node.watching._news._made) == 1


async def test_who_was_just_admitted_has_its_own_record_in_a_view_that_lacks_it() -> None:
    node, ada = Node(), Peer("laptop-9")
    node.admitted.messages["laptop-9"] = member("laptop-9", 7)
    await ada.hear(node)
    assert ada.state.members["laptop-9"].certificate == b"signed"
    await ada.leave()


async def test_who_is_removed_while_it_waits_for_a_snapshot_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAUSE", 5.0)
    node, ada = Node(), Peer("laptop-1")
    await node.watching._turn.acquire()
    stream: Any = node.watching.watch(SimpleNamespace(id="laptop-1", name="it"), Position())  # type: ignore[arg-type]
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    node.write(state_pb2.Write(kind="member", key="laptop-1"))
    node.watching._turn.release()
    assert await ada.duties._take(await waiting)
    assert not ada.state.members
    with pytest.raises(NotFound):
        await anext(stream)


async def test_what_only_an_earlier_node_said_of_who_is_online_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(peer_duties, "boottime", lambda: now)
    ada = Peer("laptop-1")
    ada.presence = {name: node_pb2.Presence(member_id=name, online=True) for name in PEERS[:2]}
    ada.duties._began = now
    told = node_pb2.ViewUpdate(presence=[node_pb2.Presence(member_id=PEERS[1], online=True)], primary_id="gw-oslo")
    assert await ada.duties._take(told)
    assert set(ada.presence) == set(PEERS[:2]), "the node may have begun just now, too"
    now += peer_duties.PRESENCE_KEPT + 1
    assert await ada.duties._take(node_pb2.ViewUpdate())
    assert set(ada.presence) == set(PEERS[:2]), "nobody leads, and the node hears of nobody from others"
    assert await ada.duties._take(node_pb2.ViewUpdate(primary_id="gw-oslo"))
    assert set(ada.presence) == {PEERS[1]}


async def test_a_member_has_some_watches_at_once() -> None:
    node = Node()
    ada, bob = (SimpleNamespace(id=name, name=name) for name in PEERS[:2])

    async def watch(who: Any) -> Any:
        stream: Any = node.watching.watch(who, Position())
        await anext(stream)
        return stream

    streams = [await watch(ada) for _ in range(WATCHES)]
    with pytest.raises(NotPermitted, match="laptop-0 watches 16 times already"):
        await watch(ada)
    streams.append(await watch(bob))
    await streams.pop(0).aclose()
    streams.append(await watch(ada))
    for stream in streams:
        await stream.aclose()
    assert not node.watching._watching


def spread(peers: int, nodes: list[str], answers: set[str]) -> dict[str, str]:
    """Which node each peer watches first."""
    found = {}
    for number in range(peers):
        mesh = SimpleNamespace(
            choices=SimpleNamespace(member_id=f"peer-{number}"),
            present=[SimpleNamespace(id=name, ipv4=name, role=Role.NODE, enabled=True) for name in nodes],
            sessions=SimpleNamespace(prober=SimpleNamespace(answered=answers.__contains__)),
        )
        found[f"peer-{number}"] = PeerDuties(mesh)._nodes()[0].id  # type: ignore[arg-type]  # what `_nodes` uses of it
    return found


def test_peers_spread_over_the_nodes_and_over_those_that_are_left() -> None:
    three = spread(600, ["a", "b", "c"], {"a", "b", "c"})
    assert all(150 < list(three.values()).count(name) < 250 for name in "abc")
    two = spread(600, ["c", "b", "a"], {"b", "c"})
    assert {peer for peer, node in three.items() if node != two[peer]} == {
        p for p, node in three.items() if node == "a"
    }
    moved = [two[peer] for peer, node in three.items() if node == "a"]
    assert 60 < moved.count("b") < 140


async def test_a_node_that_does_not_tell_what_is_committed_is_left_and_comes_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its Redis can't follow the primary any more."""
    now = 1000.0
    monkeypatch.setattr(peer_duties, "boottime", lambda: now)
    read = 0

    async def tells(committed: int) -> node_pb2.ViewUpdate:
        nonlocal now, read
        now += 2.0
        read += 1
        assert read < 100, "it is never left"
        return node_pb2.ViewUpdate(committed=Position(1, committed).message)

    def watched(committed: int) -> Any:
        call = SimpleNamespace(read=lambda: tells(committed), cancel=lambda: None)
        return SimpleNamespace(stub=lambda node: SimpleNamespace(WatchView=lambda request: call))

    nodes = [SimpleNamespace(id=name, name=name, ipv4=name, role=Role.NODE, enabled=True) for name in "abc"]
    ada = Peer("laptop-1")
    ada.choices.mesh_id = "home"
    ada.present = nodes  # type: ignore[attr-defined]  # what `_nodes` uses of a mesh
    answering = set("abc")
    ada.sessions = SimpleNamespace(prober=SimpleNamespace(answered=answering.__contains__))  # type: ignore[attr-defined]
    ada.state = State(position=Position(1, 10))
    first = ada.duties._nodes()[0]
    ada.duties._channels = watched(11)
    await ada.duties._watch_at(first)  # type: ignore[arg-type]
    assert read * 2.0 == pytest.approx(peer_duties.BEHIND, abs=3)
    assert ada.duties._nodes()[-1] is first
    now += peer_duties.BEHIND_KEPT + 1
    assert ada.duties._nodes()[0] is first
    read, ada.committed, ada.duties._channels = 0, Position(), watched(10)
    with pytest.raises(AssertionError, match="it is never left"):
        await ada.duties._watch_at(first)  # type: ignore[arg-type]
    read, ada.duties._channels = 0, watched(11)
    answering.clear()
    answering.add(first.id)
    with pytest.raises(AssertionError, match="it is never left"):  # there is nobody else to ask
        await ada.duties._watch_at(first)  # type: ignore[arg-type]
