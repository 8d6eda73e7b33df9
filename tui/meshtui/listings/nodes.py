"""Nodes: who commits changes, who votes, and how far the others are behind."""

from __future__ import annotations

from meshtui.format import NOTHING
from meshtui.listings.listing import Cell, Column, Listing, Story
from meshtui.listings.members import (
    ADDRESS_LENGTH,
    Members,
    address_cell,
    duty_words,
    handshake_cell,
    lag_words,
    latency_cell,
    name_cell,
)
from meshtui.look import Mark, Tone, node_mark
from meshtui.model import Member, Role
from meshtui.view import View

USUAL_TIMEOUT_MS = 1000
"""The election time-out of a mesh that has not been given another one, which is not worth a word."""


def _mark(node: Member, view: View, width: int) -> Cell:
    mark = node_mark(node, view.now_ms)
    return Cell(mark.shape, mark.tone)


def _duty(node: Member, view: View, width: int) -> Cell:
    words = duty_words(node, view)
    return Cell("primary ★" if node.primary else words, Tone.DIM if words == "not known" else Tone.PLAIN)


def _lag(node: Member, view: View, width: int) -> Cell:
    if node.primary:
        return Cell(NOTHING, Tone.DIM)
    if node.replica_lag is None:
        return Cell(lag_words(node), Tone.DIM)
    return Cell(lag_words(node), Tone.CAUTION if node.replica_lag else Tone.PLAIN)


def _store(node: Member, view: View, width: int) -> Cell:
    if not node.store_state:
        return Cell("not known", Tone.DIM)
    return Cell(node.store_state, Tone.PLAIN if node.store_state == "ok" else Tone.CAUTION)


class Nodes(Listing[Member]):
    name = "Nodes"
    noun = "nodes"
    columns = (
        Column("", 1, _mark, gap=1),
        Column("NAME", 10, name_cell, lambda node, view: node.name, longest=63),
        Column(
            "DUTY", 9, _duty,
            lambda node, view: (not node.primary, node.name),
        ),
        Column("VOTES", 5, lambda node, view, width: Cell("yes" if node.voter else "no"), rank=2),
        Column(
            "LAG", 13, _lag, lambda node, view: -(node.replica_lag if node.replica_lag is not None else 1 << 62),
            right=True,
        ),
        Column("STORE", 9, _store, longest=40, late=1),
        Column("ADDRESS", 8, address_cell, lambda node, view: int(node.ipv4 or 0), longest=ADDRESS_LENGTH, rank=1),
        Column(
            "SUBNET", 8, lambda node, view, width: Cell(", ".join(node.subnets) or NOTHING), longest=18, rank=4,
        ),
        Column("HANDSHAKE", 10, handshake_cell, lambda node, view: -node.handshake_ms, right=True, late=2),
        Column("LATENCY", 8, latency_cell, lambda node, view: node.latency_ms or float("inf"), right=True, rank=3),
    )  # fmt: skip

    def __init__(self) -> None:
        self._members = Members()

    def rows(self, view: View) -> dict[str, Member]:
        return {node.id: node for node in view.mesh.nodes()} if view.mesh else {}

    def words(self, row: Member) -> tuple[str, str]:
        duty = "primary" if row.primary else "replica"
        return row.name, f"{self._members.words(row)[1]} {duty} {row.store_state} {' '.join(row.subnets)}"

    def subject(self, row: Member, view: View) -> Member:
        return row

    def story(self, row: Member, view: View) -> Story:
        return self._members.story(row, view)

    def empty(self, view: View) -> str:
        return "No node is known yet: the first view of the mesh is on its way."

    def summary(self, view: View) -> tuple[Cell, ...]:
        mesh = view.mesh
        if mesh is None:
            return ()
        voters = sum(node.voter for node in mesh.nodes())
        primary = (Cell(mesh.primary),) if mesh.primary else (Cell("not known", Tone.CAUTION),)
        change = Cell("changes are accepted") if mesh.writable else Cell("no change is accepted now", Tone.CAUTION)
        timeout: tuple[Cell, ...] = ()
        if mesh.election_timeout_ms not in (0, USUAL_TIMEOUT_MS):
            timeout = (Cell("  Time-out ", Tone.DIM), Cell(f"{mesh.election_timeout_ms / 1000:g} s"))
        return (
            Cell("Primary ", Tone.DIM), *primary,
            Cell("  Epoch ", Tone.DIM), Cell(str(mesh.epoch)),
            Cell("  Revision ", Tone.DIM), Cell(str(mesh.revision)),
            Cell("  Voters ", Tone.DIM), Cell(str(voters)), *timeout,
            Cell("  "), change,
        )  # fmt: skip

    def badge(self, view: View) -> Mark | None:
        if view.mesh is None:
            return None
        bad = any(node.role is Role.NODE and node.store_state not in ("", "ok") for node in view.mesh.nodes())
        return Mark("▲", Tone.CAUTION, "a node has something wrong") if bad else None
