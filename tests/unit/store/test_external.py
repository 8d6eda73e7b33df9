"""An administrator's redis-server: started by hand with settings of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from meshd.model.errors import Conflict, Failed, InvalidInput, MeshError, Unavailable
from meshd.model.position import Position
from meshd.store.connection import Connection
from meshd.store.database import Database
from meshd.store.errors import StoreUnavailable
from meshd.store.external import ExternalServer, shown
from meshd.store.replication import Replication
from meshproto import state_pb2

GOOD = {"appendonly": "yes", "appendfsync": "always", "requirepass": "p@ss", "save": ""}
LOCALHOST = IPv4Address("127.0.0.1")


class Administrator:
    """Runs redis-server as somebody would who has never heard of meshd."""

    def __init__(self, folder: Path, port: int, cluster_port: int) -> None:
        self.folder = folder
        self.port = port
        self.cluster_port = cluster_port  # for cluster mode alone; by default 10,000 above, which may be no port
        self.url = f"redis://:p%40ss@127.0.0.1:{port}"
        self._child: subprocess.Popen[bytes] | None = None

    async def run(self, *lines: str, **settings: str) -> None:
        values = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.folder), **GOOD}
        values["cluster-port"] = str(self.cluster_port)
        values |= {name.replace("_", "-"): value for name, value in settings.items()}
        path = self.folder / "redis.conf"
        text = "".join(f'{name} "{value}"\n' for name, value in values.items() if value != "-")
        path.write_text(text + "".join(f"{line}\n" for line in lines))
        self._start(path)
        probe = Connection.to_url(self.url, "redis")
        async with asyncio.timeout(10):
            while True:
                try:
                    await probe.call("ECHO", "up")
                    break
                except Unavailable:
                    await asyncio.sleep(0.01)
                except MeshError:
                    break  # it answers, with an error
        await probe.close()

    def _start(self, path: Path) -> None:
        self._child = subprocess.Popen(["redis-server", str(path)], stdout=subprocess.DEVNULL)

    def end(self) -> None:
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()
            self._child = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid


@pytest.fixture
def administrator(folder: Path, free_port: Callable[[], int]):
    (folder / "admin").mkdir()
    made = Administrator(folder / "admin", free_port(), free_port())
    yield made
    made.end()


@pytest.fixture
async def external() -> AsyncIterator[Callable[..., ExternalServer]]:
    made: list[ExternalServer] = []

    def make(url: str, member_id: str = "m-0", on_exit: Callable[[str], None] = lambda reason: None) -> ExternalServer:
        server = ExternalServer(url, mesh_id="mesh-1", member_id=member_id, on_exit=on_exit)
        made.append(server)
        return server

    yield make
    for server in made:
        await server.stop()


async def test_good_server_is_used_and_left_as_it_was(administrator, external, fill, free_port):
    await administrator.run()
    server = external(administrator.url)
    await server.start()
    assert server.run_id
    await fill(Database(server.connection), 3)
    await server.ping(1)
    before = await server.connection.config("*")
    assert await server.open_tcp([IPv4Address("127.0.0.2")], free_port()) == administrator.port
    _, writer = await asyncio.open_connection("127.0.0.2", administrator.port)
    writer.close()
    await writer.wait_closed()
    await Replication(server.connection).offer(1)
    await server.erase()
    probe = Connection.to_url(administrator.url, "redis")
    assert await probe.call("DBSIZE") == 0
    assert await probe.call("ACL", "USERS") == [b"default"]
    assert await probe.config("*") == before
    await probe.close()


async def test_it_is_opened_again_after_the_administrator_restarted_it(administrator, external, free_port):
    """What is set by CONFIG SET is forgotten: the other nodes could not copy from it any more."""
    await administrator.run()
    server = external(administrator.url)
    await server.start()
    await server.open_tcp([IPv4Address("127.0.0.2")], free_port())
    await server.ping(1)
    administrator.end()
    await administrator.run()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.2", administrator.port)
    await server.ping(1)
    _, writer = await asyncio.open_connection("127.0.0.2", administrator.port)
    writer.close()
    await writer.wait_closed()
    await server.close_tcp()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.2", administrator.port)


async def test_data_of_this_mesh_is_taken_up_again(administrator, external, entry):
    await administrator.run()
    server = external(administrator.url)
    await server.start()
    settings = state_pb2.MeshSettings(id="mesh-1", name="home").SerializeToString()
    await Database(server.connection).append(entry("a", ("settings", "", settings)), Position(), Position(1, 1))
    await server.stop()
    administrator.end()
    await administrator.run()
    again = external(administrator.url)
    await again.start()
    assert (await Database(again.connection).load()).settings.name == "home"


async def test_over_a_unix_socket_with_a_password(administrator, external, folder, free_port):
    await administrator.run(unixsocket=str(folder / "admin.sock"))
    server = external(f"unix://{folder}/admin.sock?password=p%40ss")
    await server.start()
    await server.stop()


@pytest.mark.parametrize("own_port", [True, False])
async def test_a_later_helper_gives_back_what_an_earlier_one_changed(
    administrator, external, folder, free_port, own_port
):
    """The first one ends without a word; the second finds the server as the first one left it."""
    await administrator.run(unixsocket=str(folder / "admin.sock"))
    url = f"unix://{folder}/admin.sock?password=p%40ss"
    probe = Connection.to_url(url, "redis")
    if not own_port:
        await probe.call("CONFIG", "SET", "port", 0)
    port, before = free_port(), await probe.config("bind", "port")
    for _ in range(2):
        server = external(url)
        await server.start()
        used = await server.open_tcp([IPv4Address("127.0.0.2")], port)
        assert used == (administrator.port if own_port else port)
        await server.detach()
    await server.start()
    await server.erase()
    after = await probe.config("bind", "port")
    assert after["port"] == before["port"]
    assert "127.0.0.2" not in after["bind"]
    if own_port:
        assert after == before
    await probe.close()


async def test_port_is_opened_where_there_is_none(administrator, external, folder, free_port):
    await administrator.run(unixsocket=str(folder / "admin.sock"))
    probe = Connection.to_url(administrator.url, "redis")
    await probe.call("CONFIG", "SET", "port", 0)
    await probe.close()
    server = external(f"unix://{folder}/admin.sock?password=p%40ss")
    await server.start()
    port = free_port()
    assert await server.open_tcp([LOCALHOST], port) == port
    await server.close_tcp()
    assert (await server.connection.config("port"))["port"] == "0"


@pytest.mark.parametrize(
    ("lines", "settings", "message"),
    [
        ((), {"appendonly": "no"}, "has appendonly no"),
        ((), {"appendfsync": "everysec"}, "has appendfsync everysec"),
        ((), {"no_appendfsync_on_rewrite": "yes"}, "has no-appendfsync-on-rewrite yes"),
        ((), {"maxmemory_policy": "allkeys-lru"}, "has maxmemory-policy allkeys-lru"),
        ((), {"maxmemory_policy": "volatile-ttl"}, "has maxmemory-policy volatile-ttl"),
        ((), {"replica_read_only": "no"}, "has replica-read-only no"),
        ((), {"repl_diskless_load": "swapdb"}, "has repl-diskless-load swapdb"),
        ((), {"cluster_enabled": "yes"}, "forbids REPLICAOF"),
        (('rename-command REPLICAOF ""',), {}, "forbids REPLICAOF"),
        (('rename-command CONFIG ""',), {}, "forbids CONFIG"),
        (('rename-command ACL ""',), {}, "forbids ACL"),
        (("user default on >p@ss ~* &* +@all -replicaof",), {"requirepass": "-"}, "forbids REPLICAOF"),
        (("user default on >p@ss ~* &* +@all -config|set",), {"requirepass": "-"}, "forbids CONFIG SET"),
        (("user default on >p@ss ~* &* +@all -acl|setuser",), {"requirepass": "-"}, "forbids ACL SETUSER"),
        (("user default on >p@ss ~* &* +@all -acl",), {"requirepass": "-"}, "forbids ACL"),
    ],
)
async def test_unfit_server_is_refused_by_name(administrator, external, lines, settings, message):
    await administrator.run(*lines, **settings)
    server = external(administrator.url)
    with pytest.raises(Failed, match=message) as caught:
        await server.start()
    assert caught.value.fix
    assert f"127.0.0.1:{administrator.port}" in caught.value.message
    assert "p@ss" not in caught.value.message + caught.value.fix


async def test_default_user_without_rights_would_lose_changes(administrator, external):
    await administrator.run("user default reset off", "user ada on >p@ss ~* &* +@all", requirepass="-")
    server = external(administrator.url.replace("redis://:", "redis://ada:"))
    with pytest.raises(Failed, match="would lose changes when it restarts: its default user may not run XADD"):
        await server.start()


async def test_account_of_the_administrators_choice(administrator, external):
    await administrator.run("user default off ~* &* +@all", "user ada on >p@ss ~* &* +@all", requirepass="-")
    server = external(administrator.url.replace("redis://:", "redis://ada:"))
    await server.start()
    await server.open_tcp([LOCALHOST], 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("SET", "session:1", "x"), "holds foreign keys: 'session:1'"),
        (("SET", "settings", "x"), "holds foreign data in the key 'settings'"),
        (("HSET", "settings", "", state_pb2.MeshSettings(id="mesh-2", name="work").SerializeToString()),
         "holds another mesh, 'work'"),
    ],
)  # fmt: skip
async def test_foreign_data_is_refused(administrator, external, words, message):
    await administrator.run()
    probe = Connection.to_url(administrator.url, "redis")
    await probe.call(*words)
    server = external(administrator.url)
    with pytest.raises(Conflict, match=message):
        await server.start()
    assert await probe.call("DBSIZE") == 1
    await probe.close()


async def test_foreign_key_in_another_database_is_refused(administrator, external):
    await administrator.run()
    probe = Connection.to_url(f"{administrator.url}/3", "redis")
    await probe.call("SET", "x", "y")
    await probe.close()
    with pytest.raises(Conflict, match="foreign keys in db3"):
        await external(administrator.url).start()


async def test_foreign_key_among_many_is_found(administrator, external, fill):
    await administrator.run()
    first = external(administrator.url)
    await first.start()
    await fill(Database(first.connection), 2)
    for n in range(500):
        await first.connection.call("SET", f"session:{n}", "x")
    with pytest.raises(Conflict, match="foreign keys: 'session:"):
        await external(administrator.url).start()


async def test_server_of_another_node_is_refused(administrator, external):
    await administrator.run()
    first = external(administrator.url, "m-0")
    await first.start()
    with pytest.raises(Conflict, match="used by another node, m-0"):
        await external(administrator.url, "m-1").start()
    await external(administrator.url, "m-0").start()


async def test_wrong_password_and_no_server(administrator, external):
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        await external(administrator.url).start()
    await administrator.run()
    with pytest.raises(MeshError, match="refused the login"):
        await external(administrator.url.replace("p%40ss", "wrong")).start()


async def test_without_a_password_it_is_not_opened(administrator, external):
    await administrator.run(requirepass="-")
    server = external(f"redis://127.0.0.1:{administrator.port}")
    await server.start()
    with pytest.raises(Failed, match="lets anybody in without a password"):
        await server.open_tcp([LOCALHOST], 16379)


async def test_restart_is_noticed(administrator, external):
    await administrator.run()
    reasons: list[str] = []
    server = external(administrator.url, on_exit=reasons.append)
    await server.start()
    await server.ping(1)
    assert reasons == []
    administrator.end()
    with pytest.raises(StoreUnavailable):
        await server.ping(1)
    await administrator.run()
    await server.ping(1)
    assert reasons == [f"redis at redis://127.0.0.1:{administrator.port} was restarted"]


async def test_hang_is_noticed(administrator, external):
    await administrator.run()
    server = external(administrator.url)
    await server.start()
    os.kill(administrator.pid, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable, match="no answer"):
        await server.ping(0.2)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:6379", "http://127.0.0.1", "redis://", "unix://", "redis://h:99999", "redis://h/3",
     "redis://h?db=2", "redis://[::1", "redis://h?retry_on_timeout=yes", "unix:///s?protocol=3"],
)  # fmt: skip
def test_bad_urls_are_refused(url):
    with pytest.raises(InvalidInput):
        shown(url)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://:secret@192.0.2.1", "redis://192.0.2.1:6379"),
        ("rediss://ada:secret@redis.example:7000/0", "rediss://redis.example:7000"),
        ("redis://[2001:db8::1]:7000", "redis://[2001:db8::1]:7000"),
        ("unix:///run/redis.sock?password=secret&db=0", "unix:///run/redis.sock"),
    ],
)
def test_urls_are_shown_without_the_password(url, text):
    assert shown(url) == text
