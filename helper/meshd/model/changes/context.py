"""What a decision depends on besides the state: time, randomness, and the CA's signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message
from meshproto import node_pb2, state_pb2

from meshd.model.members import Role
from meshd.model.requests import asker_of, content_of
from meshd.model.state import State


class Authority(Protocol):
    """The mesh CA."""

    def certify(self, csr: bytes, member_id: str, role: Role) -> bytes:
        """A certificate (DER) for the key in the CSR. Raises InvalidInput for a CSR that can't be used."""

    def sign(self, statement: state_pb2.MemberStatement) -> state_pb2.MemberRecord: ...

    def rotate(self, settings: state_pb2.MeshSettings) -> state_pb2.MeshSettings:
        """The settings with a new cluster key."""

    def wrap(self, settings: state_pb2.MeshSettings, member_id: str, certificate: bytes) -> bytes:
        """The cluster secret of these settings for the node that has this certificate (DER)."""


@dataclass(frozen=True, slots=True)
class Context:
    now_ms: int  # Unix
    random: Callable[[int], bytes]
    authority: Authority
    offline_ms: Mapping[str, int] = field(default_factory=dict)  # how long each member has been offline


@dataclass(slots=True)
class Draft:
    """A change in the making: the writes so far, and what will be said about it."""

    state: State
    change: node_pb2.Change
    context: Context
    writes: list[state_pb2.Write] = field(default_factory=list)
    result: node_pb2.ChangeResult = field(default_factory=node_pb2.ChangeResult)
    summary: str = ""
    subject_id: str = ""

    def put(self, kind: str, key: str, message: Message) -> None:
        self.writes.append(state_pb2.Write(kind=kind, key=key, value=message.SerializeToString()))

    def delete(self, kind: str, key: str) -> None:
        self.writes.append(state_pb2.Write(kind=kind, key=key))

    def entry(self) -> state_pb2.ChangeEntry:
        self.result.outcome = node_pb2.ChangeResult.DONE
        return state_pb2.ChangeEntry(
            request_id=self.change.request_id,
            actor=self.change.actor,
            action=(self.change.WhichOneof("what") or "").replace("_", "-"),
            summary=self.summary,
            at_ms=self.context.now_ms,
            writes=self.writes,
            subject_id=self.subject_id,
            result=self.result.SerializeToString(),
            asker=asker_of(self.change),
            content=content_of(self.change),
        )
