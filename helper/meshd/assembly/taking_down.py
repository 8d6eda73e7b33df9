"""`meshd --take-down`: ends what a stopped helper left running. Packages call it when they are removed."""

from __future__ import annotations

import asyncio
import logging
import os

from meshd.assembly.daemon import lock_run_dir
from meshd.assembly.host_names import HostNames
from meshd.cluster.identity import list_identities
from meshd.dataplane.apply import HostNetwork
from meshd.dataplane.wireguard.choice import ChosenBackend
from meshd.dataplane.wireguard.kernel import KernelBackend
from meshd.dataplane.wireguard.userspace import UserspaceBackend
from meshd.settings import Settings
from meshd.store import process
from meshd.store.server import RedisServer, socket_path

log = logging.getLogger(__name__)


async def take_down(settings: Settings) -> None:
    """Removes interfaces, routes, rules, sysctls and names of every mesh, and ends its Redis. Identities and data stay:
    the next start brings all back. Raises MeshError, Failed when a helper is running."""
    lock = lock_run_dir(settings.run_dir)
    backend = ChosenBackend(settings.backend, KernelBackend(), UserspaceBackend(settings.run_dir / "wireguard"))
    try:
        await backend.choose_again()
        for interface in await HostNetwork(backend, settings.state_dir).remove_all_but_identity():
            log.info("%s is removed", interface)
        for folder in await asyncio.to_thread(list_identities, settings.state_dir):
            await HostNames(folder.name, False, log.error).remove()
            redis = folder / "redis"
            if await asyncio.to_thread(redis.is_dir):
                free = process.take_lock(redis / "server.lock")
                if free is not None:
                    os.close(free)
                    continue
                server = RedisServer(redis, socket_path(settings.run_dir, folder.name), on_exit=log.warning)
                await server.start()
                await server.stop()
                log.info("redis-server of %s is stopped", folder.name)
    finally:
        await backend.close()
        os.close(lock)
