"""The invite's forms, and that each way to break one has its own message."""

from __future__ import annotations

import base64
import tomllib
import uuid
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.format_error import FormatError
from meshproto.invite import (
    MOST_FURTHER_KEYS,
    Invite,
    InviteNode,
    is_invite,
    parse_invite,
    redeem_token,
    temporary_key,
)
from meshproto.keys import PrivateKey, PublicKey
from meshproto.qr import qr_text
from meshproto.state_pb2 import ROLE_NODE, ROLE_PEER

PREFIX = bytes.fromhex("fd8b1c22aa070000")
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
ports = st.integers(1, 65535)
endpoints = st.one_of(
    st.builds(lambda address, port: f"{address}:{port}", st.ip_addresses(v=4), ports),
    st.builds(lambda address, port: f"[{address}]:{port}", st.ip_addresses(v=6), ports),
    st.builds(lambda name, port: f"{name}.example.org:{port}", labels, ports),
)
ipv6 = st.binary(min_size=8, max_size=8).map(lambda tail: IPv6Address(PREFIX + tail))
nodes = st.builds(
    InviteNode,
    ipv4=st.ip_addresses(v=4),
    ipv6=ipv6,
    public_key=st.binary(min_size=32, max_size=32).map(PublicKey),
    endpoints=st.lists(endpoints, max_size=4).map(tuple),
    redeem_port=ports,
)
invites = st.builds(
    Invite,
    id=st.binary(min_size=4, max_size=16).map(bytes.hex),
    mesh_id=st.uuids().map(str),
    mesh_name=labels,
    nodes=st.lists(nodes, min_size=1, max_size=3).map(tuple),
    temporary_key=st.binary(min_size=32, max_size=32).map(PrivateKey.from_random),
    temporary_ipv4=st.ip_addresses(v=4),
    temporary_ipv6=ipv6,
    ca_fingerprint=st.binary(min_size=32, max_size=32),
    expires_ms=st.integers(1, 1 << 40).map(lambda seconds: (seconds - 1) * 1000 + 1000).filter(lambda ms: ms < 2**41),
    member=st.one_of(st.just(""), labels),
    role=st.sampled_from([ROLE_PEER, ROLE_NODE]),
    further_keys=st.integers(0, MOST_FURTHER_KEYS),
).filter(lambda invite: int(invite.temporary_ipv4) + invite.further_keys < 2**32)


def sample(count: int = 3) -> Invite:
    return Invite(
        id="4f1c22aa",
        mesh_id=str(uuid.UUID(int=7)),
        mesh_name="home",
        nodes=tuple(
            InviteNode(
                IPv4Address(f"10.{11 + number}.0.1"),
                IPv6Address(PREFIX + bytes([9, 8, 7, 6, 5, 4, 3, number])),
                PublicKey(bytes([number + 1]) * 32),
                ("198.51.100.7:10100", "[2001:db8::7]:10100"),
            )
            for number in range(count)
        ),
        temporary_key=PrivateKey.from_random(bytes(range(32))),
        temporary_ipv4=IPv4Address("10.51.255.254"),
        temporary_ipv6=IPv6Address(PREFIX + bytes(range(8))),
        ca_fingerprint=bytes(range(100, 132)),
        expires_ms=1_800_000_000_000,
        member="laptop-ada",
    )


def code_of(text: str) -> str:
    with pytest.raises(FormatError) as caught:
        parse_invite(text)
    assert caught.value.message
    assert caught.value.fix
    return caught.value.code


@given(invites)
def test_every_form_reads_back_as_the_same_invite(invite: Invite) -> None:
    text = invite.to_text()
    assert parse_invite(text) == parse_invite(invite.to_uri()) == parse_invite(invite.to_file()) == invite
    assert parse_invite(text.upper()) == invite
    assert parse_invite("\n".join(text[at : at + 60] for at in range(0, len(text), 60)) + "\r\n") == invite
    assert all(map(is_invite, (text, text.upper(), invite.to_uri(), invite.to_file())))


@given(invites, st.data())
def test_a_truncated_invite_is_called_truncated(invite: Invite, data: st.DataObject) -> None:
    text = invite.to_text()
    cut = data.draw(st.integers(1, len(text) - 1))
    assert code_of(text[:cut]) == "invite-truncated"


@given(st.data())
def test_an_edited_invite_is_called_edited(data: st.DataObject) -> None:
    text = sample().to_text()
    at = data.draw(st.integers(len("mesh1-"), len(text) - 1))
    other = data.draw(st.sampled_from([one for one in "abcdefghijklmnopqrstuvwxyz2345670189!é" if one != text[at]]))
    assert code_of(text[:at] + other + text[at + 1 :]) == "invite-edited"
    assert code_of(text + other) == "invite-edited"


def test_what_is_no_invite_has_other_messages() -> None:
    assert code_of("hello") == "invite-unreadable"
    assert code_of("") == "invite-unreadable"
    assert code_of("meshkey1-aaaa") == "invite-unreadable"
    assert code_of("mesh2-aaaa") == "invite-newer"
    assert code_of("mesh://join/mesh17-aaaa") == "invite-newer"
    assert code_of('mesh = "home"') == "invite-unreadable"
    assert code_of("invite = 7") == "invite-unreadable"
    assert code_of("= = =") == "invite-unreadable"
    assert code_of("a" * 100_000) == "invite-unreadable"


@given(st.one_of(st.text(), st.text().map("mesh1-".__add__), st.text().map("invite = ".__add__)))
def test_any_text_is_an_invite_or_a_format_error(text: str) -> None:
    with pytest.raises(FormatError):
        parse_invite(text)


@given(st.binary(max_size=300))
def test_hostile_contents_with_a_right_checksum_are_refused(body: bytes) -> None:
    from meshproto import invite as module

    header = module._header(len(body))
    data = header + body + module._checksum(header + body)
    with pytest.raises(FormatError) as caught:
        parse_invite("mesh1-" + base64.b32encode(data).decode().rstrip("="))
    assert caught.value.code == "invite-unreadable"


@pytest.mark.parametrize(
    "change",
    [
        {"mesh_name": 'a"\nb'},
        {"mesh_name": "x[red]"},
        {"member": "\x1b[31m"},
        {"ca_fingerprint": b"short"},
        {"nodes": ()},
    ],
)
def test_fields_that_could_do_harm_are_refused(change: dict[str, object]) -> None:
    assert code_of(replace(sample(), **change).to_text()) == "invite-unreadable"  # type: ignore[arg-type]  # one field


def test_the_file_is_valid_toml_and_names_the_mesh() -> None:
    document = tomllib.loads(sample().to_file())
    assert document["mesh"] == "home"
    assert document["member"] == "laptop-ada"
    assert document["expires"].timestamp() == 1_800_000_000


def test_no_secret_is_printed_by_accident() -> None:
    invite = sample()
    assert invite.temporary_key.text() not in f"{invite!r} {invite}"


def test_expiry_is_by_the_clock_that_is_given() -> None:
    assert not sample().expired(1_799_999_999_999)
    assert sample().expired(1_800_000_000_000)


def test_the_token_depends_on_key_and_id() -> None:
    key, other = (PrivateKey.from_random(bytes([number]) * 32) for number in (1, 2))
    tokens = {redeem_token(key, "4f1c22aa"), redeem_token(key, "4f1c22ab"), redeem_token(other, "4f1c22aa")}
    assert len(tokens) == 3
    assert all(len(token) == 32 for token in tokens)


def test_the_code_of_three_nodes_fits_a_terminal_and_holds_the_text() -> None:
    lines = qr_text(sample().to_text().upper()).split("\n")
    assert len(lines[0]) <= 80
    assert len({len(line) for line in lines}) == 1
    # Finder pattern: 7 dark modules in the first row of the code, behind two rows and two columns of light.
    assert lines[0] == "█" * len(lines[0])
    assert lines[1].startswith("██ ▄▄▄▄▄ █")


def test_the_further_keys_are_all_different_and_have_addresses_of_their_own() -> None:
    invite = replace(sample(), further_keys=MOST_FURTHER_KEYS, temporary_ipv4=IPv4Address("10.51.255.240"))
    access = [parse_invite(invite.to_text()).access(number) for number in range(MOST_FURTHER_KEYS + 1)]
    assert access[0] == (invite.temporary_key, invite.temporary_ipv4)
    assert len({key.text() for key, _ in access}) == len(access)
    assert [str(address) for _, address in access] == [f"10.51.255.{240 + number}" for number in range(len(access))]
    assert access[3][0] == temporary_key(invite.temporary_key, 3)


@pytest.mark.parametrize(
    ("number", "address"),
    [(MOST_FURTHER_KEYS + 1, "10.51.255.240"), (1, "255.255.255.255"), (1 << 31, "10.51.255.240")],
)
def test_an_invite_with_too_many_keys_is_refused(number: int, address: str) -> None:
    invite = replace(sample(), further_keys=number, temporary_ipv4=IPv4Address(address))
    with pytest.raises(FormatError, match="addresses and keys"):
        parse_invite(invite.to_text())
