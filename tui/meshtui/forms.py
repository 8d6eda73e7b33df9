"""What the forms ask, and what is wrong with an answer while it is typed. Pure; the helper checks everything again.

A judge takes the values by name and gives (what is wrong or "", what is good to know).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from meshproto.durations import format_duration, format_left, parse_duration_ms
from meshproto.format_error import FormatError
from meshproto.networks import UNREADABLE, parse_route
from meshproto.plain_text import plain

from meshtui.screens.form_screen import Field

Verdict = tuple[str, str]
Values = Mapping[str, str]

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label, RFC 1123 section 2.1."""
HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9_.-]{1,253})|\[(?P<six>[0-9a-fA-F:.]{2,45})\])(?::(?P<port>[0-9]{1,5}))?")
LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
"""Of the name of a host: some have underscores."""
MOST_USES = 10_000
LONGEST_MS = 366 * 24 * 3600 * 1000
"""Of an invite, and of how long its members may be offline. Both are meshd's: model/changes/invites.py."""
NO_YES = ("no", "yes")
KEYRING = "keyring"
ROLE_NODE = 1
"""Of state.proto, which is not imported for it."""


def name_objection(name: str, taken: Collection[str] = ()) -> str:
    if not NAME.fullmatch(name):
        return "A name is 1 to 63 of a–z, 0–9 and -, which neither begins nor ends it."
    return f"{name} is taken by another member." if name in taken else ""


def is_host(text: str) -> bool:
    """`gw.example.org`, `198.51.100.7:10100`, `[2001:db8::7]:10100` or `2001:db8::7`."""
    found = HOST.fullmatch(text)
    six = text if found is None else found["six"]
    if six is not None and not _is_address(six):
        return False
    if found is None:
        return True
    if found["port"] is not None and not 0 < int(found["port"]) < 65536:
        return False
    if six is not None:
        return True
    labels = found["name"].removesuffix(".").split(".")
    if labels[-1].isdecimal():  # no name ends so
        return _is_address(found["name"])
    return all(LABEL.fullmatch(label) for label in labels)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


# --- a new name -------------------------------------------------------------------------------------------------------


def rename_fields(name: str) -> list[Field]:
    return [Field("name", "Name", name, longest=63)]


def judge_rename(values: Values, old: str, taken: Collection[str]) -> Verdict:
    name = values["name"]
    return name_objection(name, [one for one in taken if one != old]), ""


# --- an invite --------------------------------------------------------------------------------------------------------


def invite_fields() -> list[Field]:
    return [
        Field("member", "Name", hint="whoever joins chooses", longest=63),
        Field("role", "Joins as", "peer", choices=("peer", "node")),
        Field("expires", "Lasts", "14d", hint="30m, 2h, 14d", longest=20),
        Field("uses", "Machines", "1", longest=5),
        Field("ephemeral", "Stays", hint="for good; or 1h: until offline for that long", longest=20),
        Field("admin", "Admin", "no", choices=NO_YES),
    ]


def judge_invite(values: Values, taken: Collection[str]) -> Verdict:
    wrong = _invite_objection(values, taken)
    if wrong:
        return wrong, ""
    who = values["member"] or ("a machine" if values["uses"] == "1" else f"{int(values['uses'])} machines")
    lasts = format_duration(parse_duration_ms(values["expires"]))
    rights = ", which may change the mesh" if values["admin"] == "yes" else ""
    return "", f"Lets {who} join as {values['role']}{rights}, for {lasts} from now."


def _invite_objection(values: Values, taken: Collection[str]) -> str:
    if values["member"] and (wrong := name_objection(values["member"], taken)):
        return wrong
    if not values["uses"].isdecimal() or not 0 < int(values["uses"]) <= MOST_USES:
        return f"An invite is for 1 to {MOST_USES} machines."
    if values["member"] and int(values["uses"]) > 1:
        return "An invite for several machines can't name one: leave the name out."
    if values["role"] == "node" and values["admin"] == "yes":
        return "A node may change everything anyway: no admin."
    for name in ("expires", "ephemeral"):
        if values[name] or name == "expires":
            try:
                good = parse_duration_ms(values[name]) <= LONGEST_MS
            except FormatError:
                good = False
            if not good:
                return f"A time is written 30m, 2h or 14d, and is at most {format_duration(LONGEST_MS)}."
    return ""


# --- a route ----------------------------------------------------------------------------------------------------------


def route_fields(nodes: Sequence[str], node: str) -> list[Field]:
    return [
        Field("cidr", "Subnet", hint="for example 203.0.113.0/24", longest=43),
        Field("node", "Behind", node, hint=", ".join(nodes), suggestions=nodes, longest=63),
    ]


def judge_route(values: Values, nodes: Collection[str]) -> Verdict:
    try:
        network = parse_route(values["cidr"])
    except FormatError as error:
        if error.code == UNREADABLE:  # or not typed to its end
            return "A subnet is written 203.0.113.0/24 or 2001:db8:7::/48.", ""
        return _sentences(error), ""
    if values["node"] not in nodes:
        return f"Behind which node? {', '.join(nodes)}", ""
    return "", f"Every member reaches {network} through {values['node']}."


def _sentences(error: FormatError) -> str:
    """What is wrong, and what to do."""
    return " ".join(
        f"{text[:1].upper()}{text[1:].rstrip('.?')}{'?' if text.endswith('?') else '.'}"
        for text in (error.message, error.fix)
        if text
    )


def node_choice(nodes: Sequence[str]) -> Field:
    return Field("node", "At", nodes[0], choices=nodes)


# --- a drawing --------------------------------------------------------------------------------------------------------

ENDINGS = {".svg": "svg", ".dot": "dot", ".mmd": "mermaid", ".txt": "text"}


def export_fields(mesh: str) -> list[Field]:
    return [Field("file", "File", f"{mesh}.svg", hint="its ending says the format", longest=500)]


def judge_export(values: Values) -> Verdict:
    path = drawing_path(values["file"])
    if path.parts[:1] and path.parts[0].startswith("~"):
        return f"Nobody here has a home {path.parts[0]}: write the whole path.", ""
    if path.suffix not in ENDINGS:
        return f"The ending says the format: {', '.join(ENDINGS)}.", ""
    try:
        path.lstat()
    except FileNotFoundError:
        return ("", f"Writes {path.absolute()}") if path.parent.is_dir() else (f"There is no folder {path.parent}.", "")
    except (OSError, ValueError) as error:
        return f"{path} can't be written: {getattr(error, 'strerror', None) or error}.", ""
    return f"{path} exists already.", ""


def drawing_path(text: str) -> Path:
    """`~` and `~name` are homes; of a name that nobody has, it stays as it is."""
    return Path(os.path.expanduser(text))


# --- meshes -----------------------------------------------------------------------------------------------------------


def mesh_fields(host: str) -> list[Field]:
    return [
        Field("name", "Mesh", hint="for example home", longest=63),
        Field("member_name", "This machine", hint=f"{host}, or another name", longest=63),
        Field("endpoint", "Endpoint", hint="found out; or HOST[:PORT] where others reach it", longest=253),
    ]


def judge_mesh(values: Values, meshes: Collection[str]) -> Verdict:
    name = values["name"]
    if not NAME.fullmatch(name):
        return "The mesh's name is 1 to 63 of a–z, 0–9 and -, which neither begins nor ends it.", ""
    if name in meshes:
        return f"This machine is in a mesh named {name} already.", ""
    if values["member_name"] and (wrong := name_objection(values["member_name"])):
        return wrong, ""
    if values["endpoint"] and not is_host(values["endpoint"]):
        return "An endpoint is written gw.example.org or 198.51.100.7:10100.", ""
    return "", f"Begins {name} on this machine, its first node; names end in .{name}.wg."


def join_fields(host: str) -> list[Field]:
    return [
        Field("what", "Invite or key", hint="paste it here", longest=65536, hidden=True),
        Field("hosts", "Through", hint="a node's address: with a key, or to ask there", longest=500),
        Field("member_name", "This machine", hint=f"{host}, or another name", longest=63),
        Field("keys", "Keys", KEYRING, choices=(KEYRING, "file")),
    ]


def judge_join(values: Values, now_ms: int) -> Verdict:
    # Not before somebody joins: these take a while, and the first frame waits for what this module imports.
    from meshproto.cluster_key import ClusterKey, is_cluster_key
    from meshproto.invite import is_invite, parse_invite

    what, hosts = values["what"], values["hosts"].split()
    if any(not is_host(host) for host in hosts):
        return "Through: addresses or names of nodes, with spaces between.", ""
    if values["member_name"] and (wrong := name_objection(values["member_name"])):
        return wrong, ""
    if not what and not hosts:
        return "Paste an invite (mesh1-…) or a cluster key (meshkey1-…); or name a node to ask there.", ""
    if not what:
        return "", f"Asks {hosts[0]} to let this machine in as a peer. People there decide.\n{_keys(values)}"
    try:
        if is_cluster_key(what):
            ClusterKey.parse(what)
            if not hosts:
                return "With a cluster key: through which node? Its address or name.", ""
            return "", f"A cluster key: this machine becomes a node, through {hosts[0]}."
        if not is_invite(what):
            return "That is neither an invite (mesh1-…) nor a cluster key (meshkey1-…).", ""
        invite = parse_invite(what)
    except FormatError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}.", ""
    if invite.expired(now_ms):
        return "The invite has expired: ask for a new one.", ""
    who = f" as {plain(invite.member)}" if invite.member else ""
    left = format_left(invite.expires_ms - now_ms)
    if invite.role == ROLE_NODE:
        keys = "This machine becomes a node, and connects whenever it starts."
    else:
        keys = _keys(values)
    return "", f"An invite to {plain(invite.mesh_name)}{who}, good for {left}.\n{keys}"


def _keys(values: Values) -> str:
    """Where those of a peer go."""
    if values["keys"] == KEYRING:
        return "The keys go into your keyring: this machine connects when you say so."
    return "The keys go into a file that only root reads: this machine connects whenever it starts."
