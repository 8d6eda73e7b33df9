"""What meshctl prints: the JSON of the interface, text that no name can break, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from meshctl import as_json, as_text
from meshctl.commands import COMMANDS
from meshctl.completions import Place, places
from meshctl.main import main
from meshctl.parser import make_parser
from meshproto import local_pb2, state_pb2

MEMBER = local_pb2.MemberStatus(
    id="9e91aaaa-0000-4000-8000-000000003467",
    name="gw-berlin",
    role=state_pb2.ROLE_NODE,
    ipv4="10.11.0.1",
    ipv6="fd00::1",
    public_key="k=",
    subnets=["10.11.0.0/16"],
    endpoint="192.0.2.1:10100",
    online=True,
    enabled=True,
    path=local_pb2.PATH_DIRECT,
    latest_handshake_ms=1_700_000_000_123,
    rx_bytes=5_000_000_000,
    tx_bytes=7,
    latency_ms=1.23456,
    primary=True,
    voter=True,
    protocol_version=1,
)


def test_member_has_every_field() -> None:
    assert as_json.member(MEMBER) == {
        "id": "9e91aaaa-0000-4000-8000-000000003467",
        "name": "gw-berlin",
        "role": "node",
        "ipv4": "10.11.0.1",
        "ipv6": "fd00::1",
        "public_key": "k=",
        "subnets": ["10.11.0.0/16"],
        "endpoint": "192.0.2.1:10100",
        "online": True,
        "enabled": True,
        "admin": False,
        "path": "direct",
        "latest_handshake": "2023-11-14T22:13:20.123Z",
        "rx_bytes": 5_000_000_000,
        "tx_bytes": 7,
        "latency_ms": 1.235,
        "primary": True,
        "voter": True,
        "replica_lag": 0,
        "protocol_version": 1,
    }


def test_what_is_unknown_is_null() -> None:
    member = as_json.member(local_pb2.MemberStatus(name="laptop-ada", role=state_pb2.ROLE_PEER, replica_lag=-1))
    assert [name for name, value in member.items() if value is None] == [
        "ipv6", "endpoint", "latest_handshake", "latency_ms", "replica_lag", "protocol_version",
    ]  # fmt: skip


def test_mesh_has_every_field() -> None:
    mesh = as_json.mesh(
        local_pb2.MeshStatus(
            name="home", id="m", state=local_pb2.STALE, reason="why", interface="home", backend="userspace",
            backend_reason="this kernel has no WireGuard",
            self_id=MEMBER.id, primary="gw-berlin", epoch=2, revision=9, writable=True, members=[MEMBER],
            warnings=["dns home: no"], connected_by="ada", paused_until_ms=1_700_000_000_000,
            election_timeout_ms=4_000,
        )
    )  # fmt: skip
    assert mesh.pop("self") == as_json.member(MEMBER)
    assert mesh.pop("members") == [as_json.member(MEMBER)]
    assert mesh == {
        "name": "home", "id": "m", "state": "stale", "reason": "why", "interface": "home", "backend": "userspace",
        "backend_reason": "this kernel has no WireGuard", "warnings": ["dns home: no"],
        "primary": "gw-berlin", "epoch": 2, "revision": 9, "writable": True,
        "connected_by": "ada", "paused_until": "2023-11-14T22:13:20.000Z",
        "election_timeout_ms": 4_000,
    }  # fmt: skip


def test_invite_and_route_have_every_field() -> None:
    invite = as_json.invite(local_pb2.InviteStatus(id="4f1c", uses=1, state=state_pb2.INVITE_STATE_REVOKED))
    assert list(invite) == [
        "id", "member", "role", "uses", "used", "state", "created_by", "created", "expires", "cidr", "admin",
    ]  # fmt: skip
    assert invite["state"] == "revoked"
    route = local_pb2.RouteStatus(cidr="203.0.113.0/24", nodes=["gw-berlin"], masquerade=True)
    assert as_json.route(route) == {
        "cidr": "203.0.113.0/24", "nodes": ["gw-berlin"], "chosen": None, "masquerade": True,
    }  # fmt: skip


def test_columns_are_aligned_and_hostile_names_are_tamed() -> None:
    hostile = local_pb2.MemberStatus(name="evil\x1b[2J\nroot\u202e", ipv4="10.51.0.1", role=state_pb2.ROLE_PEER)
    text = as_text.members([MEMBER, hostile], "nobody")
    lines = text.splitlines()
    assert len(lines) == 3
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert lines[0].index("ADDRESS") == lines[1].index("10.11.0.1") == lines[2].index("10.51.0.1")
    assert lines[0].index("RECEIVED") + len("RECEIVED") == lines[1].index("5.0 GB") + len("5.0 GB")


def test_no_mesh_says_what_to_do() -> None:
    assert "meshctl create" in as_text.status(local_pb2.Status())


def test_no_helper_is_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--socket", str(tmp_path / "none.sock"), "--json", "status"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "helper-unreachable"
    assert "systemctl start meshd" in captured.err


@pytest.mark.parametrize("path", [place.path for place in places(make_parser())])
def test_every_command_has_help(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*path.split(), "--help"])
    assert ended.value.code == 0
    assert f"usage: meshctl {path}".strip() in capsys.readouterr().out


@pytest.mark.parametrize("place", places(make_parser()), ids=lambda place: place.path or "meshctl")
def test_every_option_says_what_it_does(place: Place) -> None:
    hidden = {"--socket", "--mesh", "--json", "--timeout"} if place.path else set()
    assert [one.name for one in place.options if not one.text and one.name not in hidden] == []


def test_every_command_of_the_parser_is_carried_out() -> None:
    leaves = {place.path for place in places(make_parser()) if not place.commands}
    assert leaves - {"completions"} == set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nodes", "demote", "gw-berlin"],
            "meshctl nodes: there is no command 'demote'\nfix: see `meshctl nodes --help`",
        ),
        (["nodes"], "meshctl nodes: a command is missing\nfix: see `meshctl nodes --help`"),
        (["stauts"], "meshctl: there is no command 'stauts'\nfix: did you mean `meshctl status`?"),
        (
            ["peers", "autorize", "7"],
            "meshctl peers: there is no command 'autorize'\nfix: did you mean `meshctl peers authorize`?",
        ),
        (["routes", "add"], "meshctl routes add: CIDR is missing\nfix: see `meshctl routes add --help`"),
        (["status", "--verbose"], "meshctl status: unknown arguments: --verbose\nfix: see `meshctl status --help`"),
        (
            ["create", "home", "--addressing", "best"],
            "meshctl create: --addressing: 'best' is not one of sequential, hash\n",
        ),
        (["--timeout", "soon", "status"], "'soon' is not a number of seconds"),
        (["--mes", "home", "status"], "there is no command 'home'"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.splitlines()[-1].startswith("fix: ")
    assert len(captured.err.splitlines()) == 2
    assert main([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "invalid"


def test_a_value_that_is_named_like_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mesh", "nodes", "--socket", str(tmp_path / "none.sock"), "status"]) == 3


def test_moments_are_said_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    assert as_text.moment(1_000_000_000 + 13 * 86_400_000).endswith("(in 13 d)")
    assert as_text.moment(1_000_000_000 - 12_000).endswith("(12 s ago)")


def test_every_column_has_a_heading_and_ages_end_at_one_place() -> None:
    route = local_pb2.RouteStatus(cidr="10.11.0.0/16", nodes=["gw-berlin"], chosen="gw-berlin", masquerade=True)
    heading, row = as_text.routes([route]).splitlines()
    assert heading.index("NOTE") == row.index("masqueraded")
    heading, row = as_text.members([MEMBER], "").splitlines()
    assert heading.index("HANDSHAKE") + len("HANDSHAKE") == row.index(" ago") + len(" ago")


def test_shapes_are_those_of_meshtui() -> None:
    from meshtui.listings.doctor import CHECKS
    from meshtui.look import EVENTS, MESHES
    from meshtui.model import MeshState, Severity

    for state, severity in ((local_pb2.OK, "INFO"), (local_pb2.WARNING, "WARNING"), (local_pb2.ERROR, "ERROR")):
        drawn = as_text.doctor([local_pb2.Check(state=state, check="nft", found="x")])
        assert drawn.startswith(CHECKS[Severity[severity]].shape)
    for severity in ("warning", "error"):
        drawn = as_text.event(local_pb2.Event(severity=severity, text="x"))
        assert f" {EVENTS[Severity(severity)].shape} " in drawn
    for state in (local_pb2.CONNECTED, local_pb2.CONNECTING, local_pb2.STALE, local_pb2.DOWN):
        name = local_pb2.MeshState.Name(state).lower()
        assert as_text.mesh(local_pb2.MeshStatus(state=state)).startswith(MESHES[MeshState(name)].shape)
