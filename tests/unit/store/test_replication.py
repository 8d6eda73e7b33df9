from __future__ import annotations

import asyncio
import shutil
from ipaddress import IPv4Address

import pytest
from meshd.model.position import Position
from meshd.store import replication
from meshd.store.connection import Connection
from meshd.store.database import Database
from meshd.store.durability import look
from meshd.store.errors import StoreFailed
from meshd.store.replication import Credentials, Link, Replication

LOCALHOST = IPv4Address("127.0.0.1")


@pytest.fixture
async def pair(make_server, free_port):
    """Primary `a` with its port open, and `b`, which follows nobody yet."""
    a, b = await make_server("a"), await make_server("b")
    port = free_port()
    await a.open_tcp([LOCALHOST], port)
    return a, b, port


async def test_replica_follows_with_credentials(pair, fill):
    a, b, port = pair
    primary, replica = Replication(a.connection), Replication(b.connection)
    last = await fill(Database(a.connection), 3)
    await replica.follow(LOCALHOST, port, await primary.offer(1))
    data = Database(b.connection)
    assert await data.wait_position(last, 10) == last
    assert await replica.link() == Link("replica", "127.0.0.1", port, up=True, syncing=False)
    assert await primary.link() == Link("primary")
    last = await fill(Database(a.connection), 5)
    assert await data.wait_position(last, 10) == last
    assert await data.load() == await Database(a.connection).load()
    assert await data.entries(Position()) == await Database(a.connection).entries(Position())
    await data.close()


async def test_replica_has_it_in_force_once_its_own_file_holds_the_data(pair, fill, until):
    a, b, port = pair
    last = await fill(Database(a.connection), 3)
    await Replication(b.connection).follow(LOCALHOST, port, await Replication(a.connection).offer(1))
    data = Database(b.connection)

    async def in_force() -> bool:
        sight = await look(data)
        return sight.in_force and sight.position == last

    await until(in_force)
    assert (await b.connection.info("persistence"))["aof_rewrite_in_progress"] == "0"
    await data.close()


async def test_following_again_does_not_interrupt(pair, fill, until):
    a, b, port = pair
    credentials = await Replication(a.connection).offer(1)
    replica = Replication(b.connection)
    await replica.follow(LOCALHOST, port, credentials)
    await until(lambda: up(replica))
    full_copies = (await a.connection.info("stats"))["sync_full"]
    for _ in range(3):
        await replica.follow(LOCALHOST, port, credentials)
    renewed = await Replication(a.connection).offer(1)
    assert renewed.password != credentials.password
    await replica.follow(LOCALHOST, port, renewed)
    assert (await replica.link()).up
    assert (await a.connection.info("stats"))["sync_full"] == full_copies
    assert (await b.connection.config("masterauth")) == {"masterauth": renewed.password}


class Relay:
    """Passes bytes on to a port, each read `delay` seconds late, until `frozen` is set: then its connections hang, as
    when a network is cut."""

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self._target = target
        self._delay = delay
        self.frozen = False
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, sink, self.frozen)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, frozen: bool) -> None:
        try:
            while data := await source.read(65536):
                if self.frozen or frozen:
                    await asyncio.Event().wait()
                await asyncio.sleep(self._delay)
                sink.write(data)
        finally:
            sink.close()


async def test_a_link_that_hangs_is_made_anew(pair, fill, until, monkeypatch):
    a, b, port = pair
    monkeypatch.setattr(replication, "HUNG", 1)
    monkeypatch.setattr(replication, "CONNECT_LIMIT", 0.5)
    credentials = await Replication(a.connection).offer(1)
    replica, data = Replication(b.connection), Database(b.connection)
    async with Relay(port) as relay:
        await replica.follow(LOCALHOST, relay.port, credentials)
        await until(lambda: up(replica))
        relay.frozen = True
        last = await fill(Database(a.connection), 3)
        await replica.follow(LOCALHOST, relay.port, credentials)
        assert relay.connections == 1  # a moment of silence is no reason
        relay.frozen = False

        async def renewed() -> bool:
            await replica.follow(LOCALHOST, relay.port, credentials)
            return relay.connections > 1

        await until(renewed)
        assert await data.wait_position(last, 5) == last
        assert (await a.connection.info("stats"))["sync_full"] == "1"  # it went on where it was
        await data.close()


async def test_a_link_that_is_slow_to_come_up_is_waited_for(pair, fill, until, monkeypatch):
    a, b, port = pair
    monkeypatch.setattr(replication, "CONNECT_LIMIT", 0.5)
    last = await fill(Database(a.connection), 3)
    credentials = await Replication(a.connection).offer(1)
    replica, data = Replication(b.connection), Database(b.connection)
    async with Relay(port, delay=0.3) as relay:  # a round trip of 0.6 s, of which it takes several

        async def followed() -> bool:
            await replica.follow(LOCALHOST, relay.port, credentials)
            return (await replica.link()).up

        await until(followed)
        assert relay.connections == 1
        assert await data.wait_position(last, 5) == last
        await data.close()


async def up(replica: Replication) -> bool:
    return (await replica.link()).up


async def refusals(connection: Connection) -> int:
    """Failed logins that a server counts (ACL LOG groups them)."""
    entries = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in await connection.call("ACL", "LOG")]
    return sum(int(entry[b"count"]) for entry in entries if entry[b"reason"] == b"auth")


@pytest.mark.parametrize("user", ["repl-1", "repl-2", "default", "meshd"])
async def test_wrong_credentials_get_nothing_and_lose_nothing(pair, fill, until, user):
    a, b, port = pair
    await fill(Database(a.connection), 3)
    await Replication(a.connection).offer(1)
    kept = await fill(Database(b.connection), 1)
    replica = Replication(b.connection)
    await replica.follow(LOCALHOST, port, Credentials(user, "wrong"))
    await until(lambda: refused(a.connection))
    assert not (await replica.link()).up
    assert await Database(b.connection).position() == kept


async def refused(connection: Connection) -> bool:
    return await refusals(connection) > 0


async def test_primary_that_comes_up_empty_wipes_nobody(make_server, pair, folder, fill, until):
    a, b, port = pair
    last = await fill(Database(a.connection), 3)
    replica = Replication(b.connection)
    await replica.follow(LOCALHOST, port, await Replication(a.connection).offer(1))
    data = Database(b.connection)
    assert await data.wait_position(last, 10) == last
    await a.stop()
    shutil.rmtree(folder / "a")
    empty = await make_server("a")
    await empty.open_tcp([LOCALHOST], port)
    await until(lambda: refused(empty.connection))
    assert await Database(empty.connection).position() == Position()
    assert not (await replica.link()).up
    assert await data.position() == last
    await data.close()


async def test_revoking_cuts_the_link_and_keeps_the_copy(pair, fill, until):
    a, b, port = pair
    last = await fill(Database(a.connection), 2)
    primary, replica = Replication(a.connection), Replication(b.connection)
    await replica.follow(LOCALHOST, port, await primary.offer(4))
    data = Database(b.connection)
    assert await data.wait_position(last, 10) == last
    await primary.revoke(4)

    async def down() -> bool:
        return not await up(replica)

    await until(down)
    assert await data.position() == last
    await data.close()


async def test_offer_of_an_epoch_ends_those_before(pair):
    a, _, _ = pair
    primary = Replication(a.connection)
    await primary.offer(1)
    await primary.offer(2)
    assert await a.connection.call("ACL", "USERS") == [b"default", b"meshd", b"repl-2"]
    await primary.revoke_all()
    assert await a.connection.call("ACL", "USERS") == [b"default", b"meshd"]


async def test_account_may_replicate_and_nothing_else(pair, free_port, fill):
    a, _, port = pair
    await fill(Database(a.connection), 1)
    credentials = await Replication(a.connection).offer(1)
    url = f"redis://{credentials.user}:{credentials.password}@127.0.0.1:{port}"
    stranger = Connection.to_url(url, "redis")
    assert await stranger.call("PING") == b"PONG"
    for words in (("GET", "x"), ("HGETALL", "settings"), ("KEYS", "*"), ("INFO",), ("CONFIG", "GET", "*"), ("SYNC",),
                  ("ACL", "LIST"), ("EVAL", "return 1", 0), ("SHUTDOWN",), ("CLIENT", "LIST")):  # fmt: skip
        with pytest.raises(StoreFailed, match=f"refused {words[0]}"):
            await stranger.call(*words)
    await stranger.close()
    assert credentials.password not in repr(credentials)


async def test_account_is_not_saved(make_server, pair, folder):
    a, _, _ = pair
    await Replication(a.connection).offer(1)
    await a.stop()
    again = await make_server("a")
    assert await again.connection.call("ACL", "USERS") == [b"default", b"meshd"]


async def test_parked_server_keeps_its_data_and_takes_no_change(pair, fill, entry, until):
    a, b, port = pair
    last = await fill(Database(a.connection), 2)
    replica = Replication(b.connection)
    await replica.follow(LOCALHOST, port, await Replication(a.connection).offer(1))
    data = Database(b.connection)
    assert await data.wait_position(last, 10) == last
    await replica.park()
    assert (await replica.link()).parked
    assert await b.connection.config("masteruser", "masterauth") == {"masteruser": "", "masterauth": ""}
    with pytest.raises(StoreFailed):
        await data.append(entry("x"), last, Position(1, 3))
    await fill(Database(a.connection), 1)
    assert await data.position() == last
    await replica.park()
    await replica.detach()
    assert await replica.link() == Link("primary")
    await data.append(entry("x"), last, Position(2, 3))
    await data.close()


async def test_returning_primary_drops_its_tail(pair, fill):
    a, b, port = pair
    tail = await fill(Database(b.connection), 5)
    last = await fill(Database(a.connection), 2, epoch=2)
    data = Database(b.connection)
    assert await data.position() == tail
    await Replication(b.connection).follow(LOCALHOST, port, await Replication(a.connection).offer(2))
    async with asyncio.timeout(10):
        while await data.position() != last:
            await data.wait_position(last, 1)
    assert await data.entries(Position()) == await Database(a.connection).entries(Position())
    await data.close()
