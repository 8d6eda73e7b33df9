"""The edge where messages become members: each field is checked, and the refusal names it."""

from __future__ import annotations

import contextlib
import uuid
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import InvalidInput
from meshd.model.members import Endpoint, Member, Role
from meshd.model.position import Position
from meshd.model.state import State, filtered_entry
from meshproto import state_pb2
from meshproto.keys import PublicKey

ID = str(uuid.UUID(int=0xABCDEF))

SIGNED: dict[str, Any] = {
    "mesh_id": str(uuid.UUID(int=1)),
    "id": ID,
    "name": "gw-berlin",
    "role": state_pb2.ROLE_NODE,
    "public_key": bytes(range(32)),
    "ipv4": "10.11.0.1",
    "ipv6": "fd00::1",
    "transport": "fd00:0:0:1::1",
    "subnet": "10.11.0.0/16",
    "admin": True,
    "certificate_sha256": b"c" * 32,
    "serial": 3,
}
KEPT: dict[str, Any] = {
    "id": ID,
    "enabled": True,
    "endpoints": ["192.0.2.1:10100", "[2001:db8::1]:10101", "gw-berlin.example:10100"],
    "listen_port": 10100,
    "behind_nat": True,
    "join_port": 9000,
    "joined_ms": 5,
    "joined_by": "gw-a (ada)",
    "ephemeral_ms": 60_000,
    "protocol_version": 1,
}


def message(**changed: Any) -> state_pb2.Member:
    signed = SIGNED | {key: value for key, value in changed.items() if key in SIGNED}
    kept = KEPT | {key: value for key, value in changed.items() if key in KEPT}
    statement = state_pb2.MemberStatement(**signed).SerializeToString()
    return state_pb2.Member(record=state_pb2.MemberRecord(statement=statement), **kept)


def test_every_field_arrives() -> None:
    assert Member.from_message(message()) == Member(
        id=ID,
        name="gw-berlin",
        role=Role.NODE,
        public_key=PublicKey(bytes(range(32))),
        ipv4=IPv4Address("10.11.0.1"),
        ipv6=IPv6Address("fd00::1"),
        transport=IPv6Address("fd00:0:0:1::1"),
        subnet=IPv4Network("10.11.0.0/16"),
        admin=True,
        enabled=True,
        endpoints=(
            Endpoint("192.0.2.1", 10100),
            Endpoint("2001:db8::1", 10101),
            Endpoint("gw-berlin.example", 10100),
        ),
        listen_port=10100,
        behind_nat=True,
        join_port=9000,
        joined_ms=5,
        joined_by="gw-a (ada)",
        ephemeral_ms=60_000,
        protocol_version=1,
        certificate_sha256=b"c" * 32,
        serial=3,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("public_key", b""),
        ("public_key", b"1" * 31),
        ("ipv4", ""),
        ("ipv4", "fd00::1"),
        ("ipv4", "10.11.0.1/16"),
        ("ipv6", "10.11.0.1"),
        ("ipv6", "fe80::1%eth0"),
        ("transport", "fd00::1%1"),
        ("subnet", "10.11.0.1/16"),
        ("subnet", "0.0.0.0/33"),
        ("endpoints", ["192.0.2.1"]),
        ("endpoints", ["192.0.2.1:0"]),
        ("endpoints", ["$(reboot):10100"]),
        ("endpoints", ["[fe80::1%eth0]:10100"]),
        ("listen_port", 65536),
        ("role", 0),
        ("role", 77),
        ("name", "evil\x1b[2J"),
        ("name", "<b>bold</b>"),
        ("name", ""),
    ],
)
def test_a_field_that_cannot_be_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        Member.from_message(message(**{field: value}))
    assert field in caught.value.message
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize("wrong", ["", ID.upper(), "{" + ID + "}", ID.replace("-", ""), "urn:uuid:" + ID, "../" + ID])
def test_an_id_has_one_form(wrong: str) -> None:
    statement = state_pb2.MemberStatement(**{**SIGNED, "id": wrong})
    record = state_pb2.MemberRecord(statement=statement.SerializeToString())
    with pytest.raises(InvalidInput):
        Member.from_message(state_pb2.Member(id=wrong, record=record))


def test_the_signed_statement_is_about_that_member() -> None:
    with pytest.raises(InvalidInput, match="is about"):
        Member.from_message(state_pb2.Member(id="other", record=message().record))


texts = st.text(max_size=40)


@given(
    st.sampled_from(["name", "ipv4", "ipv6", "transport", "subnet", "id"]),
    texts | st.ip_addresses().map(str) | st.from_regex(r"[0-9a-f:./%\[\]]{0,30}"),
)
def test_any_text_in_a_field_is_a_member_or_refused(field: str, value: str) -> None:
    with contextlib.suppress(InvalidInput):
        member = Member.from_message(message(**{field: value}))
        assert (member.ipv6.scope_id, member.transport and member.transport.scope_id) == (None, None)


@given(st.lists(texts | st.from_regex(r"\[?[0-9a-z:.%-]{0,30}\]?:[0-9]{0,6}"), max_size=3))
def test_any_endpoint_is_one_or_refused(found: list[str]) -> None:
    with contextlib.suppress(InvalidInput):
        for endpoint in Member.from_message(message(endpoints=found)).endpoints:
            assert Endpoint.parse(str(endpoint)) == endpoint
            assert str(endpoint).isprintable()


KINDS = ["member", "route", "invite", "request", "settings", "voters", "primary", "association"]


@given(st.sampled_from(KINDS), texts, st.binary(max_size=80))
def test_any_write_is_applied_or_refused(kind: str, key: str, value: bytes) -> None:
    entry = state_pb2.ChangeEntry(writes=[state_pb2.Write(kind=kind, key=key, value=value)])
    with contextlib.suppress(InvalidInput):
        State().with_entry(entry, Position(1, 1)).to_view()
    with contextlib.suppress(InvalidInput):
        filtered_entry(entry)


@given(st.binary(max_size=200))
def test_any_view_is_a_state(data: bytes) -> None:
    try:
        view = state_pb2.View.FromString(data)
    except Exception:
        return  # `view_file` and gRPC refuse it before
    state = State.from_view(view)
    assert set(state.parsed) | set(state.problems) == {one.id for one in view.members}
