"""What a failed call of the local socket means to a person."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from meshproto import local_pb2
from meshproto.client import HelperError, barred, connect, error_of


class Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str = "", metadata: tuple[tuple[str, Any], ...] = ()) -> None:
        self._facts = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._facts[0]

    def details(self) -> str:
        return self._facts[1]

    def trailing_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self._facts[2]


SOCKET = Path("/run/meshd/meshd.sock")


@pytest.mark.parametrize(
    ("failure", "code", "status"),
    [
        (Failure(grpc.StatusCode.NOT_FOUND, "no", (("mesh-code", "not-found"),)), "not-found", 1),
        (Failure(grpc.StatusCode.INVALID_ARGUMENT, "no", (("mesh-code", "invalid"),)), "invalid", 2),
        (Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed"), "helper-unreachable", 3),
        (Failure(grpc.StatusCode.PERMISSION_DENIED, "no", (("mesh-code", "not-permitted"),)), "not-permitted", 4),
        (Failure(grpc.StatusCode.ABORTED, "no", (("mesh-code", "outcome-unknown"),)), "outcome-unknown", 5),
        (Failure(grpc.StatusCode.DEADLINE_EXCEEDED), "timeout", 1),
        (Failure(grpc.StatusCode.INTERNAL, "broken"), "failed", 1),
        (Failure(grpc.StatusCode.UNAVAILABLE, "no majority", (("mesh-code", "unavailable"),)), "unavailable", 1),
    ],
)
def test_code_and_exit_status(failure: Failure, code: str, status: int) -> None:
    error = error_of(failure, SOCKET)
    assert (error.code, error.exit_status) == (code, status)
    assert error.message


@pytest.mark.parametrize(
    ("failure", "method", "code"),
    [
        (Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed"), "RenameMember", "outcome-unknown"),
        (Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed"), "ShowKey", "helper-unreachable"),
        (Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed"), "Watch", "helper-unreachable"),
        (Failure(grpc.StatusCode.CANCELLED), "RemoveMember", "outcome-unknown"),
        (Failure(grpc.StatusCode.DEADLINE_EXCEEDED), "Connect", "outcome-unknown"),
        (Failure(grpc.StatusCode.UNKNOWN, "Unexpected"), "AddRoute", "outcome-unknown"),
        (Failure(grpc.StatusCode.UNIMPLEMENTED), "AddRoute", "failed"),
        (
            Failure(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: …"),
            "RenameMember",
            "helper-unreachable",
        ),
        (
            Failure(grpc.StatusCode.UNAVAILABLE, "no majority", (("mesh-code", "unavailable"),)),
            "AddRoute",
            "unavailable",
        ),
    ],
)
def test_what_was_sent_and_changes_something_may_be_done(failure: Failure, method: str, code: str) -> None:
    assert error_of(failure, SOCKET, method).code == code


def test_the_fix_arrives_in_any_language() -> None:
    metadata = (("mesh-code", "conflict"), ("mesh-fix-bin", "wähle ●".encode()))
    assert error_of(Failure(grpc.StatusCode.ABORTED, "no", metadata), SOCKET).fix == "wähle ●"
    damaged = (("mesh-code", "conflict"), ("mesh-fix-bin", b"\xff"))
    assert error_of(Failure(grpc.StatusCode.ABORTED, "no", damaged), SOCKET).fix == "\ufffd"


def test_nobody_there_names_the_socket(tmp_path: Path) -> None:
    channel, stub = connect(tmp_path / "none.sock")
    with channel, pytest.raises(grpc.RpcError) as caught:
        stub.GetStatus(local_pb2.GetStatusRequest(), timeout=5)
    error = error_of(caught.value, tmp_path / "none.sock")
    assert isinstance(error, HelperError)
    assert (error.code, error.exit_status) == ("helper-unreachable", 3)
    assert str(tmp_path / "none.sock") in error.message


@pytest.mark.parametrize(
    ("closed", "fix"),
    [
        ("run/meshd.sock", "sudo chmod a+rw {}/run/meshd.sock"),
        ("run", "sudo chmod a+x {}/run"),
        ("", "use an account that may enter {}"),
        ("elsewhere", ""),
    ],
)
def test_who_may_not_open_the_socket_is_told_what_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str, fix: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "meshd.sock").touch()
    socket = tmp_path / "run" / "meshd.sock"
    monkeypatch.setattr("os.access", lambda path, mode: mode == os.F_OK or Path(path) != tmp_path / closed)
    assert barred(socket) == fix.format(tmp_path)
    error = error_of(Failure(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses"), socket)
    assert (error.code, error.exit_status) == ("helper-unreachable", 3)
    assert error.fix == (fix.format(tmp_path) or "sudo systemctl start meshd")
    assert ("may not open" in error.message) == bool(fix)


def test_nothing_bars_from_a_socket_that_is_not_there(tmp_path: Path) -> None:
    assert barred(tmp_path / "none" / "meshd.sock") == ""


def test_the_root_folder_is_no_socket() -> None:
    assert barred(Path("/")) == ""
