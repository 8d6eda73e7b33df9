"""The settings of a mesh's private redis-server (DESIGN.md section 6), and its configuration file. Pure."""

from __future__ import annotations

import hashlib
from pathlib import Path

USER = "meshd"
"""The only account: the helper's."""

APPEND_FOLDER = "appendonlydir"
"""Where the append-only file lies, below the folder of the server: Redis' default for `appenddirname`."""

DEFAULT_USER = "user default reset off ~* &* +@all"
"""Off, so a connection without credentials can do nothing. Yet with every permission: Redis (7.0.15) loads the
append-only file as this user and checks its permissions at EXEC, so that without them each change is lost silently."""

SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "save": "",
    "auto-aof-rewrite-percentage": "0",  # helpers rewrite one voter at a time
    "repl-diskless-sync": "no",  # diskless waits 5 s, then shows the link up before the data is there
    "repl-diskless-load": "disabled",
    "replica-read-only": "yes",
    "replica-serve-stale-data": "yes",  # a parked replica is still read
    "repl-ping-replica-period": "1",  # seconds
    "repl-timeout": "10",  # seconds: ten pings
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "shutdown-timeout": "0",  # stopping doesn't wait for replicas: what counts is what voters confirmed
    "loglevel": "warning",
}
"""Every one may be set on a running server, so that an adopted one gets the settings of this version."""


def quoted(text: str) -> str:
    """A value as redis.conf takes it: in double quotes, with backslash escapes (sdssplitargs in redis' sds.c)."""
    escaped = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in text.encode()
    )
    return f'"{escaped}"'


def configuration(folder: Path, socket: Path, password: str) -> str:
    """The text of redis.conf. It holds the hash of the password only, follows nobody and opens no TCP port."""
    lines = [
        "port 0",
        f"unixsocket {quoted(str(socket))}",
        "unixsocketperm 600",
        f"dir {quoted(str(folder))}",
        f"logfile {quoted(str(folder / 'redis.log'))}",
        "daemonize no",
        "protected-mode no",  # it would look at the default user's password, and that user is off
        DEFAULT_USER,
        f"user {USER} reset on #{hashlib.sha256(password.encode()).hexdigest()} ~* &* +@all",
    ]
    lines += [f"{name} {quoted(value)}" for name, value in SETTINGS.items()]
    return "\n".join(lines) + "\n"
