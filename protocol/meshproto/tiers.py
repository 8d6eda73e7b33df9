"""Who may call what: one table, made from the option `tier` of each method in local.proto."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshproto import local_pb2

SERVICE = "meshproto.Meshd"


@dataclass(frozen=True, slots=True)
class Method:
    path: str
    tier: local_pb2.Tier.ValueType
    streams_reply: bool


def _table() -> dict[str, Method]:
    table = {}
    for method in local_pb2.DESCRIPTOR.services_by_name["Meshd"].methods:
        path = f"/{SERVICE}/{method.name}"
        tier = method.GetOptions().Extensions[local_pb2.tier]
        table[path] = Method(path, tier, bool(method.server_streaming))
    return table


METHODS: Mapping[str, Method] = _table()
"""By full path. A method without a tier is in it with TIER_UNSPECIFIED, which nobody may call."""
