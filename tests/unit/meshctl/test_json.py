"""What each command prints with `--json`: programs rely on every field."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from meshctl import as_json
from meshctl.commands import COMMANDS
from meshctl.main import main
from meshproto import local_pb2, state_pb2

if TYPE_CHECKING:
    from conftest import Canned

MEMBER = [
    "id", "name", "role", "ipv4", "ipv6", "public_key", "subnets", "endpoint", "online", "enabled", "admin", "path",
    "latest_handshake", "rx_bytes", "tx_bytes", "latency_ms", "primary", "voter", "replica_lag",
    "protocol_version",
]  # fmt: skip
MESH = [
    "name", "id", "state", "reason", "interface", "backend", "backend_reason", "self", "primary", "epoch",
    "revision", "writable", "election_timeout_ms", "members", "warnings", "connected_by", "paused_until",
]  # fmt: skip
ROUTE = ["cidr", "nodes", "chosen", "masquerade"]
INVITE = [
    "id", "member", "role", "uses", "used", "state", "created_by", "created", "expires", "cidr", "admin",
]  # fmt: skip
PENDING = ["id", "name", "public_key", "fingerprint", "from", "since"]
EVENT = ["mesh", "revision", "epoch", "at", "kind", "severity", "actor", "action", "subject", "subject_id", "text"]
CHECK = ["check", "state", "found", "fix"]
PING = ["sent", "received", "rtt_ms", "path"]
CHANGE = ["epoch", "revision"]
SECRET = ["invite", "text", "uri"]

DOCUMENTS: dict[str, Any] = {
    "create home": ["mesh", "cluster_key"],
    "join mesh1-x": MESH,
    "up": MESH,
    "down": MESH,
    "leave home --yes": ["left", "left_behind"],
    "status": ["version", "meshes"],
    "wait": MESH,
    "nodes list": [MEMBER],
    "nodes show gw-berlin": MEMBER,
    "nodes remove laptop-ada": CHANGE,
    "nodes promote gw-berlin": CHANGE,
    "nodes timeout 4": CHANGE,
    "nodes promote gw-berlin --force --yes": [*CHANGE, "warnings"],
    "peers list": [MEMBER],
    "peers authorized": [MEMBER],
    "peers show laptop-ada": MEMBER,
    "peers remove laptop-ada": CHANGE,
    "peers pending": [PENDING],
    "peers authorize 7": CHANGE,
    "peers deauthorize 7": CHANGE,
    "peers enable laptop-ada": CHANGE,
    "peers disable laptop-ada": CHANGE,
    "peers rename laptop-ada laptop-bo": CHANGE,
    "peers admin laptop-ada on": CHANGE,
    "routes list": [ROUTE],
    "routes add 203.0.113.0/24": CHANGE,
    "routes remove 203.0.113.0/24": CHANGE,
    "routes accept 203.0.113.0/24": MESH,
    "routes ignore 203.0.113.0/24": MESH,
    "invites create": SECRET,
    "invites list": [INVITE],
    "invites show 4f1c": INVITE,
    "invites show 4f1c --qr": SECRET,
    "invites revoke 4f1c": CHANGE,
    "key show": ["cluster_key"],
    "key rotate": ["cluster_key"],
    "backup home.backup": ["file", "mesh", "revision"],
    "restore /etc/hostname": MESH,
    "events": EVENT,
    "ping laptop-ada": PING,
    "doctor": [CHECK],
    "graph": ["format", "graph"],
    "report FILE": ["file", "meshes", "members", "events", "wrong"],
}


def full_mesh(invite: local_pb2.InviteStatus) -> local_pb2.MeshStatus:
    members = [
        local_pb2.MemberStatus(
            id="9e91aaaa-0000-4000-8000-000000000001", name="gw-berlin", role=state_pb2.ROLE_NODE, ipv4="10.11.0.1",
            subnets=["10.11.0.0/16"], online=True, enabled=True, path=local_pb2.PATH_SELF, primary=True, voter=True,
            is_self=True,
        ),
        local_pb2.MemberStatus(
            id="9e91aaaa-0000-4000-8000-000000000002", name="laptop-ada", role=state_pb2.ROLE_PEER, ipv4="10.51.0.1",
            ipv6="fd00::2", endpoint="192.0.2.7:10100", path=local_pb2.PATH_RELAYED, relay="gw-berlin",
            latest_handshake_ms=1_700_000_000_123, replica_lag=-1,
        ),
    ]  # fmt: skip
    return local_pb2.MeshStatus(
        name="home", id="m", state=local_pb2.CONNECTED, backend="userspace", interface="home", self_id=members[0].id,
        members=members, routes=[local_pb2.RouteStatus(cidr="203.0.113.0/24", nodes=["gw-berlin"])],
        invites=[invite], pending=[local_pb2.PendingStatus(id="7", source="192.0.2.9", since_ms=1)],
    )  # fmt: skip


@pytest.fixture
def full(helper: Canned) -> Canned:
    helper.meshes = [full_mesh(helper.open_invite)]
    helper.updates = [local_pb2.WatchUpdate(snapshot=local_pb2.Status(meshes=helper.meshes))]
    helper.checks = [local_pb2.Check(check="clock", state=local_pb2.OK, found="right")]
    helper.pinged = local_pb2.PingReply(sent=4, received=3, min_ms=1, avg_ms=2, max_ms=3, path=local_pb2.PATH_DIRECT)
    helper.events = 2
    return helper


def test_every_command_has_its_document() -> None:
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    named = {" ".join(line.split()[: 2 if line.split()[0] in groups else 1]) for line in DOCUMENTS}
    assert named == set(COMMANDS)


@pytest.mark.parametrize("line", DOCUMENTS)
def test_every_field_is_there(
    full: Canned, line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the backup goes
    monkeypatch.setenv("MESHD_PASSPHRASE", "correct horse battery")
    words = [str(tmp_path / "report") if word == "FILE" else word for word in line.split()]
    assert main(["--json", *words]) == 0
    out = capsys.readouterr().out
    wanted = DOCUMENTS[line]
    for text in out.splitlines() if line == "events" else [out]:
        document = json.loads(text)
        if isinstance(wanted[0], list):
            assert isinstance(document, list)
            assert document
            assert [list(one) for one in document] == wanted * len(document)
        else:
            assert list(document) == wanted
    assert len(out.splitlines()) == (2 if line == "events" else 1)


def test_what_is_inside(full: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "status"]) == 0
    (mesh,) = json.loads(capsys.readouterr().out)["meshes"]
    assert list(mesh) == MESH
    assert [list(one) for one in mesh["members"]] == [MEMBER, MEMBER]
    assert mesh["self"] == mesh["members"][0]
    assert mesh["primary"] is None
    berlin, ada = mesh["members"]
    assert (berlin["ipv6"], berlin["endpoint"], berlin["latest_handshake"], berlin["latency_ms"]) == (None,) * 4
    assert (ada["path"], ada["replica_lag"], berlin["replica_lag"]) == ("relayed", None, 0)
    assert datetime.fromisoformat(ada["latest_handshake"]).timestamp() == 1_700_000_000.123
    assert main(["--json", "ping", "laptop-ada"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "sent": 4, "received": 3, "rtt_ms": {"min": 1.0, "avg": 2.0, "max": 3.0}, "path": "direct",
    }  # fmt: skip


@pytest.mark.parametrize(
    "who", ["laptop-ada", "LAPTOP-ADA", "10.51.0.1", "fd00:0::2", "9e91aaaa-0000-4000-8000-000000000002"]
)
def test_a_member_by_name_id_or_address(full: Canned, who: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "peers", "show", who]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "laptop-ada"


def test_a_member_that_is_not_clear(full: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    twin = local_pb2.MemberStatus(
        id="9e91aaaa-0000-4000-8000-000000000003", name="laptop-bo", role=state_pb2.ROLE_PEER, ipv4="10.51.0.2"
    )
    full.meshes[0].members.append(twin)
    assert main(["peers", "show", "9e91"]) == 1
    assert "laptop-ada, laptop-bo" in capsys.readouterr().err
    for nobody in ("9e9", "gw-berlin", "10.51.0.9", ""):
        assert main(["peers", "show", nobody]) == 1
        assert f"there is no peer {nobody!r}" in capsys.readouterr().err


def test_no_answer_to_a_ping_is_a_failure_with_a_document(full: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    full.pinged = local_pb2.PingReply(sent=4)
    with pytest.raises(SystemExit) as ended:
        main(["--json", "ping", "laptop-ada"])
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out) == {"sent": 4, "received": 0, "rtt_ms": None, "path": "none"}


def test_words_are_those_of_the_interface() -> None:
    assert set(as_json.STATES.values()) == {"connected", "connecting", "stale", "down"}
    assert set(as_json.ROLES.values()) == {"node", "peer", "device"}
    assert set(as_json.PATHS.values()) == {"direct", "relayed", "self", "none"}
    assert set(as_json.INVITES.values()) == {"open", "redeemed", "expired", "revoked"}
    assert set(as_json.CHECKS.values()) == {"ok", "warning", "error"}


def test_the_reference_has_the_same_fields() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "meshctl.md").read_text(encoding="utf-8")
    block = page[page.index("\nMESH ") : page.index("\n```", page.index("\nMESH "))]
    documented = {}
    for name, text in re.findall(r"^([A-Z]+) +((?:.*\n?)(?:^ .*\n?)*)", block, re.MULTILINE):
        documented[name] = re.sub(r"\([^)]*\)", "", text).replace("\n", " ")
    found = {name: [word.strip() for word in text.split(",")] for name, text in documented.items()}
    assert found == {
        "MESH": MESH, "MEMBER": MEMBER, "ROUTE": ROUTE, "INVITE": INVITE, "PENDING": PENDING, "EVENT": EVENT,
        "PING": PING, "CHECK": CHECK,
    }  # fmt: skip
