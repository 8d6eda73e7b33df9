"""Connections to one Redis: commands with raw replies, no retries, and errors of this package. Imports redis-py.

A command is sent once. redis-py's clients retry ten times by default, which writes a change twice when only its answer
was lost; so its connections are used here, and its clients are not.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from redis import exceptions
from redis.asyncio.connection import ConnectionPool, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from meshd.store.errors import StoreFailed, StoreUnavailable

COMMAND_TIMEOUT = 5.0
"""Seconds. Far above any command here on a healthy disk; callers with less patience cancel."""

CONNECTIONS = 64
"""At most this many commands at once; each caller beyond that is told that the store is unavailable."""

Word = str | bytes | int


OPTIONS: dict[str, Any] = {
    "retry": Retry(NoBackoff(), 0),
    "protocol": 2,
    # `call` has a time-out around everything. redis-py's own one sends through asyncio.wait_for, which in Python 3.11
    # may swallow a cancellation.
    "socket_connect_timeout": None,
    "socket_timeout": None,
    "max_connections": CONNECTIONS,
}


class Connection:
    """A pool of connections to one Redis."""

    def __init__(self, pool: ConnectionPool, name: str) -> None:
        self._pool = pool
        self._name = name

    @classmethod
    def to_socket(cls, socket: Path, user: str, password: str) -> Connection:
        """To a server's Unix socket."""
        pool = ConnectionPool(
            connection_class=UnixDomainSocketConnection, path=str(socket), username=user, password=password, **OPTIONS
        )
        return cls(pool, f"redis at {socket}")

    @classmethod
    def to_url(cls, url: str, name: str, client_name: str | None = None) -> Connection:
        """To `redis://`, `rediss://` or `unix://`; `name` stands for it in messages, as the URL may hold a password."""
        return cls(ConnectionPool.from_url(url, client_name=client_name, **OPTIONS), name)

    @property
    def name(self) -> str:
        """What to call this Redis in messages; holds no secret."""
        return self._name

    async def call(self, *words: Word, timeout: float = COMMAND_TIMEOUT) -> Any:
        """Sends one command and returns its reply: bytes, int, None, or a list of these.

        Raises StoreUnavailable (not reached, no answer in `timeout` seconds, loading) and StoreFailed (error reply).
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(words)
        except exceptions.BusyLoadingError:
            raise StoreUnavailable(f"{self._name} is loading its data", "wait a moment") from None
        except exceptions.AuthenticationError as error:
            raise StoreFailed(f"{self._name} refused the login: {error}") from error
        except (exceptions.ResponseError, exceptions.DataError) as error:
            raise StoreFailed(f"{self._name} refused {words[0]!s}: {error}") from error
        except TimeoutError:
            raise StoreUnavailable(f"{self._name} gave no answer to {words[0]!s} in {timeout:g} s") from None
        except (exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(f"{self._name} can't be reached: {error}") from error

    async def _exchange(self, words: tuple[Word, ...]) -> Any:
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's decorator
        try:
            await connection.send_command(*words)
            return await connection.read_response()
        except exceptions.ResponseError as error:
            if "UNBLOCKED" in str(error):  # the server becomes a replica, and closes the connection after that answer
                await connection.disconnect(nowait=True)
            raise
        except BaseException:
            await connection.disconnect(nowait=True)  # an answer may still be on its way: nobody else may read it
            raise
        finally:
            await self._pool.release(connection)

    async def script(self, text: str, keys: list[Word], arguments: list[Word], timeout: float = COMMAND_TIMEOUT) -> Any:
        """Runs a Lua script. EVAL and not EVALSHA: the text is short, and a restarted server has forgotten it."""
        return await self.call("EVAL", text, len(keys), *keys, *arguments, timeout=timeout)

    async def info(self, section: str, timeout: float = COMMAND_TIMEOUT) -> dict[str, str]:
        """One section of INFO."""
        return parse_info(await self.call("INFO", section, timeout=timeout))

    async def config(self, *names: str) -> dict[str, str]:
        """The values of settings."""
        flat = await self.call("CONFIG", "GET", *names)
        words = [word.decode(errors="replace") for word in flat]
        return dict(zip(words[::2], words[1::2], strict=True))

    async def close(self) -> None:
        """Closes every connection; commands that are under way fail."""
        await self._pool.disconnect()


def parse_info(reply: bytes) -> dict[str, str]:
    """Reads INFO's `name:value` lines."""
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
