"""The group whose members may operate the helper, and how somebody comes into it."""

from __future__ import annotations

import grp
import shlex

GROUP = "mesh"

AFTERWARDS = "then log in again"
"""A session keeps the groups that it began with."""

OTHER_ACCOUNT = f"use an account of the group {GROUP}"


def nameless(user: str) -> bool:
    """Whether it is said by its number: an account without a name can be in no group."""
    return user.startswith("uid ")


def command(user: str) -> str:
    """What has `user` in the group; "" where only logging in again is missing, or nothing can."""
    if nameless(user):
        return ""
    name = shlex.quote(user)
    try:
        members = grp.getgrnam(GROUP).gr_mem
    except KeyError:
        return f"sudo groupadd --system {GROUP} && sudo usermod -aG {GROUP} {name}"
    return "" if user in members else f"sudo usermod -aG {GROUP} {name}"


def way_in(user: str) -> str:
    """The same as a sentence."""
    if nameless(user):
        return OTHER_ACCOUNT
    what = command(user)
    return f"{what}, {AFTERWARDS}" if what else "log out and in again"
