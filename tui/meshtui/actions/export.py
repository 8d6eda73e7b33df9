"""A drawing of the mesh into a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meshtui import forms, model
from meshtui.actions.dialogue import Dialogue
from meshtui.connection import Refused

if TYPE_CHECKING:
    from meshproto.graph import Graph, Place


def graph_of(mesh: model.Mesh) -> Graph:
    from meshproto.graph import Graph

    routes = [(route.cidr, route.chosen) for route in mesh.routes]
    return Graph(mesh.name, tuple(_place(one, routes) for one in mesh.members.values()))


def _place(one: model.Member, routes: list[tuple[str, str]]) -> Place:
    from meshproto.graph import Place, Reach, with_networks

    if one.is_self:
        reach = Reach.HERE
    elif not one.enabled:
        reach = Reach.DISABLED
    elif not one.online or one.path is model.Path.NONE:
        reach = Reach.OFFLINE
    else:
        reach = Reach.RELAYED if one.path is model.Path.RELAYED else Reach.DIRECT
    latency = one.latency_ms if reach in (Reach.DIRECT, Reach.RELAYED) else None
    return Place(one.name, one.role.value, reach, one.relay, latency, with_networks(one.name, one.subnets, routes))


async def export(talk: Dialogue, mesh: model.Mesh, nobody: Sequence[object]) -> None:
    values = await talk.form(
        f"A drawing of {mesh.name}",
        "Who is reached how from this machine: SVG, DOT for Graphviz, Mermaid or text.",
        forms.export_fields(mesh.name),
        "write it",
        forms.judge_export,
    )
    if values is None:
        return
    try:
        path = await asyncio.to_thread(_write, values["file"], graph_of(mesh))
    except OSError as error:
        raise Refused(f"{values['file']} can't be written: {error.strerror}") from error
    talk.good(f"{path.name} is written, in {path.parent}")


def _write(name: str, graph: Graph) -> Path:
    """A new file, which only this person reads. Raises OSError."""
    from meshproto.graph import FORMATS

    path = forms.drawing_path(name).absolute()
    text = FORMATS[forms.ENDINGS[path.suffix]](graph)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    return path
