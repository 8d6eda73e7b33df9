"""`--watch`, `graph`, `report` and `--filter`, against canned answers."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from meshctl import silence
from meshctl.main import main
from meshproto import local_pb2, state_pb2
from meshproto.recording import read
from meshproto.updates import after
from unit.meshctl.conftest import Canned


def member(name: str, **fields: object) -> local_pb2.MemberStatus:
    return local_pb2.MemberStatus(
        id=f"id-{name}", name=name, role=state_pb2.ROLE_PEER, enabled=True, online=True, path=local_pb2.PATH_DIRECT,
        **fields,  # type: ignore[arg-type]  # of MemberStatus
    )  # fmt: skip


def home(*names: str) -> local_pb2.MeshStatus:
    return local_pb2.MeshStatus(name="home", id="m", state=local_pb2.CONNECTED, members=[member(one) for one in names])


def names(status: local_pb2.Status) -> list[list[str]]:
    return [[one.name for one in mesh.members] for mesh in status.meshes]


def update(**fields: object) -> local_pb2.WatchUpdate:
    return local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="m", **fields)])  # type: ignore[arg-type]


def test_differences_are_taken_over() -> None:
    first = after(local_pb2.Status(), local_pb2.WatchUpdate(snapshot=local_pb2.Status(meshes=[home("ada", "grace")])))
    assert names(first) == [["ada", "grace"]]
    head = local_pb2.MeshStatus(name="home", id="m", state=local_pb2.STALE, reason="no answer")
    second = after(first, update(head=head))
    assert (names(second), second.meshes[0].reason) == ([["ada", "grace"]], "no answer")
    third = after(
        second, update(members=[member("ada", latency_ms=7.0), member("joan")], removed_member_ids=["id-grace"])
    )
    assert names(third) == [["ada", "joan"]]
    assert third.meshes[0].members[0].latency_ms == 7.0
    assert names(first) == [["ada", "grace"]]
    assert names(after(third, update(removed=True))) == []
    assert names(after(local_pb2.Status(), update(head=head, members=[member("ada")]))) == [["ada"]]


def test_each_change_is_a_line_of_json(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = local_pb2.Status(meshes=[home("ada")])
    helper.updates = [local_pb2.WatchUpdate(snapshot=snapshot), update(members=[member("grace")])]
    assert main(["--json", "peers", "list", "--watch", "--timeout", "1"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[one["name"] for one in line] for line in lines[:2]] == [["ada"], ["ada", "grace"]]
    assert lines[2]["error"]["code"] == "timeout"


def test_a_helper_that_falls_silent_is_named(
    helper: Canned, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshctl.silence.LOOK_S", 0.05)
    helper.updates = [local_pb2.WatchUpdate(snapshot=local_pb2.Status(meshes=[home("ada")]))]
    assert main(["peers", "list", "--watch"]) != 0
    out, err = capsys.readouterr()
    assert "ada" in out
    assert "meshd has not answered for" in err
    assert "systemctl restart meshd" in err


def test_who_is_slow_to_read_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LOOK_S", 0.01)
    ended: list[bool] = []
    found = []
    for reply in silence.heard(range(3), lambda: ended.append(True)):
        found.append(reply)
        assert not threading.Event().wait(0.2)
    assert found == [0, 1, 2]
    assert not ended


def test_a_list_is_filtered(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    helper.meshes = [home("laptop-ada", "laptop-grace")]
    assert main(["--json", "peers", "list", "--filter", "lgr"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["laptop-grace"]
    assert main(["peers", "list", "--filter", "laptop !ada !grace"]) == 0
    assert capsys.readouterr().out == "None match 'laptop !ada !grace'.\n"


def test_a_mesh_is_drawn(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    mesh = home("gw\x1b[2J")
    mesh.members.append(member("laptop-ada", is_self=True))
    mesh.members.append(local_pb2.MemberStatus(name="laptop-joan", enabled=True))
    helper.meshes = [mesh]
    assert main(["graph"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "home, seen from laptop-ada",
        "laptop-ada (peer) this machine",
        "├─ gw�[2J (peer) direct",
        "└─ laptop-joan (peer) offline",
    ]
    assert main(["--json", "graph", "--format", "dot"]) == 0
    assert json.loads(capsys.readouterr().out)["graph"].startswith('graph "home" {')


def test_a_report_is_a_recording(helper: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    helper.updates = [local_pb2.WatchUpdate(snapshot=local_pb2.Status(version="1", meshes=[home("ada")]), at_ms=7)]
    helper.checks = [local_pb2.Check(check="wireguard", state=local_pb2.WARNING, found="it is not there")]
    path = tmp_path / "home.report"
    assert main(["report", str(path)]) == 0
    said = capsys.readouterr().out
    assert "1 mesh with 1 member, 0 events, 1 finding of doctor" in said
    assert "meshtui --replay" in said
    [(at_ms, data)] = read(path)
    found = local_pb2.WatchUpdate.FromString(data)
    assert (at_ms, names(found.snapshot), found.checks[0].check) == (7, [["ada"]], "wireguard")
    assert path.stat().st_mode & 0o777 == 0o600
    assert main(["report", str(path)]) == 1
    assert "exists already" in capsys.readouterr().err
