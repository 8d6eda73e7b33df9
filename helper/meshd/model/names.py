"""Names of meshes, members and interfaces. Whatever passes here holds no control character and no markup."""

from __future__ import annotations

import re

from meshd.model.errors import InvalidInput

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""A DNS label in lower case (RFC 1035 section 2.3.1, digits first allowed by RFC 1123 section 2.1)."""

LONGEST_NAME = 253
"""Characters of a name without the final dot: 255 octets on the wire (RFC 1035 section 2.3.4)."""

INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", re.ASCII)
"""At most 15 characters: IFNAMSIZ in linux/if.h is 16 with the closing zero."""


def check_label(name: str, what: str) -> str:
    """Returns the name, or raises InvalidInput. `what` is "member name", "mesh name" …"""
    if not LABEL.fullmatch(name):
        raise InvalidInput(
            f"{name!r} can't be a {what}",
            "use 1 to 63 lower-case letters, digits and hyphens, with no hyphen at the ends",
        )
    return name


def check_domain(name: str) -> str:
    """Returns the domain or host name as it must stand (lower case, no final dot), or raises InvalidInput."""
    for label in name.split("."):
        check_label(label, "DNS domain")
    if len(name) > LONGEST_NAME:
        raise InvalidInput(f"the name {name[:40]}… is too long", f"use at most {LONGEST_NAME} characters")
    return name


def check_interface(name: str) -> str:
    """Returns the interface name, or raises InvalidInput."""
    if not INTERFACE.fullmatch(name) or name in {"lo", "all", "default"}:
        raise InvalidInput(f"{name!r} can't be an interface name", "use 1 to 15 letters, digits, '-', '_' and '.'")
    return name


def label_from_host(host: str) -> str:
    """The member name that a host name suggests: its first label in lower case, other characters as hyphens."""
    label = re.sub(r"[^a-z0-9-]+", "-", host.split(".")[0].lower()).strip("-")[:63].strip("-")
    return label or "host"


def default_interface(mesh: str, taken: frozenset[str]) -> str:
    """The mesh name cut to 15 characters, with `wg-` in front where that name is taken on this machine."""
    name = mesh[:15].strip("-")
    if name not in taken and name not in {"lo", "all", "default"}:
        return name
    return f"wg-{mesh}"[:15].strip("-")
