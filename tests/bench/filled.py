"""Meshes with very many members: they are admitted straight into the node's own Redis while its meshd is stopped.

`python -m bench.filled COUNT` runs inside the host. Each member is decided by the model, certified and signed by the
mesh's CA and appended as a change of its own, as a redeemed invite would be; only the network in between is left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from pathlib import Path

from lab.hosts.host import BIN, Host

STATE = Path("/var/lib/meshd/home")
RUN = Path("/run/meshd")
INVITE, TOKEN = "ab" * 8, b"benchmark"


def fill(host: Host, count: int) -> None:
    """Gives the mesh `home` on a host that many more peers. meshd of the host must be stopped."""
    host.run(
        [str(BIN / "python"), "-m", "bench.filled", str(count)],
        timeout=600,
        environment={"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"},
    )


def writable(host: Host) -> bool:
    """Whether meshd is there again and the mesh `home` takes changes."""
    done = host.meshctl_raw("--json", "status")
    return done.returncode == 0 and any(mesh["writable"] for mesh in json.loads(done.stdout)["meshes"])


async def _fill(count: int) -> None:
    from meshd.cluster.authority import CertificateAuthority
    from meshd.cluster.certificates import certificate_pem, new_private_key, private_key_pem, signing_request
    from meshd.cluster.identity import load_identity
    from meshd.model.changes import Context, decide
    from meshd.model.position import Position
    from meshd.model.state import State
    from meshd.store.database import Database
    from meshd.store.server import RedisServer, socket_path
    from meshd.store.view_file import save_view
    from meshproto import PROTOCOL_VERSION, node_pb2, state_pb2

    identity = load_identity(STATE)
    assert identity.cluster_secret is not None
    server = RedisServer(STATE / "redis", socket_path(RUN, "home"), on_exit=print)
    await server.start()
    database = Database(server.connection)
    state = State.from_view(await database.load())
    authority = CertificateAuthority.open(state.settings, identity.cluster_secret)
    key = new_private_key()  # one for all
    request = signing_request(key, "benchmark")

    async def carry_out(change: node_pb2.Change) -> None:
        nonlocal state
        change.request_id, change.actor = os.urandom(8).hex(), "benchmark"
        entry = decide(state, change, Context(int(time.time() * 1000), os.urandom, authority))
        assert entry is not None
        position = Position(state.position.epoch, state.position.revision + 1)
        await database.append(entry, state.position, position)
        state = state.with_entry(entry, position)

    if INVITE not in state.invites:
        await carry_out(
            node_pb2.Change(
                create_invite=node_pb2.CreateInvite(
                    id=INVITE,
                    role=state_pb2.ROLE_PEER,
                    uses=10_000,
                    temporary_public_key=os.urandom(32),
                    token_sha256=hashlib.sha256(TOKEN).digest(),
                )
            )
        )
    for number in range(len(state.peers), len(state.peers) + count):
        applicant = node_pb2.Applicant(
            name=f"laptop-{number}",
            public_key=os.urandom(32),
            certificate_request=request,
            listen_port=10100,
            behind_nat=True,
            protocol_version=PROTOCOL_VERSION,
        )
        redeem = node_pb2.RedeemInvite(invite_id=INVITE, token=TOKEN, applicant=applicant)
        await carry_out(node_pb2.Change(redeem_invite=redeem))
    save_view(STATE / "view", state.to_view())
    crowd = {
        "authority": certificate_pem(state.settings.ca_certificate).decode(),
        "key": private_key_pem(key).decode(),
        "members": [
            {"ipv4": str(one.ipv4), "certificate": certificate_pem(state.members[one.id].certificate).decode()}
            for one in state.peers[-count:]
        ],
    }
    (STATE.parent / "crowd.json").write_text(json.dumps(crowd))  # for `bench.crowd`
    await database.close()
    await server.detach()


if __name__ == "__main__":
    asyncio.run(_fill(int(sys.argv[1])))
