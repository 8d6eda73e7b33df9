"""Clients that write to any node and note what they are told. A program of its own: it runs in the network of a machine
that is no member, and reaches the nodes' join ports from there, and their local sockets by path.

    python -m chaos.clients --seed N --seconds S --out FILE NAME=SOCKET=ADDRESS …
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any

import grpc.aio
from meshd import defaults
from meshd.cluster import join_connection
from meshd.cluster.certificates import new_private_key, signing_request
from meshd.model.errors import MeshError, OutcomeUnknown, Timeout
from meshd.rpc.status_codes import error_of
from meshproto import PROTOCOL_VERSION, base32, client, join_pb2, local_pb2, node_pb2
from meshproto.invite import Invite, parse_invite, redeem_token
from meshproto.keys import PrivateKey

from chaos.history import DONE, REFUSED, UNKNOWN, Operation

CLIENTS = 5
CALL_LIMIT = 12.0
JOIN_LIMIT = 11.0
ATTEMPTS = 3
"""Times that a change is sent with one request id while its outcome is not known."""

NOT_KNOWN = {"outcome-unknown", "helper-unreachable"}
"""Answers after which it is sent again: it may have been carried out, or was not sent."""

ELSEWHERE = "no-secret"
"""The answer to a repeat at another node than the first: the invite was made, its secret is there."""

MADE = "invite-made"
"""The invite was made, and no node has its key yet."""


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    socket: Path
    address: str


class Refusal(Exception):
    """Raised when the answer is no change; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Client:
    """One after the other, each with objects of its own."""

    def __init__(self, number: int, seed: int, targets: list[Target], out: IO[str]) -> None:
        self._number = number
        self._random = random.Random(f"{seed}-{number}")
        self._targets = targets
        self._stubs = {one.name: client.connect_async(one.socket)[1] for one in targets}
        self._out = out
        self._count = 0
        self._routes: list[tuple[str, str]] = []  # CIDR, node
        self._members: list[str] = []  # ids

    async def run(self, until: float) -> None:
        steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (8, self._add_route), (4, self._remove_route), (2, self._invite), (2, self._authorize),
            (3, self._rename), (1, self._remove_member),
        ]  # fmt: skip
        while time.monotonic() < until:
            (step,) = self._random.choices([one for _, one in steps], [weight for weight, _ in steps])
            await step()
            await asyncio.sleep(self._random.uniform(0.0, 0.3))

    # --- what it does -----------------------------------------------------------------------------------------------

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._number}-{self._count}"

    async def _add_route(self) -> None:
        self._count += 1
        cidr = f"172.{16 + self._number}.{self._count // 256}.{self._count % 256}/32"
        node = self._random.choice(self._targets).name
        done = await self._change(
            "add route", cidr, lambda stub, rid: stub.AddRoute(
                local_pb2.RouteRequest(cidr=cidr, node=node, request_id=rid), timeout=CALL_LIMIT)
        )  # fmt: skip
        if done.outcome == DONE:
            self._routes.append((cidr, node))

    async def _remove_route(self) -> None:
        if not self._routes:
            return
        cidr, node = self._routes.pop(self._random.randrange(len(self._routes)))
        await self._change(
            "remove route", cidr, lambda stub, rid: stub.RemoveRoute(
                local_pb2.RouteRequest(cidr=cidr, node=node, request_id=rid), timeout=CALL_LIMIT)
        )  # fmt: skip

    async def _invite(self) -> None:
        """Makes an invite; two machines redeem it at once, at two nodes."""
        name = self._name("guest")
        made: list[Invite] = []

        async def create(stub: Any, rid: str) -> local_pb2.ChangeReply:
            request = local_pb2.CreateInviteRequest(member=name, request_id=rid)
            reply = await stub.CreateInvite(request, timeout=CALL_LIMIT)
            made.append(parse_invite(reply.text))
            return local_pb2.ChangeReply()

        operation = await self._change("create invite", name, create)
        if operation.outcome != DONE or not made:
            return
        invite = made[-1]
        first, second = self._random.sample(self._targets, 2)
        admitted = await asyncio.gather(self._redeem(invite, first), self._redeem(invite, second))
        self._members += [one.subject for one in admitted if one.outcome == DONE]

    async def _redeem(self, invite: Invite, target: Target) -> Operation:
        key = new_private_key()
        applicant = _applicant("", key)

        async def redeem(stub: Any, rid: str) -> join_pb2.Admission:
            request = join_pb2.RedeemInviteRequest(
                invite_id=invite.id,
                token=redeem_token(invite.temporary_key, invite.id),
                applicant=applicant,
                request_id=rid,
            )
            answer: join_pb2.Admission = await stub.RedeemInvite(request, timeout=JOIN_LIMIT)
            return answer

        fingerprint = base32.encode(invite.ca_fingerprint)
        return await self._join("redeem invite", invite.id, target, fingerprint, redeem)

    async def _authorize(self) -> None:
        """Asks to be let in, from outside; another node lets it in."""
        name = self._name("laptop")
        applicant = _applicant(name, new_private_key())
        asked: list[str] = []

        async def ask(stub: Any, rid: str) -> join_pb2.Admission:
            reply = await stub.RequestAccess(join_pb2.RequestAccessRequest(applicant=applicant), timeout=JOIN_LIMIT)
            asked.append(reply.id)
            return join_pb2.Admission()

        await self._join("request access", name, self._random.choice(self._targets), None, ask, note=False)
        if not asked:
            return
        done = await self._change(
            "authorize", asked[0], lambda stub, rid: stub.AuthorizePeer(
                local_pb2.PeerRequest(id=asked[0], request_id=rid), timeout=CALL_LIMIT)
        )  # fmt: skip
        if done.outcome == DONE and done.subject:
            self._members.append(done.subject)

    async def _rename(self) -> None:
        if not self._members:
            return
        who, name = self._random.choice(self._members), self._name("named")
        await self._change(
            "rename", who, lambda stub, rid: stub.RenameMember(
                local_pb2.RenameMemberRequest(who=who, name=name, request_id=rid), timeout=CALL_LIMIT)
        )  # fmt: skip

    async def _remove_member(self) -> None:
        if len(self._members) < 3:
            return
        who = self._members.pop(self._random.randrange(len(self._members)))
        await self._change(
            "remove member", who, lambda stub, rid: stub.RemoveMember(
                local_pb2.MemberRequest(who=who, request_id=rid), timeout=CALL_LIMIT)
        )  # fmt: skip

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _change(
        self, what: str, key: str, send: Callable[[Any, str], Awaitable[local_pb2.ChangeReply]]
    ) -> Operation:
        """Has it done at some node; while the outcome is not known, at another one with the same request id."""
        operation = Operation(f"chaos-{uuid.uuid4()}", what, key, time.monotonic())
        while operation.outcome == UNKNOWN and operation.attempts < ATTEMPTS:
            operation.attempts += 1
            target = self._random.choice(self._targets)
            try:
                reply = await send(self._stubs[target.name], operation.request_id)
            except grpc.aio.AioRpcError as failure:
                error = client.error_of(failure, target.socket, "AddRoute")  # any that changes something
                operation.code = error.code
                if error.code == MADE or (error.code == ELSEWHERE and operation.attempts > 1):
                    operation.outcome = DONE
                elif error.code == "unavailable" and operation.attempts > 1:
                    pass  # nobody leads, so nobody knows what became of the first attempt
                elif error.code not in NOT_KNOWN:
                    operation.outcome = REFUSED
                await asyncio.sleep(0.2)
                continue
            operation.outcome, operation.code = DONE, ""
            operation.epoch, operation.revision = reply.epoch, reply.revision
            operation.subject = reply.member.id
        operation.ended = time.monotonic()
        self._out.write(operation.line())
        self._out.flush()
        return operation

    async def _join(
        self, what: str, key: str, target: Target, fingerprint: str | None,
        send: Callable[[Any, str], Awaitable[join_pb2.Admission]], note: bool = True,
    ) -> Operation:  # fmt: skip
        """Once, through a node's join port. What it is told has no revision."""
        operation = Operation(f"chaos-{uuid.uuid4()}", what, key, time.monotonic(), attempts=1)
        try:
            connection = await join_connection.connect(
                ip_address(target.address), defaults.JOIN_PORT, fingerprint, JOIN_LIMIT
            )
            try:
                admission = await send(connection.stub, operation.request_id)
                operation.outcome, operation.subject = DONE, admission.member_id
            finally:
                await connection.close()
        except grpc.aio.AioRpcError as failure:
            error = error_of(failure)
            operation.code = error.code
            operation.outcome = UNKNOWN if isinstance(error, Timeout | OutcomeUnknown) else REFUSED
        except MeshError as error:
            operation.code, operation.outcome = error.code, REFUSED
        operation.ended = time.monotonic()
        if note:
            self._out.write(operation.line())
            self._out.flush()
        return operation


def _applicant(name: str, key: Any) -> node_pb2.Applicant:
    return node_pb2.Applicant(
        name=name,
        public_key=PrivateKey.from_random(os.urandom(32)).public.data,
        certificate_request=signing_request(key, name or "member"),
        listen_port=10100,
        protocol_version=PROTOCOL_VERSION,
    )


async def run(seed: int, seconds: float, targets: list[Target], out: IO[str]) -> None:
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(Client(number, seed, targets, out).run(until))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaos.clients")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("targets", nargs="+", metavar="NAME=SOCKET=ADDRESS")
    options = parser.parse_args()
    targets = [Target(name, Path(path), address) for name, path, address in (t.split("=") for t in options.targets)]
    with options.out.open("w") as out:
        asyncio.run(run(options.seed, options.seconds, targets, out))


if __name__ == "__main__":
    main()
