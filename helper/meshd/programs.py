"""The command by which this distribution installs a program that meshd needs: what errors name as their fix."""

from __future__ import annotations

import shutil

SYSTEM = "/usr/bin:/bin"
FEDORA = {"redis-server": "valkey"}
"""What is called otherwise there than on Debian."""


def install(package: str, *, again: bool = False) -> str:
    """`package` by its Debian name. `again` when it is there and broken."""
    if shutil.which("dnf", path=SYSTEM) and not shutil.which("apt", path=SYSTEM):
        return f"dnf {'reinstall' if again else 'install'} {FEDORA.get(package, package)}"
    return f"apt install {'--reinstall ' if again else ''}{package}"
