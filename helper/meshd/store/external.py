"""A Redis server that an administrator runs (`--redis URL`), for one node of one mesh alone.

It is checked before anything is written, and refused by name when it holds other data, may lose or evict what was
acknowledged, or forbids what the mesh needs. The helper changes only what replication takes, and takes it back.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import parse_qs, urlsplit

from google.protobuf.message import DecodeError
from meshproto import state_pb2

from meshd.model.errors import Conflict, Failed, InvalidInput
from meshd.store import scripts
from meshd.store.connection import Connection
from meshd.store.copy_format import CopyFormat, own_format
from meshd.store.errors import StoreFailed, StoreUnavailable
from meshd.store.replication import Replication
from meshd.store.rewrite import Need
from meshd.store.server import OnExit, StoreServer

log = logging.getLogger(__name__)

OLDEST = (7, 0)
"""Scripts without writes on a replica, and more than one setting in a CONFIG SET, came with 7.0."""

REQUIRED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
    "replica-read-only": "yes",
    "repl-diskless-load": "disabled",
}
"""Anything else loses acknowledged changes: on a crash, under memory pressure, or during a copy."""

NEEDED: tuple[tuple[str, ...], ...] = (
    ("REPLICAOF", "NO", "ONE"),
    ("CONFIG", "SET", "masteruser", ""),
    ("CONFIG", "GET", "appendonly"),
    ("ACL", "SETUSER", "repl-1"),
    ("ACL", "DELUSER", "repl-1"),
    ("INFO", "persistence"),
    ("ROLE",),
    ("BGREWRITEAOF",),
    ("EVAL", "return 1", "0"),
    ("XREAD", "STREAMS", "changes", "0-0"),
)
"""What the account must be allowed to do."""

LOOPBACK = "127.0.0.1 -::1"
"""What a server listens on that had no port: nothing as long as it has none, and nobody else when it gets one."""

URL_OPTIONS = frozenset({"db", "password", "username", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"})
"""What may stand behind the `?`; redis-py knows more, which would undo the settings of `connection.py`."""


def shown(url: str) -> str:
    """The URL without its password, for messages. Raises InvalidInput when it is no URL of a Redis server."""
    how = "write redis://:PASSWORD@HOST:PORT, rediss://… or unix:///PATH?password=PASSWORD"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidInput("the Redis URL can't be read", how) from None
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.path if parts.scheme == "unix" else host):
        raise InvalidInput("the Redis URL is not one of redis://, rediss:// and unix://", how)
    if unknown := set(parse_qs(parts.query)) - URL_OPTIONS:
        raise InvalidInput(f"the Redis URL has the option {min(unknown)!r}", f"use {', '.join(sorted(URL_OPTIONS))}")
    database = parse_qs(parts.query).get("db", [""])[0] or (parts.path.strip("/") if parts.scheme != "unix" else "")
    if database not in ("", "0"):
        raise InvalidInput(f"the Redis URL names database {database}; replicas use 0", "leave the number out")
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port or 6379}"


def _without_ours(
    bind: str, port: int, addresses: Sequence[IPv4Address | IPv6Address], our_port: int
) -> tuple[str, int]:
    """What the administrator has, when an earlier helper added our addresses and ended without taking them back. A
    server that listens on nothing but ours had no port of its own."""
    ours = set(map(str, addresses))
    words = [word for word in bind.split() if word.removeprefix("-") not in ours]
    if words or not ours.intersection(bind.split()):
        return " ".join(words), port
    return LOOPBACK, 0 if port == our_port else port


class ExternalServer(StoreServer):
    """An administrator's server. The same interface as RedisServer; it is never started, stopped or restarted."""

    def __init__(self, url: str, *, mesh_id: str, member_id: str, on_exit: OnExit) -> None:
        """`on_exit` is called with the reason when a ping finds that the server was restarted."""
        self._name = f"redis at {shown(url)}"
        self._mesh_id = mesh_id
        self._client_name = f"meshd/{member_id}"
        self._connection = Connection.to_url(url, self._name, self._client_name)
        self._on_exit = on_exit
        self._run_id = ""
        self._copy_format = CopyFormat()
        self._before: tuple[str, int] | None = None  # bind and port as the administrator has them
        self._opened: tuple[Sequence[IPv4Address | IPv6Address], int] | None = None
        self._closed_again = False  # by a restart, which forgets what we set

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def copy_format(self) -> CopyFormat:
        return self._copy_format

    async def start(self) -> None:
        """Checks the server. Raises Unavailable, Failed or Conflict with what is wrong and how to put it right."""
        try:
            info = await self._connection.info("server")
            self._check_version(info)
            await self._check_commands()
            await self._check_default_user()
            await self._check_settings()
            await self._check_keys()
            await self._check_others()
            self._copy_format = await own_format(self._connection)
        except BaseException:
            await self._connection.close()  # who was refused must not look like a user of the server
            raise
        self._run_id = info["run_id"]
        log.info("using %s", self._name)

    def _check_version(self, info: dict[str, str]) -> None:
        version = info.get("redis_version", "0.0")
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if numbers < OLDEST:
            raise Failed(f"{self._name} is version {version}", "use Redis 7.0 or newer")
        if info.get("redis_mode") != "standalone":
            raise Failed(
                f"{self._name} runs in {info.get('redis_mode')} mode, which forbids REPLICAOF",
                "use a standalone server",
            )

    async def _check_commands(self) -> None:
        """By asking, as trying REPLICAOF would interrupt a replica that works."""
        for words in NEEDED:
            command = f"{words[0]} {words[1]}" if words[0] in ("CONFIG", "ACL") else words[0]
            fix = f"allow {command} to this account, don't rename it, or leave out --redis"
            known = await self._connection.call("COMMAND", "INFO", words[0].lower())
            if not known or known[0] is None:
                raise Failed(f"{self._name} forbids {command}: no such command there", fix)
            try:
                user = await self._connection.call("ACL", "WHOAMI")
                verdict = await self._connection.call("ACL", "DRYRUN", user, *words)
            except StoreFailed as error:
                raise Failed(f"{self._name} forbids ACL: {error.message}", "allow ACL to this account") from error
            if verdict != b"OK":
                raise Failed(f"{self._name} forbids {command}: {verdict.decode(errors='replace')}", fix)

    async def _check_default_user(self) -> None:
        """Redis loads its append-only file with this user's permissions, also when the user is off; see settings.py."""
        for words in (
            ("XADD", "changes", "*", "entry", ""),
            ("HSET", "member", "", ""),
            ("XTRIM", "changes", "MAXLEN", 1),
        ):
            verdict = await self._connection.call("ACL", "DRYRUN", "default", *words)
            if verdict != b"OK":
                raise Failed(
                    f"{self._name} would lose changes when it restarts: its default user may not run {words[0]}",
                    "set `user default off ~* &* +@all` in its redis.conf: nobody can log in as it",
                )

    async def _check_settings(self) -> None:
        found = await self._connection.config(*REQUIRED)
        for name, value in REQUIRED.items():
            if found.get(name) != value:
                raise Failed(
                    f"{self._name} has {name} {found.get(name, 'hidden')}, which can lose acknowledged changes",
                    f"set `{name} {value}` in its redis.conf and restart it",
                )
        try:
            await self._connection.call("CONFIG", "SET", "appendfsync", REQUIRED["appendfsync"])
        except StoreFailed as error:
            raise Failed(f"{self._name} forbids CONFIG SET: {error.message}", "allow it to this account") from error

    async def _check_keys(self) -> None:
        """Nothing but this mesh's own data, in database 0."""
        fix = "give the mesh a Redis server of its own, or empty this one"
        for name in await self._connection.info("keyspace"):
            if name != "db0":
                raise Conflict(f"{self._name} holds foreign keys in {name}", fix)
        cursor = b"0"
        while True:
            cursor, keys = await self._connection.call("SCAN", cursor, "COUNT", 100)
            names = (key.decode(errors="replace") for key in keys)
            foreign = sorted(name for name in names if name not in scripts.ALL_KEYS)
            if foreign:
                raise Conflict(f"{self._name} holds foreign keys: {', '.join(map(repr, foreign[:3]))}", fix)
            if cursor == b"0":
                break
        try:
            stored = await self._connection.call("HGET", "settings", "")
            settings = state_pb2.MeshSettings.FromString(stored) if stored else None
        except (StoreFailed, DecodeError) as error:
            raise Conflict(f"{self._name} holds foreign data in the key 'settings'", fix) from error
        if settings is not None and settings.id != self._mesh_id:
            raise Conflict(f"{self._name} holds another mesh, {settings.name!r}", fix)

    async def _check_others(self) -> None:
        """No other node's helper is connected: two nodes on one server would be one copy counted twice."""
        text = await self._connection.call("CLIENT", "LIST", "TYPE", "normal")
        for line in text.decode(errors="replace").splitlines():
            name = dict(word.split("=", 1) for word in line.split() if "=" in word).get("name", "")
            if name.startswith("meshd/") and name != self._client_name:
                raise Conflict(
                    f"{self._name} is used by another node, {name.removeprefix('meshd/')}",
                    "give each node a Redis server of its own",
                )

    async def ping(self, timeout: float) -> None:
        """Raises StoreUnavailable without an answer. Also notices a restart, and reports it."""
        run_id = (await self._connection.info("server", timeout))["run_id"]
        before, self._run_id = self._run_id, run_id
        if before and before != run_id:
            log.error("%s was restarted", self._name)
            self._copy_format = CopyFormat()
            self._before = None
            self._closed_again = self._opened is not None
            self._on_exit(f"{self._name} was restarted")
        if self._copy_format == CopyFormat():
            self._copy_format = await own_format(self._connection)
        if self._closed_again and self._opened is not None:
            try:
                await self.open_tcp(*self._opened)
            except (Failed, StoreFailed) as error:
                log.warning("%s: %s", self._name, error)  # the next ping tries again
            else:
                self._closed_again = False

    async def open_tcp(self, addresses: Sequence[IPv4Address | IPv6Address], port: int) -> int:
        """Listens on these addresses beside its own; on its own port, and on `port` only where it has none."""
        await self._check_password()
        self._opened = addresses, port
        now = await self._connection.config("bind", "port")
        if self._before is None:
            self._before = _without_ours(now["bind"], int(now["port"]), addresses, port)
        bind, own_port = self._before
        words = bind.split() if own_port else []
        wanted = words if {"*", "0.0.0.0"} & set(words) else [*words, *map(str, addresses)]
        used = own_port or port
        unique = " ".join(dict.fromkeys(wanted))
        if (now["bind"], int(now["port"])) != (unique, used):
            try:
                await self._connection.call("CONFIG", "SET", "bind", unique, "port", used)
            except StoreFailed as error:
                raise Failed(f"{self._name} can't listen on {unique} port {used}: {error.message}") from error
        return used

    async def _check_password(self) -> None:
        """Replicas come over TCP; nobody else may do anything there."""
        user = await self._connection.call("ACL", "GETUSER", "default")
        flags = dict(zip(user[::2], user[1::2], strict=True))[b"flags"]
        if b"on" in flags and b"nopass" in flags:
            raise Failed(
                f"{self._name} lets anybody in without a password, so it can't be opened to the other nodes",
                "set `requirepass` in its redis.conf and put the password into the URL",
            )

    async def close_tcp(self) -> None:
        self._opened = None
        if self._before is None:
            return
        bind, port = self._before
        await self._connection.call("CONFIG", "SET", "bind", bind, "port", port)
        self._before = None

    async def restart(self) -> bool:
        log.warning("%s should be started again; that is the administrator's to do", self.connection.name)
        return False

    async def keep_aside(self, name: str) -> str:
        return ""  # its files belong to the administrator

    async def rewrite_need(self) -> Need:
        return Need(wanted=False, possible=False)

    async def rewrite(self) -> None:
        """Nothing: see `rewrite_need`."""

    async def detach(self) -> None:
        await self._connection.close()

    async def stop(self) -> None:
        """The server is the administrator's: it goes on."""
        await self._connection.close()

    async def erase(self) -> None:
        """Takes the mesh's data, accounts and settings out of the server. It may be gone already: then nothing."""
        with contextlib.suppress(StoreUnavailable, StoreFailed):
            replication = Replication(self._connection)
            await replication.detach()
            await replication.revoke_all()
            await self._connection.call("UNLINK", *sorted(scripts.ALL_KEYS))
            await self.close_tcp()
        await self._connection.close()
