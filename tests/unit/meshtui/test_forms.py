"""What the forms take, and what they say about what they don't."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.cluster_key import ClusterKey
from meshproto.invite import Invite, InviteNode
from meshproto.keys import PrivateKey
from meshtui import forms

NOW_MS = 1_800_000_000_000
HOUR = 3_600_000
INVITE = {"member": "", "role": "peer", "expires": "14d", "uses": "1", "ephemeral": "", "admin": "no"}
MESH = {"name": "home", "member_name": "", "endpoint": ""}


def invite_text(**fields: object) -> str:
    key = PrivateKey.from_random(secrets.token_bytes(32))
    node = InviteNode(IPv4Address("10.11.0.1"), IPv6Address("fd00::1"), key.public, ("198.51.100.2:10100",))
    values = {
        "id": "4f1cab90", "mesh_id": "9e91c0de-0000-4000-8000-000000000001", "mesh_name": "home", "nodes": (node,),
        "temporary_key": key, "temporary_ipv4": IPv4Address("10.51.0.9"), "temporary_ipv6": IPv6Address("fd00::9"),
        "ca_fingerprint": bytes(32), "expires_ms": NOW_MS + 2 * HOUR, "member": "laptop-bob",
    }  # fmt: skip
    return Invite(**{**values, **fields}).to_text()  # type: ignore[arg-type]  # checked by Invite


def joins(what: str, hosts: str = "", name: str = "", keys: str = "keyring") -> tuple[str, str]:
    return forms.judge_join({"what": what, "hosts": hosts, "member_name": name, "keys": keys}, NOW_MS)


@pytest.mark.parametrize("name", ["a", "laptop-ada", "a" * 63, "9", "old"])
def test_good_names(name: str) -> None:
    assert forms.judge_rename({"name": name}, "old", ["old", "taken"]) == ("", "")


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a" * 64, "a.b", "a b", "ä", "a\n", "taken"])
def test_bad_names(name: str) -> None:
    assert forms.judge_rename({"name": name}, "old", ["old", "taken"])[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Lets a machine join as peer, for 14d from now."),
        ({"member": "laptop-bob", "admin": "yes"}, "Lets laptop-bob join as peer, which may change the mesh, for 14d"),
        ({"uses": "20", "expires": "90m"}, "Lets 20 machines join as peer, for 1h30m from now."),
        ({"role": "node"}, "Lets a machine join as node"),
    ],
)
def test_good_invites(change: dict[str, str], said: str) -> None:
    wrong, known = forms.judge_invite({**INVITE, **change}, ["taken"])
    assert wrong == ""
    assert known.startswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"member": "Bob"}, "A name is"),
        ({"member": "taken"}, "taken is taken"),
        ({"uses": "0"}, "1 to 10000 machines"),
        ({"uses": "-1"}, "1 to 10000 machines"),
        ({"uses": "²"}, "1 to 10000 machines"),
        ({"uses": "2", "member": "bob"}, "leave the name out"),
        ({"role": "node", "admin": "yes"}, "anyway"),
        ({"expires": ""}, "A time is"),
        ({"expires": "soon"}, "A time is"),
        ({"ephemeral": "1 hour"}, "A time is"),
        ({"expires": "99999d"}, "at most 366d"),
        ({"expires": "367d"}, "at most 366d"),
        ({"ephemeral": "367d"}, "at most 366d"),
    ],
)
def test_bad_invites(change: dict[str, str], said: str) -> None:
    assert said in forms.judge_invite({**INVITE, **change}, ["taken"])[0]


@pytest.mark.parametrize(
    ("cidr", "node", "wrong"),
    [
        ("203.0.113.0/24", "gw-paris", ""),
        ("2001:db8:7::/48", "gw-paris", ""),
        ("203.0.113.9/24", "gw-paris", "has bits set behind its prefix. Did you mean 203.0.113.0/24?"),
        ("203.0.113.0", "gw-paris", "Write 203.0.113.0/32 for that address alone, or 203.0.113.0/24 for the network."),
        ("203.0.113.0/255.255.255.0", "gw-paris", "Did you mean 203.0.113.0/24?"),
        ("fe80::%eth0/64", "gw-paris", "names an interface"),
        ("224.0.0.0/4", "gw-paris", "can't be routed"),
        ("0.0.0.0/0", "gw-paris", "not available. Name the networks"),
        ("here", "gw-paris", "A subnet is written"),
        ("203.0.113.0/24", "gw-rome", "Behind which node? gw-berlin, gw-paris"),
    ],
)
def test_routes(cidr: str, node: str, wrong: str) -> None:
    found = forms.judge_route({"cidr": cidr, "node": node}, ["gw-berlin", "gw-paris"])[0]
    assert wrong in found
    assert bool(found) == bool(wrong)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, ""),
        ({"endpoint": "gw.example.org"}, ""),
        ({"endpoint": "[2001:db8::1]:10100"}, ""),
        ({"name": ""}, "The mesh's name is"),
        ({"name": "office"}, "in a mesh named office already"),
        ({"member_name": "Ada!"}, "A name is"),
        ({"endpoint": "a b"}, "An endpoint is"),
    ],
)
def test_new_meshes(change: dict[str, str], wrong: str) -> None:
    found = forms.judge_mesh({**MESH, **change}, ["office"])[0]
    assert wrong in found
    assert bool(found) == bool(wrong)


@pytest.mark.parametrize(
    "host",
    ["gw", "gw.example.org", "gw.example.org.", "gw_1:1", "198.51.100.7", "198.51.100.7:65535", "2001:db8::7", "::1",
     "[2001:db8::7]", "[2001:db8::7]:10100", "1and1.example"],
)  # fmt: skip
def test_hosts(host: str) -> None:
    assert forms.is_host(host)


@pytest.mark.parametrize(
    "host",
    ["gw:99999", "gw:0", "...", "-x", "x-", "a..b", ":::", "::1::", "[::1", "[gw]:1", "198.51.100.700", "198.51.100",
     "7", "gw:", ":1", "fe80::1%eth0", "[fe80::1%eth0]", "a" * 64, "a b", "ä", ""],
)  # fmt: skip
def test_no_hosts(host: str) -> None:
    assert not forms.is_host(host)


@given(st.text(alphabet="a1.:-[]%_", max_size=30))
def test_whatever_is_typed_as_a_host_is_judged(host: str) -> None:
    assert forms.is_host(host) in (True, False)


def test_an_invite_is_recognised() -> None:
    first = "An invite to home as laptop-bob, good for 2 h."
    assert joins(invite_text()) == (
        "",
        f"{first}\nThe keys go into your keyring: this machine connects when you say so.",
    )
    assert "file that only root reads" in joins(invite_text(), keys="file")[1]


def test_an_expired_an_edited_and_a_cut_invite() -> None:
    text = invite_text()
    assert joins(invite_text(expires_ms=NOW_MS - 1))[0] == "The invite has expired: ask for a new one."
    assert "truncated" in joins(text[:-9])[0]
    middle = len(text) // 2
    assert joins(text[:middle] + ("a" if text[middle] != "a" else "b") + text[middle + 1 :])[0]


def test_a_cluster_key_needs_a_host() -> None:
    key = ClusterKey.generate(b"a CA").text()
    assert "through which node?" in joins(key)[0]
    assert joins(key, "gw-berlin.example 198.51.100.2:9000") == (
        "",
        "A cluster key: this machine becomes a node, through gw-berlin.example.",
    )
    assert "Through" in joins(key, "a/b")[0]
    assert "mistyped" in joins(key[:-1] + ("a" if key[-1] != "a" else "b"), "gw")[0]


@given(st.text(), st.text(), st.text())
def test_whatever_is_pasted_is_judged(what: str, hosts: str, name: str) -> None:
    wrong, known = joins(what, hosts, name)
    assert wrong or known


@given(st.fixed_dictionaries({name: st.text(max_size=30) for name in INVITE}))
def test_whatever_is_typed_about_an_invite_is_judged(values: dict[str, str]) -> None:
    wrong, known = forms.judge_invite(values, [])
    assert wrong or known


def test_where_a_drawing_goes(tmp_path: Path) -> None:
    there = tmp_path / "home.svg"
    assert forms.judge_export({"file": str(there)}) == ("", f"Writes {there}")
    there.write_text("mine")
    assert "exists already" in forms.judge_export({"file": str(there)})[0]
    assert "ending" in forms.judge_export({"file": str(tmp_path / "home.png")})[0]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("~a", "Nobody here has a home ~a"),
        ("~nobody-here/x.svg", "Nobody here has a home ~nobody-here"),
        ("a" * 300 + ".svg", "can't be written: File name too long"),
        ("a\0.svg", "can't be written: "),
        ("none/x.svg", "There is no folder none."),
        ("/dev/null/x.svg", "can't be written: Not a directory"),
        ("", "ending"),
    ],
)
def test_where_no_drawing_goes(file: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in forms.judge_export({"file": file})[0]


def test_a_folder_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", refuse)
    assert "can't be written: Permission denied." in forms.judge_export({"file": "/root/x.svg"})[0]


@given(st.text(max_size=40))
def test_whatever_is_typed_about_a_file_is_judged(file: str) -> None:
    wrong, known = forms.judge_export({"file": file})
    assert wrong or known
