from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from meshd.model.errors import Failed
from meshd.store import process, settings
from meshd.store.connection import Connection
from meshd.store.errors import StoreFailed, StoreUnavailable
from meshd.store.process import Process, Record
from meshd.store.server import RedisServer, socket_path

LOCALHOST = IPv4Address("127.0.0.1")

STARTED_AND_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from meshd.store.server import RedisServer

async def main():
    server = RedisServer(Path(sys.argv[1]), Path(sys.argv[2]), on_exit=print)
    await server.start()
    await server.connection.call("SET", "kept", "yes")
    print(server.pid, server.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def killed_helper(folder: Path, socket: Path) -> tuple[int, str]:
    """Starts a server in a helper that dies; returns pid and run id."""
    child = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", STARTED_AND_KILLED, str(folder), str(socket)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    pid, run_id = child.stdout.split()
    return int(pid), run_id


async def test_starts_private_and_durable(make_server, folder):
    server = await make_server()
    assert not server.adopted
    assert server.run_id
    found = await server.connection.config("port", *settings.SETTINGS)
    assert found == {"port": "0", **settings.SETTINGS}
    assert (await server.connection.info("replication"))["role"] == "master"
    assert stat.S_IMODE((folder / "a.sock").stat().st_mode) == 0o600
    for path in (folder / "a").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o700
    assert os.getsid(server.pid) == server.pid


async def test_password_is_not_in_the_configuration(make_server, folder):
    await make_server()
    password = (folder / "a/redis.password").read_text().strip()
    assert len(password) == 64
    assert password not in (folder / "a/redis.conf").read_text()


async def test_stop_and_start_keeps_data(make_server, folder):
    server = await make_server()
    await server.connection.call("SET", "kept", "yes")
    pid = server.pid
    await server.stop()
    assert process.start_ticks(pid) is None
    assert not (folder / "a.sock").exists()
    again = await make_server()
    assert not again.adopted
    assert await again.connection.call("GET", "kept") == b"yes"


async def test_erase_leaves_nothing(make_server, folder):
    server = await make_server()
    pid = server.pid
    await server.erase()
    assert process.start_ticks(pid) is None
    assert list(folder.iterdir()) == []


async def test_killed_server_is_reported_and_restarted_with_its_data(make_server, until, free_port):
    reasons: list[str] = []
    server = await make_server(on_exit=reasons.append)
    port = free_port()
    await server.open_tcp([LOCALHOST], port)
    await server.connection.call("SET", "kept", "yes")
    run_id, pid = server.run_id, server.pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: bool(reasons))
    await until(lambda: server.run_id not in ("", run_id))
    assert reasons == ["redis-server was ended by signal 9"]
    assert server.pid != pid
    assert await server.connection.call("GET", "kept") == b"yes"
    assert (await server.connection.info("replication"))["role"] == "master"

    async def reopened() -> bool:
        return (await server.connection.config("port"))["port"] == str(port)

    await until(reopened)


async def test_port_that_is_taken_at_a_restart_is_opened_when_it_is_free_again(make_server, until, free_port):
    server = await make_server()
    port = free_port()
    await server.open_tcp([LOCALHOST], port)
    await server.connection.call("CONFIG", "SET", "port", 0)  # closed for a moment, so that somebody can take it
    thief = await asyncio.start_server(lambda *_: None, str(LOCALHOST), port)
    run_id = server.run_id
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: server.run_id not in ("", run_id))
    await until(lambda: server._tcp_due)
    await server.ping(1)
    assert (await server.connection.config("port"))["port"] == "0"
    thief.close()
    await thief.wait_closed()
    await server.ping(1)
    assert (await server.connection.config("port"))["port"] == str(port)


async def test_server_is_adopted_after_its_helper_died(make_server, folder):
    pid, run_id = await killed_helper(folder / "a", folder / "a.sock")
    reasons: list[str] = []
    server = await make_server(on_exit=reasons.append)
    assert server.adopted
    assert (server.pid, server.run_id) == (pid, run_id)
    assert await server.connection.call("GET", "kept") == b"yes"
    assert reasons == []


async def test_adopted_server_is_supervised(make_server, folder, until):
    pid, run_id = await killed_helper(folder / "a", folder / "a.sock")
    reasons: list[str] = []
    server = await make_server(on_exit=reasons.append)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.run_id not in ("", run_id))
    assert len(reasons) == 1
    assert await server.connection.call("GET", "kept") == b"yes"


async def test_server_that_does_not_answer_is_replaced(make_server, folder, monkeypatch):
    monkeypatch.setattr("meshd.store.server.ADOPT_LIMIT", 0.1)
    monkeypatch.setattr("meshd.store.connection.COMMAND_TIMEOUT", 0.2)
    monkeypatch.setattr(Connection.call, "__kwdefaults__", {"timeout": 0.2})
    pid, _ = await killed_helper(folder / "a", folder / "a.sock")
    os.kill(pid, signal.SIGSTOP)
    server = await make_server()
    assert not server.adopted
    assert server.pid != pid
    assert process.start_ticks(pid) is None
    assert await server.connection.call("GET", "kept") == b"yes"


async def test_second_helper_is_refused(make_server, folder):
    first = await make_server()
    second = RedisServer(folder / "a", folder / "b.sock", on_exit=lambda reason: None)
    with pytest.raises(Failed, match="another meshd uses the store"):
        await second.start()
    await first.ping(1)


async def test_second_server_on_the_folder_is_refused(make_server, folder, monkeypatch):
    """Even when the helper that started the first one is gone and the folder's records with it."""
    monkeypatch.setattr("meshd.store.server.EXIT_LIMIT", 0.2)
    monkeypatch.setattr("meshd.store.server.ADOPT_LIMIT", 0.1)
    first = await make_server()
    pid = first.pid
    watched = Process(pid)
    await first.detach()
    (folder / "a/server.json").unlink()
    second = RedisServer(folder / "a", folder / "other.sock", on_exit=lambda reason: None)
    try:
        with pytest.raises(Failed, match="another redis-server uses"):
            await second.start()
        assert watched.running
    finally:
        watched.kill()
        await watched.wait()
        watched.close()


async def test_record_of_another_process_with_the_same_pid_is_not_believed(folder):
    assert not Record(os.getpid(), 1, "").alive
    assert Record(os.getpid(), process.start_ticks(os.getpid()) or 0, "").alive
    (folder / "server.json").write_bytes(b"{")
    assert Record.load(folder / "server.json") is None


async def test_missing_program_says_what_to_install(folder):
    server = RedisServer(folder / "a", folder / "a.sock", binary=folder / "no-redis", on_exit=lambda reason: None)
    with pytest.raises(Failed) as caught:
        await server.start()
    assert caught.value.fix == "apt install redis-server"
    assert not (folder / "a").exists()


async def test_server_that_ends_at_once_is_a_failure(folder):
    (folder / "a/appendonlydir").mkdir(parents=True)
    (folder / "a/appendonlydir/appendonly.aof.manifest").write_text("nonsense\n")
    server = RedisServer(folder / "a", folder / "a.sock", on_exit=lambda reason: None)
    with pytest.raises(Failed, match="ended at once"):
        await server.start()


def test_socket_paths_fit(folder):
    assert socket_path(Path("/run/meshd"), "home") == Path("/run/meshd/home/redis.sock")
    long = Path("/run") / ("d" * 80)
    assert len(os.fsencode(socket_path(long, "m" * 63))) <= 107
    with pytest.raises(Failed, match="too long for Unix sockets"):
        socket_path(Path("/run") / ("d" * 120), "home")
    with pytest.raises(Failed, match="too long for a Unix socket"):
        RedisServer(folder, Path("/run") / ("d" * 107), on_exit=lambda reason: None)


async def test_tcp_opens_and_closes_and_gives_nothing_without_credentials(make_server, free_port):
    server = await make_server()
    port = free_port()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
    assert await server.open_tcp([LOCALHOST], port) == port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for command in (b"PING", b"INFO", b"SYNC", b"PSYNC ? -1", b"AUTH default x", b"AUTH x"):
        writer.write(command + b"\r\n")
        assert (await reader.readline()).startswith((b"-NOAUTH", b"-WRONGPASS", b"-ERR AUTH")), command
    writer.close()
    await writer.wait_closed()
    await server.close_tcp()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
    await server.ping(1)


async def test_address_that_is_not_here_is_refused(make_server, free_port):
    server = await make_server()
    with pytest.raises(Failed, match=r"can't listen on 192\.0\.2\.1"):
        await server.open_tcp([IPv4Address("192.0.2.1")], free_port())
    await server.ping(1)


async def test_hang_is_noticed_and_restart_helps(make_server, until):
    server = await make_server()
    run_id = server.run_id
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable, match="no answer to PING"):
        await server.ping(0.2)
    await server.restart()
    await until(lambda: server.run_id not in ("", run_id))
    await server.ping(1)


async def test_a_command_is_sent_once_when_its_answer_is_lost(make_server, folder):
    """The proxy drops the first answer; a client that retried would count to two."""
    server = await make_server()
    seen = 0

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        up_reader, up_writer = await asyncio.open_unix_connection(str(folder / "a.sock"))
        try:
            while data := await reader.read(65536):
                up_writer.write(data)
                answer = await up_reader.read(65536)
                if b"INCR" in data:
                    seen += 1
                    return
                writer.write(answer)
        finally:
            for stream in (writer, up_writer):
                stream.close()
                await stream.wait_closed()

    listener = await asyncio.start_unix_server(proxy, str(folder / "proxy.sock"))
    password = (folder / "a/redis.password").read_text().strip()
    through = Connection.to_socket(folder / "proxy.sock", settings.USER, password)
    with pytest.raises(StoreUnavailable):
        await through.call("INCR", "counter")
    await through.close()
    listener.close()
    await listener.wait_closed()
    assert seen == 1
    assert await server.connection.call("GET", "counter") == b"1"


async def test_cancelled_call_leaves_no_answer_for_the_next(make_server):
    server = await make_server()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await server.connection.call("XREAD", "BLOCK", 300, "STREAMS", "none", "0-0")
    answers = await asyncio.gather(*(server.connection.call("ECHO", f"{n}") for n in range(20)))
    assert answers == [f"{n}".encode() for n in range(20)]


@pytest.mark.parametrize("steps", range(6))
async def test_cancellation_is_never_swallowed(make_server, steps):
    server = await make_server()
    task = asyncio.create_task(server.connection.call("XREAD", "BLOCK", 5000, "STREAMS", "none", "0-0"))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled()


async def test_error_reply_names_the_command_and_no_password(make_server):
    server = await make_server()
    with pytest.raises(StoreFailed, match="refused NOSUCH"):
        await server.connection.call("NOSUCH", "secret")


def test_quoting_survives_odd_paths():
    assert settings.quoted('a "b" \\ ü\n') == '"a \\x22b\\x22 \\x5c \\xc3\\xbc\\x0a"'
