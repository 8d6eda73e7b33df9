"""meshctl against a real gRPC server on a Unix socket, with canned answers."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from meshctl.main import main
from meshproto import local_pb2
from meshproto.qr import in_colours, qr_text

if TYPE_CHECKING:
    from conftest import Canned


@pytest.mark.parametrize(
    ("code", "status"),
    [("not-found", 1), ("invalid", 2), ("not-permitted", 4), ("outcome-unknown", 5)],
)
def test_refusals(helper: Canned, code: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "nodes", "remove", code]) == status
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": {"code": code, "message": "it is so", "fix": "do this"}}
    assert captured.err == "meshctl: it is so\nfix: do this\n"


def test_no_mesh_is_exit_1(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "list"]) == 1
    assert "this machine is in no mesh" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["invites", "create", "--uses", "5000000000"],
        ["invites", "create", "--uses", "-3"],
        ["events", "--since", "-1"],
        ["create", "home", "--listen-port", "99999999999"],
        ["--timeout", "inf", "status"],
        ["--timeout", "nan", "status"],
        ["peers", "rename", "\udcff", "laptop-ada"],
    ],
)
def test_what_no_message_can_hold_is_wrong_usage(helper: Canned, arguments: list[str]) -> None:
    assert main(arguments) == 2


@pytest.mark.parametrize("text", ["MESH1-" + "A" * 600, " mesh1-" + "a" * 600, "MESH1-" + "A" * 5000])
def test_an_invite_is_never_taken_for_a_file(helper: Canned, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["join", text]) == 0
    assert helper.joins[0].what == text
    assert text[10:40] not in capsys.readouterr().err


def test_a_secret_that_nobody_knows_is_not_shown(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["join", "x" * 600]) == 0
    assert "x" * 40 not in capsys.readouterr().err


def test_the_key_of_the_environment_leaves_the_hosts(helper: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHD_KEY", "meshkey1-a-b")
    assert main(["join", "gw-berlin.example", "192.0.2.1"]) == 0
    assert helper.joins[0].what == "meshkey1-a-b"
    assert list(helper.joins[0].hosts) == ["gw-berlin.example", "192.0.2.1"]
    assert main(["join", "mesh1-other"]) == 0
    assert (helper.joins[1].what, list(helper.joins[1].hosts)) == ("mesh1-other", [])


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ([], 25), (["--wait", "600"], 600), (["--wait", "5"], 25), (["--timeout", "5"], 5),
        (["--timeout", "5", "--wait", "600"], 5),
    ],
)  # fmt: skip
def test_who_asks_to_be_let_in_waits_as_long_as_was_said(helper: Canned, options: list[str], limit: int) -> None:
    """The helper gives up a second before, to say why."""
    assert main(["join", "--request", "192.0.2.1", "--always-on", *options]) == 0
    assert limit - 3 < helper.joins[0].timeout_ms / 1000 < limit


def test_progress_is_cleaned(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["join", "--request", "192.0.2.1", "--always-on"]) == 0
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--json", "nodes", "list"], ["nodes", "--json", "list"], ["nodes", "list", "--json"]],
)
def test_options_stand_anywhere(helper: Canned, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    helper.meshes = [local_pb2.MeshStatus(name="home")]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "[]\n"


def test_leaving_ends_in_time_and_says_what_stays(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leave", "home", "--yes", "--timeout", "2"]) == 0
    assert capsys.readouterr().out == "left home; laptop-ada stays in the member list\n"
    assert 0 < helper.leaves[0].timeout_ms < 2000


def test_leaving_asks_first(helper: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["leave", "home"]) == 2
    assert helper.leaves == []


def test_a_change_without_an_answer_has_an_unknown_outcome(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    helper.silent = True
    began = time.monotonic()
    assert main(["peers", "disable", "laptop-ada", "--timeout", "0.3"]) == 5
    assert "may or may not" in capsys.readouterr().err
    assert main(["doctor", "--timeout", "0.3"]) == 1
    assert "did not answer in time" in capsys.readouterr().err
    assert time.monotonic() - began < 5


DIES = """
import os, sys, threading, time
from concurrent import futures
import grpc

class Dying(grpc.GenericRpcHandler):
    def service(self, call):
        def answer(request, context):
            if sys.argv[2] == "killed":
                os._exit(9)
            threading.Thread(target=lambda: server.stop(None)).start()
            while context.is_active():
                time.sleep(0.01)
        return grpc.unary_unary_rpc_method_handler(answer)

server = grpc.server(futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((Dying(),))
server.add_insecure_port("unix:" + sys.argv[1])
server.start()
print(flush=True)
server.wait_for_termination(20)
"""


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["routes", "add", "192.0.2.0/24"], 5), (["down"], 5), (["join", "mesh1-other", "--always-on"], 5),
        (["key", "show"], 3), (["doctor"], 3),
    ],
)  # fmt: skip
def test_a_helper_that_ends_in_the_middle_of_a_call(
    how: str, arguments: list[str], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows whether it was done: not the same as a helper that was never reached."""
    socket = str(tmp_path / "s")
    with subprocess.Popen([sys.executable, "-c", DIES, socket, how], stdout=subprocess.PIPE) as helper:
        assert helper.stdout is not None
        helper.stdout.readline()
        try:
            assert main(["--socket", socket, *arguments]) == status
            assert ("may or may not have been made" in capsys.readouterr().err) is (status == 5)
            helper.wait(20)
            assert main(["--socket", socket, *arguments]) == 3, "now it was never sent"
        finally:
            helper.kill()


def test_the_key_is_shown_on_a_terminal_only(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "home"]) == 0
    out = capsys.readouterr().out
    assert "meshkey1" not in out
    assert "Keep it secret" not in out
    assert "meshctl key show" in out
    assert main(["create", "home", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cluster_key"] == "meshkey1-secret"


def test_a_person_sees_the_key_and_colours(
    helper: Canned, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["create", "home"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("The cluster key lets machines join as nodes. Keep it secret:\nmeshkey1-secret\n")
    assert "\x1b[" in out
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["create", "home"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_an_invite_is_shown_again(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    helper.meshes = [local_pb2.MeshStatus(name="home", invites=[helper.open_invite])]
    assert main(["invites", "show", "4f1c"]) == 0
    assert "mesh1-" not in capsys.readouterr().out
    assert main(["invites", "show", "4f1c", "--qr"]) == 0
    assert qr_text("MESH1-ABC") in capsys.readouterr().out
    assert main(["invites", "show", "4f1c", "--qr", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["invite"]["id"], shown["text"]) == ("4f1c77aa", "mesh1-abc")
    assert main(["invites", "show", ""]) == 1


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_code_on_a_terminal_has_colours_of_its_own(
    helper: Canned, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    """In the terminal's own it would be the other way round on a light one, which many phones don't read."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    assert main(["invites", "create", "laptop-ada", "--qr"]) == 0
    out = capsys.readouterr().out
    assert in_colours(qr_text("MESH1-ABC")) in out
    assert out.count("\x1b[38;5;231;48;5;16m") == len(qr_text("MESH1-ABC").split("\n"))
    monkeypatch.setenv("TERM", "dumb")
    assert main(["invites", "create", "laptop-ada", "--qr"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_an_invite_as_a_code_and_as_text(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invites", "create", "laptop-ada", "--qr"]) == 0
    out = capsys.readouterr().out
    assert qr_text("MESH1-ABC") in out
    assert "meshctl invites show 4f1c77aa --qr" in out
    assert main(["invites", "create", "laptop-ada"]) == 0
    assert capsys.readouterr().out.endswith("meshctl join -\nmesh1-abc\n")


def _head(state: local_pb2.MeshState.ValueType, reason: str = "") -> local_pb2.WatchUpdate:
    head = local_pb2.MeshStatus(name="home", state=state, reason=reason)
    return local_pb2.WatchUpdate(snapshot=local_pb2.Status(meshes=[head]))


def test_waiting_for_a_mesh_that_is_left_meanwhile(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    removed = local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="m", removed=True)])
    helper.updates = [_head(local_pb2.CONNECTED), removed]  # and GetStatus knows none by now
    assert main(["wait", "home", "--timeout", "5"]) == 1
    assert "has left home" in capsys.readouterr().err


def test_waiting_ends_with_the_reason(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    helper.updates = [_head(local_pb2.CONNECTING, "no node answers")]
    assert main(["wait", "home", "--timeout", "0.5"]) == 1
    assert capsys.readouterr().err == (
        "meshctl: home is not connected after 0.5 s: no node answers\nfix: see `meshctl doctor`\n"
    )


def test_standard_input_that_nobody_closes(helper: Canned) -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(reading) as pipe,
        subprocess.Popen(
            [sys.executable, "-c", "from meshctl.main import run; run()", "join", "-", "--timeout", "0.5"],
            stdin=pipe,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        assert process.stderr is not None
        assert b"standard input did not end" in process.stderr.read()
    os.close(writing)
    assert process.returncode == 1


def test_wait_hears_a_difference(helper: Canned) -> None:
    helper.meshes = [local_pb2.MeshStatus(name="home", state=local_pb2.CONNECTING)]
    assert main(["wait", "home", "--timeout", "5"]) == 0


def test_invite_file(helper: Canned, tmp_path: Path) -> None:
    path = tmp_path / "ada.mesh"
    assert main(["invites", "create", "refused", "--file", str(path)]) == 1
    assert not path.exists()
    assert main(["invites", "create", "ada", "--file", str(path)]) == 0
    assert path.read_text() == "contents"
    assert path.stat().st_mode & 0o777 == 0o600
    before = helper.invites
    assert main(["invites", "create", "ada", "--file", str(path)]) == 1
    assert helper.invites == before, "an invite was made whose secret nobody has"


def _start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "from meshctl.main import run; run()", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_closed_pipe_is_quiet(helper: Canned) -> None:
    with _start("events", "--follow") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_terminal_without_shapes(helper: Canned) -> None:
    helper.meshes = [local_pb2.MeshStatus(name="home", state=local_pb2.CONNECTED)]
    with _start("status", PYTHONIOENCODING="ascii") as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert b"home  connected" in out


def test_force_says_what_may_be_lost_and_asks(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/null") as nobody, mock.patch("sys.stdin", nobody):
        assert main(["nodes", "promote", "gw-berlin", "--force"]) == 2
    said = capsys.readouterr().err
    assert "changes after 7 are lost" in said
    assert "\x1b" not in said
    for answer, status in (("n", 1), ("y", 0)):
        with mock.patch("sys.stdin.isatty", return_value=True), mock.patch("builtins.input", return_value=answer):
            assert main(["nodes", "promote", "gw-berlin", "--force"]) == status
    assert helper.forced == [False, False, False, True]
    assert main(["nodes", "promote", "gw-berlin", "--force", "--yes"]) == 0


@pytest.mark.parametrize(
    ("by", "terminal", "asks"),
    [("grace", True, True), ("grace", False, False), ("root", True, False), ("", True, False), (None, True, False)],
)
def test_another_users_connection_is_not_cut_without_asking(
    helper: Canned, capsys: pytest.CaptureFixture[str], by: str | None, terminal: bool, asks: bool
) -> None:
    """None: one's own."""
    user = pwd.getpwuid(os.getuid()).pw_name
    connected_by = user if by is None else by
    helper.meshes = [local_pb2.MeshStatus(name="home", state=local_pb2.CONNECTED, connected_by=connected_by)]
    with mock.patch("sys.stdin.isatty", return_value=terminal), mock.patch("builtins.input", return_value="n"):
        assert main(["down", "home"]) == int(asks)
    assert len(helper.disconnects) == int(not asks)
    assert ("grace connected home on this machine. Disconnect it? [y/N]" in capsys.readouterr().err) == asks
    if asks:
        with mock.patch("sys.stdin.isatty", return_value=True), mock.patch("builtins.input", return_value="y"):
            assert main(["down", "home"]) == 0


def test_a_pause_has_a_length(helper: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "home", "--for", "1h30m"]) == 0
    assert helper.disconnects[0].pause_ms == 5_400_000
    assert main(["down", "home", "--for", "soon"]) == 2
    assert "is not a duration" in capsys.readouterr().err
    assert len(helper.disconnects) == 1
