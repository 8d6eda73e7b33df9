"""The front door against a client that sends what no gRPC library would: odd paths, methods, headers, other bytes."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from meshd import defaults

if TYPE_CHECKING:
    from conftest import Served

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

CREATE = "/meshproto.Meshd/CreateMesh"
STATUS = "/meshproto.Meshd/GetStatus"

ODD_PATHS = [
    "",
    "/",
    "*",
    "meshproto.Meshd/CreateMesh",
    "//meshproto.Meshd/CreateMesh",
    "/meshproto.Meshd//CreateMesh",
    "/meshproto.Meshd/CreateMesh/",
    "/meshproto.Meshd/./CreateMesh",
    "/meshproto.Meshd/../meshproto.Meshd/CreateMesh",
    "/meshproto.Meshd/CreateMesh?",
    "/meshproto.Meshd/CreateMesh#GetStatus",
    "/meshproto.Meshd/CreateMesh;GetStatus",
    "/meshproto.Meshd/%43reateMesh",
    "/meshproto.Meshd%2FCreateMesh",
    "/meshproto.meshd/CreateMesh",
    "/MESHPROTO.MESHD/CREATEMESH",
    "/meshproto.Meshd/createmesh",
    "/meshproto.Meshd/create_mesh",
    "/meshproto.Meshd/CreateMesh ",
    " /meshproto.Meshd/CreateMesh",
    "/meshproto.Meshd/CreateMesh\\x00",
    "/meshproto.Meshd/GetStatus\\x00/../CreateMesh",
    "/meshproto.Meshd/CreateMesh\\xe9",
    "/meshproto.Meshd",
    "/meshproto.Meshd/",
    "/Meshd/CreateMesh",
    "/other.Service/CreateMesh",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "http://meshd/meshproto.Meshd/CreateMesh",
    "/" + "x" * 6000,
]

# argv: socket, uid, gid, supplementary groups as JSON. Standard input: JSON list of requests, each a list of header
# pairs. Sends each over a connection of its own, without any check of what it sends; prints JSON: for each the last
# value of each header that came back, and how it ended.
CALLER = """
import json, os, socket, sys
uid, gid, groups = int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

def call(headers):
    found = {"end": "timeout"}
    connection = H2Connection(H2Configuration(
        client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False,
        validate_inbound_headers=False))
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(10)
        wire.connect(sys.argv[1])
        connection.initiate_connection()
        connection.send_headers(1, [(a.encode("latin-1"), b.encode("latin-1")) for a, b in headers])
        connection.send_data(1, bytes(5), end_stream=True)
        try:
            wire.sendall(connection.data_to_send())
            while True:
                data = wire.recv(65536)
                if not data:
                    found["end"] = "closed"
                    return found
                for event in connection.receive_data(data):
                    if isinstance(event, (ResponseReceived, TrailersReceived)):
                        found.update((a.decode(), b.decode("latin-1")) for a, b in event.headers)
                    if isinstance(event, (StreamEnded, StreamReset, ConnectionTerminated)):
                        found["end"] = type(event).__name__
                        return found
                wire.sendall(connection.data_to_send())
        except ConnectionError:
            found["end"] = "closed"
        except TimeoutError:
            pass
    return found

print(json.dumps([call(headers) for headers in json.load(sys.stdin)]))
"""

Headers = list[tuple[str, str]]
GROUP = grp.getgrgid(100)  # "users" on Debian; it stands for the group `mesh`
CALLERS = {"root": (0, 0, []), "a member of the group": (65534, 65534, [GROUP.gr_gid]), "nobody": (65534, 65534, [])}


def request(path: str | None, **changed: str) -> Headers:
    """A gRPC call as it should be, but for what is changed; "" leaves a header out."""
    headers = {
        "method": "POST", "scheme": "http", "path": path, "authority": "meshd", "content_type": "application/grpc",
        "te": "trailers",
    } | changed  # fmt: skip
    pseudo = [(f":{name}", headers.pop(name)) for name in ("method", "scheme", "path", "authority")]
    plain = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return [(name, value) for name, value in pseudo + plain if value is not None and (value or name == ":path")]


async def answers(served: Served, caller: str, requests: list[Headers]) -> list[dict[str, str]]:
    uid, gid, groups = CALLERS[caller]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CALLER, str(served.socket), str(uid), str(gid), json.dumps(groups),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate(json.dumps(requests).encode())
    found: list[dict[str, str]] = json.loads(output)
    assert [one["end"] for one in found if one["end"] == "timeout"] == []
    return found


@pytest.fixture(autouse=True)
def group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "GROUP", GROUP.gr_name)


@pytest.mark.parametrize(("caller", "status"), [("root", "0"), ("a member of the group", "0"), ("nobody", "7")])
async def test_the_client_itself_works(served: Served, caller: str, status: str) -> None:
    look, change = await answers(served, caller, [request(STATUS), request(CREATE)])
    assert look["grpc-status"] == "0"
    assert change["grpc-status"] == status
    assert [name for name, _ in served.api.called] == ["GetStatus"] + ["CreateMesh"] * (status == "0")


@pytest.mark.parametrize("caller", CALLERS)
async def test_no_odd_path_reaches_a_method(served: Served, caller: str) -> None:
    found = await answers(served, caller, [request(path) for path in ODD_PATHS])
    for path, answer in zip(ODD_PATHS, found, strict=True):
        assert answer.get("grpc-status") != "0", path
    assert served.api.called == []
    # Afterwards it still serves.
    assert (await answers(served, caller, [request(STATUS)]))[0]["grpc-status"] == "0"


async def test_of_two_paths_the_one_that_was_checked_is_called(served: Served) -> None:
    first, second, late = request(STATUS), request(CREATE), [*request(STATUS), (":path", CREATE)]
    first.insert(3, (":path", CREATE))
    second.insert(3, (":path", STATUS))
    without = [pair for pair in request(CREATE) if pair[0] != ":path"]
    found = await answers(served, "nobody", [first, second, late, without])
    assert {name for name, _ in served.api.called} <= {"GetStatus"}
    assert "0" not in [one.get("grpc-status") for one in found[2:]]


async def test_headers_give_no_rights(served: Served) -> None:
    """Whoever may only look stays so, whatever the headers say about who it is."""
    forged = [
        request(CREATE, authority="root"),
        request(CREATE, x_forwarded_for="0"),
        request(CREATE, grpc_peer="unix-abstract:meshd/0/operate/1/" + "0" * 32),
        request(CREATE, x_http_method_override="GetStatus"),
        request(CREATE, authorization="Bearer operate"),
    ]
    found = await answers(served, "nobody", forged)
    assert [one["grpc-status"] for one in found] == ["7"] * len(forged)
    assert served.api.called == []
    assert {(uid, ok) for uid, _, ok in served.audited} == {(65534, False)}


async def test_other_methods_and_types_of_http_change_nothing(served: Served) -> None:
    odd = [
        request(CREATE, method="GET"),
        request(CREATE, method="CONNECT"),
        request(CREATE, method=""),
        request(CREATE, content_type="text/plain"),
        request(CREATE, content_type=""),
        request(CREATE, scheme="https", method="PUT"),
    ]
    await answers(served, "nobody", odd)
    assert served.api.called == []


@pytest.mark.parametrize(
    "data",
    [
        b"GET /meshproto.Meshd/CreateMesh HTTP/1.1\r\nHost: meshd\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01",
        os.urandom(4096),
        b"",
    ],
    ids=["HTTP/1.1", "bad frames", "bad preface", "TLS", "noise", "nothing"],
)
async def test_other_bytes_end_the_connection_and_nothing_else(served: Served, data: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(served.socket)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
    assert served.api.called == []
    assert (await answers(served, "nobody", [request(STATUS)]))[0]["grpc-status"] == "0"


async def test_one_user_cannot_take_all_connections(served: Served) -> None:
    open_ones = [await asyncio.open_unix_connection(served.socket) for _ in range(70)]
    try:
        async with asyncio.timeout(10):
            ended = await asyncio.gather(*(reader.read() for reader, _ in open_ones[64:]))
        assert ended == [b""] * 6
        assert (await answers(served, "nobody", [request(STATUS)]))[0]["grpc-status"] == "0"
    finally:
        for _, writer in open_ones:
            writer.close()
