"""Routes: subnets behind nodes, which node is used, and whether this machine has them."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, ClassVar

from meshtui.format import NOTHING
from meshtui.listings.listing import Cell, Column, Line, Listing, Story
from meshtui.look import Mark, Tone, route_mark
from meshtui.model import Route
from meshtui.permissions import Deed
from meshtui.view import View


def _mark(route: Route, view: View, width: int) -> Cell:
    mark = route_mark(route)
    return Cell(mark.shape, mark.tone)


def _through(route: Route, view: View, width: int) -> Cell:
    return Cell(route.chosen) if route.chosen else Cell("nobody online", Tone.CAUTION)


def _here(route: Route, view: View, width: int) -> Cell:
    own = view.mesh.own() if view.mesh else None
    if route.not_installed:
        return Cell(f"no: {route.not_installed}", Tone.CAUTION)
    if own is not None and own.name == route.chosen:
        return Cell("offered by this machine")
    return Cell("yes") if route.chosen else Cell("no", Tone.DIM)


def _network(route: Route, view: View) -> Any:
    try:
        network = ip_network(route.cidr)
    except ValueError:
        return 9, 0, 0
    return network.version, int(network.network_address), network.prefixlen


class Routes(Listing[Route]):
    name = "Routes"
    noun = "routes"
    begin: ClassVar[tuple[Deed, ...]] = (Deed.PUBLISH,)
    columns = (
        Column("", 1, _mark, gap=1),
        Column("ROUTE", 15, lambda route, view, width: Cell(route.cidr), _network, longest=43),
        Column("THROUGH", 13, _through, lambda route, view: route.chosen, longest=40),
        Column(
            "OFFERED BY", 10, lambda route, view, width: Cell(", ".join(route.nodes) or NOTHING),
            lambda route, view: route.nodes, longest=50, rank=1,
        ),
        Column("MASQUERADE", 10, lambda route, view, width: Cell("yes" if route.masquerade else "no"), rank=2),
        Column("INSTALLED HERE", 14, _here, lambda route, view: bool(route.not_installed), longest=100, late=1),
    )  # fmt: skip

    def rows(self, view: View) -> dict[str, Route]:
        return {route.cidr: route for route in view.mesh.routes} if view.mesh else {}

    def words(self, row: Route) -> tuple[str, str]:
        return row.cidr, f"{row.cidr} {' '.join(row.nodes)} {row.not_installed}"

    def subject(self, row: Route, view: View) -> Route:
        return row

    def empty(self, view: View) -> str:
        return f"No routes yet.{view.hint(' Key a offers a subnet behind a node to everybody.')}"

    def badge(self, view: View) -> Mark | None:
        routes = view.mesh.routes if view.mesh else ()
        bad = any(route.not_installed or not route.chosen for route in routes)
        return Mark("▲", Tone.CAUTION, "a route is not in use") if bad else None

    def story(self, row: Route, view: View) -> Story:
        mark = route_mark(row)
        lines = [
            Line("State", (Cell(f"{mark.shape} ", mark.tone), Cell(row.not_installed or mark.word))),
            Line("Nodes", tuple(_offer(row, name) for name in row.nodes) or (Cell("nobody offers it"),)),
            Line("Sources", (Cell(_masquerade(row)),)),
        ]
        if row.not_installed:
            lines.append(Line("Choose", (Cell("e", Tone.STRONG), Cell(" uses it on this machine all the same"))))
        return Story((Cell(row.cidr, Tone.STRONG),), tuple(lines))


def _offer(route: Route, name: str) -> Cell:
    return Cell(f"{name} (used)  " if name == route.chosen else f"{name}  ")


def _masquerade(route: Route) -> str:
    return (
        "hosts behind it see the node's address" if route.masquerade else "hosts behind it see the members' addresses"
    )
