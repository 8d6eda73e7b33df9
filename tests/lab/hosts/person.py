"""A person on a host: an account without root, in group mesh, and a desktop's session with bus and keyring."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from lab.hosts.host import BIN, CommandFailed, Host, wait_until

UID = 4000

ENTRY = """
import keyring, sys
found = keyring.get_password("meshtui", sys.argv[1])
print(found or "none")
"""


class Person:
    """Ada, unless named. `bus_config` is for a bus that lets others look at it, too; without, it is as a session's."""

    def __init__(self, host: Host, bus_config: str = "", name: str = "ada", uid: int = UID) -> None:
        self.host = host
        self.name = name
        self.uid = uid
        self.home = Path(tempfile.mkdtemp(prefix=f"meshlab-{name}-"))
        os.chown(self.home, uid, uid)
        self.bus = self.home / "bus"
        self._bus_config = bus_config
        self.session: subprocess.Popen[bytes] | None = None

    def log_in(self) -> None:
        """After each boot: the account (its /etc is new each time), a session bus, an unlocked keyring."""
        self.host.run(f"groupadd -f mesh; useradd -u {self.uid} -G mesh -d {self.home} {self.name}")
        self.bus.unlink(missing_ok=True)
        nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        config = self.home / "bus.conf"
        config.write_text(self._bus_config)
        kind = f"--config-file={config}" if self._bus_config else "--session"
        self.session = self.host.popen(
            [*self.prefix(), "dbus-daemon", kind, "--nofork", f"--address=unix:path={self.bus}"], **nowhere
        )
        wait_until(self.bus.exists, 10, "the session bus")
        daemon = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
        keyring = self.host.popen([*self.prefix(), *daemon], **{**nowhere, "stdin": subprocess.PIPE})
        assert keyring.stdin is not None
        keyring.stdin.write(b"a password")
        keyring.stdin.close()
        wait_until(lambda: self.entry("nothing") == "none", 20, "the keyring")

    def prefix(self, session: bool = True) -> list[str]:
        """What stands before a command of theirs, in their session or outside of it."""
        folder = self.home if session else "/nowhere"
        return [
            "setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--init-groups",
            "env", "-u", "PYTHON_KEYRING_BACKEND", f"HOME={self.home}", f"XDG_RUNTIME_DIR={folder}",
            f"USER={self.name}", f"LOGNAME={self.name}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={folder}/bus",
        ]  # fmt: skip

    def run(self, *command: str, session: bool = True, input: str = "") -> subprocess.CompletedProcess[str]:
        return self.host.run([*self.prefix(session), *command], check=False, input=input)

    def meshctl(self, *arguments: str, input: str = "") -> Any:
        done = self.run(str(BIN / "meshctl"), "--json", *arguments, input=input)
        if done.returncode != 0:
            raise CommandFailed(f"meshctl {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def entry(self, name: str) -> str:
        """What the keyring itself has under that name; "none" for nothing, "" when it can't be asked."""
        return self.run(str(BIN / "python"), "-c", ENTRY, name).stdout.strip()

    def start_tray(self, *options: str, terminal: str = "", log: str = "tray.log") -> subprocess.Popen[bytes]:
        chosen = [f"TERMINAL={terminal}"] if terminal else []
        return self.host.record([*self.prefix(), *chosen, str(BIN / "meshtray"), "--debug", *options], log)

    def forget(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
