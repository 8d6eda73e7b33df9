"""A real local server, front door and all, whose calls are remembered instead of carried out."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from meshd.model.errors import Conflict
from meshd.rpc.actor import Actor
from meshd.rpc.local_server import LocalServer
from meshproto import local_pb2
from meshproto.tiers import METHODS

# Calls each path given on the command line as another user and prints what became of it.
CALLER = """
import os, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
import grpc
channel = grpc.insecure_channel("unix:" + sys.argv[1], options=[("grpc.default_authority", "meshd")])
for path in sys.argv[3:]:
    try:
        replies = channel.unary_stream(path)(b"", timeout=10)
        print(path, "OK", len(list(replies)))
    except grpc.RpcError as error:
        print(path, error.code().name, error.details())
"""


class Api:
    """Answers everything, and remembers what was called."""

    def __init__(self) -> None:
        self.called: list[tuple[str, Actor]] = []

    def __getattr__(self, name: str) -> Any:
        method = "".join(word.capitalize() for word in name.split("_"))
        path = f"/meshproto.Meshd/{method}"
        if path not in METHODS:
            raise AttributeError(name)
        descriptor = local_pb2.DESCRIPTOR.services_by_name["Meshd"].methods_by_name[method]
        reply = getattr(local_pb2, descriptor.output_type.name)

        async def unary(request: Any, actor: Actor) -> Any:
            self.called.append((method, actor))
            if method == "ShowKey" and request.mesh == "busy":
                raise Conflict("it is busy", "wait")
            return reply()

        async def stream(request: Any, actor: Actor) -> AsyncIterator[Any]:
            self.called.append((method, actor))
            yield reply()

        return stream if METHODS[path].streams_reply else unary


class Served:
    def __init__(self, folder: Path) -> None:
        self.api = Api()
        self.audited: list[tuple[int, str, bool]] = []
        self.socket = folder / "meshd.sock"
        self.server = LocalServer(folder, self.api, lambda actor, path, ok: self.audited.append((actor.uid, path, ok)))

    async def call_as(self, uid: int, *paths: str) -> dict[str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CALLER, str(self.socket), str(uid), *paths, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return dict(line.split(" ", 1) for line in output.decode().splitlines())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that other users may enter, as they may not pytest's own."""
    with tempfile.TemporaryDirectory(prefix="meshd-rpc-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
async def served(open_folder: Path) -> AsyncIterator[Served]:
    served = Served(open_folder)
    await served.server.start()
    yield served
    await served.server.stop()
