"""The group whose members may operate the helper, and how somebody comes into it."""

from __future__ import annotations

import grp

GROUP = "mesh"

AFTERWARDS = "then log in again"
"""A session keeps the groups that it began with."""


def command(user: str) -> str:
    """What has `user` in the group; "" where only logging in again is missing."""
    try:
        members = grp.getgrnam(GROUP).gr_mem
    except KeyError:
        return f"sudo groupadd --system {GROUP} && sudo usermod -aG {GROUP} {user}"
    return "" if user in members else f"sudo usermod -aG {GROUP} {user}"


def way_in(user: str) -> str:
    """The same as a sentence."""
    what = command(user)
    return f"{what}, {AFTERWARDS}" if what else "log out and in again"
