"""The dialogs in a real terminal: joining asks first, by mesh and node; a code for a phone."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from meshproto.invite import Invite, InviteNode
from meshproto.keys import PrivateKey
from tray.desktop import BIN, Desktop
from tui.recorded_meshd import RecordedMeshd


def invite(lasts_s: int = 3600) -> Invite:
    node = InviteNode(
        IPv4Address("10.11.0.1"), IPv6Address("fd4b::1"), PrivateKey.from_random(os.urandom(32)).public,
        ("198.51.100.7:10100", "gw-berlin.example:10100"),
    )  # fmt: skip
    return Invite(
        id="4f1cab90", mesh_id="9e91c0de-0000-4000-8000-000000000001", mesh_name="home", nodes=(node,),
        temporary_key=PrivateKey.from_random(os.urandom(32)), temporary_ipv4=IPv4Address("10.51.255.1"),
        temporary_ipv6=IPv6Address("fd4b::ffff"), ca_fingerprint=bytes(32),
        expires_ms=int(time.time() + lasts_s) * 1000, member="laptop-ada",
    )  # fmt: skip


class Terminal:
    """A dialog on a pseudo-terminal."""

    def __init__(self, desktop: Desktop, document: object) -> None:
        self.file = desktop.folder / "one.dialog"
        self.file.write_text(json.dumps(document))
        self.file.chmod(0o666)
        self._master, slave = pty.openpty()
        self.said = ""
        self._process = subprocess.Popen(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(BIN / "python"), "-I", "-m",
             "meshtray", "--dialog", str(self.file)],
            env={**desktop.environment(), "MESHD_SOCKET": str(desktop.socket), "PYTHON_KEYRING_BACKEND": ""},
            stdin=slave, stdout=slave, stderr=slave, cwd="/", start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def until(self, text: str, limit: float = 20) -> str:
        deadline = time.monotonic() + limit
        while text not in self.said:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {text!r} in\n{self.said}")
            if select.select([self._master], [], [], left)[0]:
                try:
                    self.said += os.read(self._master, 65536).decode(errors="replace")
                except OSError as error:  # EIO: it ended
                    assert text in self.said, self.said
                    raise AssertionError(self.said) from error
        return self.said

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        self.type("\n")
        status = self._process.wait(20)
        os.close(self._master)
        return status


def test_a_join_names_mesh_and_node_and_does_nothing_without_a_yes(desktop: Desktop, meshd: RecordedMeshd) -> None:
    terminal = Terminal(desktop, {"kind": "join", "what": invite().to_uri()})
    said = terminal.until("Join? [y/N]")
    assert "Join the mesh home?" in said
    assert "198.51.100.7:10100, gw-berlin.example:10100" in said
    assert "laptop-ada" in said
    assert not terminal.file.exists()  # it held a secret
    assert meshd.calls == []
    terminal.type("n\n")
    terminal.until("Nothing was done.")
    assert terminal.end() == 0
    assert meshd.calls == []


def test_an_invite_with_many_nodes_can_not_push_the_mesh_out_of_sight(desktop: Desktop, meshd: RecordedMeshd) -> None:
    one = invite()
    (node,) = one.nodes
    crowd = replace(node, endpoints=tuple(f"198.51.100.{number}:10100" for number in range(16)))
    terminal = Terminal(desktop, {"kind": "join", "what": replace(one, nodes=(crowd,) * 32).to_uri()})
    said = terminal.until("Join? [y/N]")
    assert "and 28 more" in said
    assert len(said.splitlines()) < 24
    assert max(map(len, said.splitlines())) < 100
    terminal.type("n\n")
    terminal.until("Nothing was done.")
    assert terminal.end() == 0


def test_a_file_that_is_named_by_hand_is_joined_by_meshctl(desktop: Desktop, meshd: RecordedMeshd) -> None:
    file = desktop.folder / "home.mesh"
    file.write_text(invite().to_file())
    terminal = Terminal(desktop, {"kind": "join", "what": ""})
    terminal.until("> ")
    terminal.type(f"{file}\n")
    terminal.until("Join? [y/N]")
    terminal.type("y\n")
    # This desktop has no keyring: meshctl says so, and what else there is.
    terminal.until("keyring")
    terminal.until("Press Enter")
    assert terminal.end() != 0


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("", "that is no invite"),
        ("hello", "that is no invite"),
        ("mesh1-aaaa", "invite"),
        ("meshkey1-abc-def", "that is a cluster key"),
        (invite(-5).to_text(), "the invite has expired"),
    ],
)
def test_what_is_no_invite(desktop: Desktop, what: str, why: str) -> None:
    terminal = Terminal(desktop, {"kind": "join", "what": what})
    if not what:
        terminal.until("> ")
        terminal.type("nothing\n")
    terminal.until(why)
    terminal.until("Press Enter")
    assert terminal.end() == 1


def test_a_code(desktop: Desktop) -> None:
    terminal = Terminal(
        desktop, {"kind": "code", "title": "An invite to home", "text": "Keep it.", "secret": "mesh1-abc"}
    )
    terminal.resize(24, 80)
    said = terminal.until("▀")
    assert "\x1b[38;5;231;48;5;16m" in said  # whatever the terminal's own colours are
    assert terminal.end() == 0


def test_a_code_that_does_not_fit_says_so_and_is_shown_once_it_does(desktop: Desktop) -> None:
    terminal = Terminal(
        desktop, {"kind": "code", "title": "An invite to home", "text": "Keep it.", "secret": invite().to_text()}
    )
    terminal.resize(24, 80)
    said = terminal.until("The code needs 61 columns and 35 lines: make this window larger")
    assert "▀" not in said
    terminal.resize(35, 61)
    terminal.until("▀")
    assert terminal.end() == 0


def test_a_dialog_is_shown_once(desktop: Desktop) -> None:
    terminal = Terminal(desktop, {"kind": "nothing"})
    terminal.until("was shown already")
    assert terminal.end() == 1
