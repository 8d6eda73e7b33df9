"""Plays many peers of a mesh inside one of its nodes: each probes that node and watches the view there, as meshd of a
peer does.

`python -m bench.crowd FIRST COUNT` runs inside the host, with the members of `bench.filled`, whose addresses it puts on
the host's `lo`: what they say goes neither through WireGuard nor over a wire. It says in a line of JSON that it is
ready, waits for a line with the epoch and the revision of the view that its peers have, and begins. It answers with
another line when all of them have heard something, and with one for each line that it reads then, with what they saw
since the last.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc.aio
from lab.hosts.host import BIN
from meshd.model.position import Position
from meshproto import PROTOCOL_VERSION, node_pb2, paths_pb2
from meshproto.node_pb2_grpc import MeshNodeStub

PORT = 9001
IP_PKTINFO = 8  # linux/in.h
MEMBERS = Path("/var/lib/meshd/crowd.json")


@dataclass
class Crowd:
    mesh_id: str
    node: IPv4Address
    name: str  # of the node's certificate
    authority: bytes
    key: bytes
    members: list[dict[str, str]]
    folder: Path
    known: Position = Position()  # what they have when they begin; (0, 0): nothing
    heard: set[str] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    updates: int = 0
    size: int = 0
    snapshots: int = 0
    broken: int = 0
    longest: float = 0.0
    last: dict[str, float] = field(default_factory=dict)

    def seen(self) -> dict[str, Any]:
        """Since the last time."""
        now = time.monotonic()
        found = {
            "heard": len(self.heard), "updates": self.updates, "bytes": self.size, "snapshots": self.snapshots,
            "broken": self.broken, "longest": max([self.longest, *(now - at for at in self.last.values())]),
        }  # fmt: skip
        self.updates = self.size = self.snapshots = self.broken = 0
        self.longest = 0.0
        return found

    async def probe(self) -> None:
        """Every two seconds each, spread evenly."""
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.setblocking(False)
        ping = paths_pb2.PathDatagram(ping=paths_pb2.Echo(nonce=1, rtt_ms=1.0)).SerializeToString()
        while True:
            began = time.monotonic()
            for number, member in enumerate(self.members):
                info = struct.pack("=I4s4s", 0, IPv4Address(member["ipv4"]).packed, b"")  # in_pktinfo, ip(7)
                with suppress(OSError):  # one that can't be sent now is a lost one
                    plain.sendmsg([ping], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, (str(self.node), PORT))
                if number % 20 == 0:
                    due = began + 2.0 * number / len(self.members)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.sleep(max(0.0, began + 2.0 - time.monotonic()))

    async def watch(self, member: dict[str, str]) -> None:
        """For ever; anew when it breaks, as meshd does."""
        path = self.folder / member["ipv4"]

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far = await asyncio.open_connection(str(self.node), PORT, local_addr=(member["ipv4"], 0))
            except OSError:
                writer.close()
                return
            await asyncio.gather(_copy(reader, far[1]), _copy(far[0], writer))

        await asyncio.start_unix_server(relay, path)
        credentials = grpc.ssl_channel_credentials(self.authority, self.key, member["certificate"].encode())
        options = [
            ("grpc.ssl_target_name_override", self.name),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", 1 << 26),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        async with grpc.aio.secure_channel(f"unix:{path}", credentials, options=options) as channel:
            request = node_pb2.WatchViewRequest(
                mesh_id=self.mesh_id, protocol_version=PROTOCOL_VERSION, resume=self.known.message
            )
            stub: Any = MeshNodeStub(channel)
            metadata = (("mesh-protocol", str(PROTOCOL_VERSION)),)
            while True:
                try:
                    async for update in stub.WatchView(request, metadata=metadata):
                        now = time.monotonic()
                        self.longest = max(self.longest, now - self.last.get(member["ipv4"], now))
                        self.last[member["ipv4"]] = now
                        self.heard.add(member["ipv4"])
                        if len(self.heard) == len(self.members):
                            self.complete.set()
                        self.updates += 1
                        self.size += update.ByteSize()
                        self.snapshots += update.HasField("snapshot")
                        request.resume.CopyFrom(update.committed)
                except grpc.aio.AioRpcError as error:
                    self.broken += 1
                    if self.broken == 1:
                        print(error.details(), file=sys.stderr, flush=True)
                self.heard.discard(member["ipv4"])
                await asyncio.sleep(0.5)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


def _crowd(first: int, count: int, folder: Path) -> Crowd:
    """Once meshd of this host serves the mesh `home`."""
    found = json.loads(MEMBERS.read_text())
    members = found["members"][first : first + count]
    lines = "".join(f"addr add {member['ipv4']}/32 dev lo\n" for member in members)
    subprocess.run(["ip", "-force", "-batch", "-"], input=lines, text=True, capture_output=True)  # some may be there
    status = subprocess.run([str(BIN / "meshctl"), "--json", "status"], capture_output=True, check=True).stdout
    mesh = json.loads(status)["meshes"][0]
    me = mesh["self"]
    return Crowd(
        mesh["id"], IPv4Address(me["ipv4"]), f"{me['id']}.node.{mesh['id']}",
        found["authority"].encode(), found["key"].encode(), members, folder,
    )  # fmt: skip


async def _run(crowd: Crowd) -> None:
    print(json.dumps({"ready": len(crowd.members)}), flush=True)
    line = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        return
    crowd.known = Position(*map(int, line.split()))
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(crowd.probe()), *(group.create_task(crowd.watch(one)) for one in crowd.members)]
        await crowd.complete.wait()
        print(json.dumps({**crowd.seen(), "took": time.monotonic() - began}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(crowd.seen()), flush=True)
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(_crowd(int(sys.argv[1]), int(sys.argv[2]), Path(folder))))
