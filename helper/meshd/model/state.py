"""Everything that the mesh agreed on, up to one position. A value: each change makes a new State."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from meshproto import state_pb2

from meshd.model.errors import Conflict, InvalidInput, NotFound
from meshd.model.members import Member, Role
from meshd.model.position import Position

Object = TypeVar("Object", bound=Message)

SHORTEST_ID_PREFIX = 4
"""Characters of an id that name a member; fewer are too easily a slip."""


@dataclass(frozen=True)
class State:
    """Protobuf messages by kind, never changed in place; `parsed` holds the members that can be read."""

    position: Position = Position()
    settings: state_pb2.MeshSettings = field(default_factory=state_pb2.MeshSettings)
    members: Mapping[str, state_pb2.Member] = field(default_factory=dict)
    routes: Mapping[str, state_pb2.Route] = field(default_factory=dict)  # by "cidr|node id"
    invites: Mapping[str, state_pb2.Invite] = field(default_factory=dict)
    requests: Mapping[str, state_pb2.JoinRequest] = field(default_factory=dict)
    voters: state_pb2.VoterRecord = field(default_factory=state_pb2.VoterRecord)
    primary_id: str = ""
    parsed: Mapping[str, Member] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)  # member id -> why it can't be read

    @classmethod
    def from_view(cls, view: state_pb2.View) -> State:
        """Of an object that is there twice, the later one counts."""
        parsed, problems = _parse_all(view.members)
        return cls(
            position=Position.from_message(view.position),
            settings=view.settings,
            members={member.id: member for member in view.members},
            routes={route_key(route.cidr, route.node_id): route for route in view.routes},
            invites={invite.id: invite for invite in view.invites},
            requests={request.id: request for request in view.requests},
            voters=view.voters,
            primary_id=view.primary_id,
            parsed=parsed,
            problems=problems,
        )

    def to_view(self) -> state_pb2.View:
        return state_pb2.View(
            position=self.position.message,
            settings=self.settings,
            members=self.members.values(),
            routes=self.routes.values(),
            invites=self.invites.values(),
            requests=self.requests.values(),
            voters=self.voters,
            primary_id=self.primary_id,
        )

    def for_peer(self, member_id: str) -> state_pb2.View:
        """What a peer may see: no secret, and, when it is disabled, nobody but itself and the nodes."""
        view = self.to_view()
        del view.members[:]
        own = self.members.get(member_id)
        for member in self.members.values():
            parsed = self.parsed.get(member.id)
            stranger = member.id != member_id and (parsed is None or parsed.role is not Role.NODE)
            if own is not None and not own.enabled and stranger:
                continue
            view.members.append(_public_member(member, member_id))
        view.settings.ClearField("encrypted_ca_key")
        for invite in view.invites:
            invite.ClearField("token_sha256")
        for request in view.requests:
            request.ClearField("certificate_request")
        return view

    def for_removed(self) -> state_pb2.View:
        """What somebody who was removed is told last: that it is nobody here any more."""
        view = state_pb2.View(position=self.position.message, settings=self.settings)
        view.settings.ClearField("encrypted_ca_key")
        return view

    def with_entry(self, entry: state_pb2.ChangeEntry, position: Position) -> State:
        """The state after one committed change. Writes of kinds that this version does not know are left out."""
        changed: dict[str, Any] = {"position": position}
        members = routes = invites = requests = None
        for write in entry.writes:
            value = write.value if write.HasField("value") else None
            if write.kind == "member":
                members = dict(self.members) if members is None else members
                _put(members, write.key, state_pb2.Member, value)
            elif write.kind == "route":
                routes = dict(self.routes) if routes is None else routes
                _put(routes, write.key, state_pb2.Route, value)
            elif write.kind == "invite":
                invites = dict(self.invites) if invites is None else invites
                _put(invites, write.key, state_pb2.Invite, value)
            elif write.kind == "request":
                requests = dict(self.requests) if requests is None else requests
                _put(requests, write.key, state_pb2.JoinRequest, value)
            elif write.kind == "settings" and value is not None:
                changed["settings"] = _read(state_pb2.MeshSettings, write.key, value)
            elif write.kind == "voters" and value is not None:
                changed["voters"] = _read(state_pb2.VoterRecord, write.key, value)
            elif write.kind == "primary" and value is not None:
                changed["primary_id"] = value.decode(errors="replace")
        if members is not None:
            touched = {write.key for write in entry.writes if write.kind == "member"}
            parsed, problems = _parse_all(members[key] for key in touched if key in members)
            changed["members"] = members
            changed["parsed"] = {k: v for k, v in self.parsed.items() if k not in touched} | parsed
            changed["problems"] = {k: v for k, v in self.problems.items() if k not in touched} | problems
        for name, table in (("routes", routes), ("invites", invites), ("requests", requests)):
            if table is not None:
                changed[name] = table
        return replace(self, **changed)

    @property
    def nodes(self) -> list[Member]:
        """Oldest first."""
        return self._of(Role.NODE)

    @property
    def peers(self) -> list[Member]:
        """Oldest first."""
        return self._of(Role.PEER)

    def _of(self, role: Role) -> list[Member]:
        return sorted(
            (member for member in self.parsed.values() if member.role is role), key=lambda one: (one.joined_ms, one.id)
        )

    def by_certificate(self, fingerprint: bytes) -> Member | None:
        """The member whose present certificate has this SHA-256."""
        index: dict[bytes, Member] | None = self.__dict__.get("_certificates")
        if index is None:
            index = {member.certificate_sha256: member for member in self.parsed.values()}
            self.__dict__["_certificates"] = index
        return index.get(fingerprint)

    def find_member(self, who: str, role: Role | None = None) -> Member:
        """By name, id, id prefix of at least 4 characters, or overlay address. Raises NotFound or Conflict."""
        what = role.value if role else "member"
        candidates = [member for member in self.parsed.values() if role is None or member.role is role]
        wanted = who.strip().lower()
        for member in candidates:
            if wanted in (member.name, member.id):
                return member
        try:
            address = ip_address(wanted)
        except ValueError:
            pass
        else:
            for member in candidates:
                if address in (member.ipv4, member.ipv6):
                    return member
            raise NotFound(f"no {what} has the address {address}", "see `meshctl status`")
        found = [member for member in candidates if member.id.startswith(wanted)]
        if len(wanted) >= SHORTEST_ID_PREFIX and len(found) == 1:
            return found[0]
        if len(wanted) >= SHORTEST_ID_PREFIX and found:
            names = ", ".join(sorted(member.name for member in found))
            raise Conflict(f"{who!r} is the beginning of several ids: {names}", "write more of it, or the name")
        raise NotFound(f"there is no {what} {who!r} in {self.settings.name}", "see `meshctl status`")


def with_members(view: state_pb2.View, *members: state_pb2.Member) -> state_pb2.View:
    """The view with these members in it."""
    known = {member.id for member in view.members}
    view.members.extend(member for member in members if member.id not in known)
    return view


def route_key(cidr: str, node_id: str) -> str:
    return f"{cidr}|{node_id}"


def own_record(member: state_pb2.Member) -> state_pb2.Member:
    """A member as `State.for_peer` shows it to itself."""
    return _public_member(member, member.id)


def _public_member(member: state_pb2.Member, for_id: str) -> state_pb2.Member:
    copy = state_pb2.Member()
    copy.CopyFrom(member)
    copy.ClearField("wrapped_secret")
    if member.id != for_id:
        copy.ClearField("certificate")
    return copy


def _read(kind: type[Object], key: str, value: bytes) -> Object:
    try:
        return kind.FromString(value)
    except DecodeError as error:
        raise InvalidInput(f"the change writes a {kind.DESCRIPTOR.name} {key!r} that can't be read") from error


def _put(table: dict[str, Any], key: str, kind: type[Message], value: bytes | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        message = _read(kind, key, value)
        if isinstance(message, state_pb2.Member) and message.id != key:
            raise InvalidInput(f"the change writes member {message.id!r} as {key!r}")
        table[key] = message


def _parse_all(messages: Iterable[state_pb2.Member]) -> tuple[dict[str, Member], dict[str, str]]:
    parsed: dict[str, Member] = {}
    problems: dict[str, str] = {}
    for message in messages:
        try:
            parsed[message.id] = Member.from_message(message)
        except InvalidInput as error:
            problems[message.id] = error.message
    return parsed, problems


def filtered_entry(entry: state_pb2.ChangeEntry) -> state_pb2.ChangeEntry:
    """A committed change as a peer may see it: without secrets, others' certificates, and whose request it was."""
    copy = state_pb2.ChangeEntry()
    copy.CopyFrom(entry)
    for name in ("result", "request_id", "asker", "content"):
        copy.ClearField(name)
    for write in copy.writes:
        if not write.HasField("value"):
            continue
        if write.kind == "member":
            write.value = _public_member(_read(state_pb2.Member, write.key, write.value), "").SerializeToString()
        elif write.kind == "settings":
            settings = _read(state_pb2.MeshSettings, write.key, write.value)
            settings.ClearField("encrypted_ca_key")
            write.value = settings.SerializeToString()
        elif write.kind == "invite":
            invite = _read(state_pb2.Invite, write.key, write.value)
            invite.ClearField("token_sha256")
            write.value = invite.SerializeToString()
        elif write.kind == "request":
            request = _read(state_pb2.JoinRequest, write.key, write.value)
            request.ClearField("certificate_request")
            write.value = request.SerializeToString()
    return copy
