"""Every default of DESIGN.md section 11, in one place."""

from __future__ import annotations

from meshproto import group

LISTEN_PORT = 10100  # UDP, WireGuard
JOIN_PORT = 9000  # TCP, join service outside the tunnel
MESH_PORT = 9001  # TCP, in-mesh gRPC, and UDP, probes; both on the overlay address
REDIS_PORT = 16379  # TCP, on the overlay address: not 6379, which an administrator's own server has
DNS_PORT = 53
MTU = 1420  # bytes: 1500 of Ethernet less 40 IPv6, 8 UDP, 32 WireGuard
DOMAIN = "wg"  # names are <member>.<mesh>.wg
GROUP = group.GROUP  # who may operate the helper besides root

COMPARE_INTERVAL = 3.0  # seconds between comparisons of the machine with the plan: repaired within 5 s
REPORT_INTERVAL = 5.0  # seconds between a peer's reports of where it may be reached
COMMIT_TIMEOUT = 5.0  # seconds for a change when the caller gives none
