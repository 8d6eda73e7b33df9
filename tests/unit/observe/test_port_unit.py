"""Who has a port, as far as the kernel tells it of programs that may not be looked into."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from meshd.observe import port_unit
from meshd.observe.port_unit import unit_of

HOLD = """
import os, socket, sys
open(sys.argv[1], "w").write(str(os.getpid()))
open("/proc/self/comm", "w").write(sys.argv[3])
one = socket.socket(socket.AF_INET, getattr(socket, sys.argv[2]))
one.bind(("127.0.0.1", 0))
if sys.argv[2] == "SOCK_STREAM":
    one.listen()
print(one.getsockname()[1], os.fstat(one.fileno()).st_ino, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A control group of version 2."""
    top = tmp_path / "cgroup"
    top.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", top], check=True)
    name = f"meshtui-test-{os.getpid()}.service"
    try:
        (top / name).mkdir()
        monkeypatch.setattr(port_unit, "CGROUPS", (tmp_path / "none", top))
        yield top / name
        (top / name).rmdir()
    finally:
        subprocess.run(["umount", top], check=True)


@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_STREAM"])
def test_a_sockets_unit_names_its_program(unit: Path, kind: str) -> None:
    words = [sys.executable, "-c", HOLD, unit / "cgroup.procs", kind, "squatter"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **pipes) as first:  # type: ignore[call-overload]
        port, inode = first.stdout.readline().split()
        with subprocess.Popen(words, **pipes) as second:  # type: ignore[call-overload]
            second.stdout.readline()
            asked = {inode}, int(port), getattr(socket, kind)
            assert unit_of(*asked) == f"squatter (pid {first.pid})", "the first of several with one name"
            assert unit_of({"1"}, int(port), getattr(socket, kind)) == "", "not that socket"
            second.stdin.close()
        with subprocess.Popen([*words[:-1], "another"], **pipes) as other:  # type: ignore[call-overload]
            other.stdout.readline()
            assert unit_of(*asked) == f"a program of {unit.name}"
            other.stdin.close()
        first.stdin.close()
    assert unit_of({inode}, int(port), getattr(socket, kind)) == "", "it has ended"


def test_a_socket_in_no_unit_names_nobody(unit: Path) -> None:
    """The top of all control groups has the id 1, and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        inode, port = str(os.fstat(plain.fileno()).st_ino), plain.getsockname()[1]
        own = next(one for one in Path("/proc/self/cgroup").read_text().splitlines() if one.startswith("0::"))
        said = unit_of({inode}, port, socket.SOCK_DGRAM)
        assert (said == "") == (own == "0::/"), said
