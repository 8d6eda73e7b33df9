"""meshctl starts at once because it loads only what the command needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = {
    "grpc", "google", "asyncio", "cryptography", "qrcode", "textual", "rich", "keyring", "redis", "pyroute2", "dns",
    "meshd", "importlib.metadata", "ssl", "subprocess", "tomllib",
}  # fmt: skip


def loaded(*arguments: str) -> set[str]:
    text = f"""
import os, sys
from meshctl.main import main
sys.stdout = sys.stderr = open(os.devnull, "w")
try:
    main({list(arguments)!r})
except SystemExit:
    pass
os.write(1, " ".join(sys.modules).encode())
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], ["peers", "admin", "--help"], ["--version"]])
def test_help_needs_nothing(arguments: list[str]) -> None:
    assert loaded(*arguments) & SLOW == set()


def test_a_call_needs_grpc_and_nothing_else() -> None:
    # gRPC itself loads asyncio, ssl and subprocess.
    assert loaded("--socket", "/none/meshd.sock", "status") & SLOW <= {"grpc", "google", "asyncio", "ssl", "subprocess"}
