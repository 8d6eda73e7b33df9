"""The cluster key on a node: follows every rotation that was committed, also one that this node was away for."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from meshproto.cluster_key import ClusterKey

from meshd.cluster.authority import CertificateAuthority, present_secret
from meshd.cluster.identity import write_private
from meshd.model.errors import MeshError, NotFound
from meshd.model.state import State

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh

log = logging.getLogger(__name__)


class ClusterKeys:
    """`follow` after each change of the state."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._sealed = b""  # the CA key as it was when we looked last
        self._generation = 0

    def present(self) -> tuple[bytes, int]:
        """The cluster secret that this node knows, and its generation. Raises NotFound on a peer."""
        secret = self._mesh.identity.cluster_secret
        if secret is None:
            raise NotFound("peers don't have the cluster key", "run it on a node", "no-key")
        return secret, self._generation

    def text(self) -> str:
        """The cluster key as people see it. Raises NotFound on a peer."""
        secret, _ = self.present()
        return ClusterKey(secret, hashlib.sha256(self._mesh.identity.ca_certificate).digest()).text()

    async def follow(self) -> None:
        """Takes the present secret over and stores it. When it can't be had, the old one stays, and people hear why."""
        mesh, state = self._mesh, self._mesh.state
        if state.settings.encrypted_ca_key == self._sealed:
            return
        try:
            secret = self._secret(state)
            if secret != mesh.identity.cluster_secret:
                await asyncio.to_thread(write_private, mesh.folder / "cluster.secret", secret)
                mesh.identity = replace(mesh.identity, cluster_secret=secret)
                log.info("%s: took the new cluster key over", mesh.name)
            self._generation = state.settings.key_generation
        except (MeshError, OSError) as error:
            log.error("%s: the cluster key: %s", mesh.name, error)
            mesh.event("alarm", f"the cluster key: {error}", severity="error")
        self._sealed = state.settings.encrypted_ca_key
        await mesh.notify()

    async def wait_for(self, generation: int, timeout: float) -> bool:
        """Whether this node took that rotation over in time."""
        loop = asyncio.get_running_loop()
        deadline, version = loop.time() + timeout, -1
        while self._generation < generation and loop.time() < deadline:
            version = await self._mesh.wait_changed(version, deadline - loop.time())
        return self._generation >= generation

    def open_authority(self, state: State) -> CertificateAuthority:
        """The CA of a state that may be newer than what is committed. Raises NotPermitted."""
        return CertificateAuthority.open(state.settings, self._secret(state))

    def _secret(self, state: State) -> bytes:
        identity = self._mesh.identity
        own = state.members.get(identity.choices.member_id)
        return present_secret(state.settings, own, identity.keys.certificate, identity.cluster_secret or b"")
