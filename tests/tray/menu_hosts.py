"""Menus as two desktops keep them: each reads only what it thinks it lacks, so that what a tray forgets to tell shows.

After Plasma's DBusMenuImporter and the DBusClient of GNOME's extension AppIndicator; Xfce's and waybar's are real here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meshtray.bus import Bus, BusError, Variant
from tray.desktop import MENU, plain

Properties = dict[str, Any]


@dataclass
class Line:
    """`properties` as the host has them; `kind` is what it made of them in the beginning."""

    properties: Properties
    children: list[int] = field(default_factory=list)
    kind: str = ""


def text_of(lines: dict[int, Line], number: int = 0, depth: int = 0) -> str:
    found = []
    for one in lines[number].children:
        line = lines[one]
        off = "" if line.properties.get("enabled", True) else "  (off)"
        mark = {None: "", 0: "[ ] ", 1: "[x] "}[line.properties.get("toggle-state")]
        label = str(line.properties.get("label", "")).replace("__", "_")
        found.append("  " * depth + ("---" if line.kind == "separator" else f"{mark}{label}{off}"))
        if line.kind == "submenu":
            found.append(text_of(lines, one, depth + 1))
    return "\n".join(found)


def kind_of(properties: Properties) -> str:
    if properties.get("children-display") == "submenu":
        return "submenu"
    return str(properties.get("type", "")) or str(properties.get("toggle-type", ""))


def unpacked(layout: list[Any]) -> tuple[int, Properties, list[Any]]:
    number, properties, children = layout
    return number, {name: plain(value) for name, value in properties.items()}, [plain(one) for one in children]


class Menu:
    """The calls that both make."""

    def __init__(self, bus: Bus, item: str) -> None:
        self.bus = bus
        self.item = item
        self.lines: dict[int, Line] = {0: Line({"children-display": "submenu"}, kind="submenu")}
        self.calls: set[asyncio.Task[None]] = set()

    async def call(self, member: str, signature: str, *values: Any) -> list[Any]:
        return await self.bus.call(self.item, "/Menu", MENU, member, signature, *values)

    async def listen(self) -> None:
        await self.bus.listen("/Menu", MENU, "LayoutUpdated", self.layout_updated, self.item)
        await self.bus.listen("/Menu", MENU, "ItemsPropertiesUpdated", self.properties_updated, self.item)

    def soon(self, work: Callable[..., Any], *values: Any) -> None:
        task = asyncio.get_running_loop().create_task(work(*values))
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)

    def layout_updated(self, _revision: int, parent: int) -> None:
        raise NotImplementedError

    def properties_updated(self, changed: list[Any], removed: list[Any]) -> None:
        for number, properties in changed:
            if number in self.lines:
                self.lines[number].properties.update({name: plain(value) for name, value in properties.items()})
        for number, names in removed:
            for name in names if number in self.lines else ():
                self.lines[number].properties.pop(name, None)


class Plasma(Menu):
    """Reads one level at a time, a submenu when it is opened; makes of an item what it was at first, for as long as its
    number is in the menu; takes only properties that are there; reads again only the parent that is said to differ."""

    async def start(self) -> None:
        await self.listen()
        await self.refresh(0)

    async def refresh(self, number: int) -> None:
        try:
            _, layout = await self.call("GetLayout", "iias", number, 1, [])
        except BusError:
            return
        if number not in self.lines:
            return
        _, _, children = unpacked(layout)
        numbers = []
        for child in children:
            one, properties, _ = unpacked(child)
            numbers.append(one)
            if one in self.lines:
                self.lines[one].properties.update(properties)
            else:
                self.lines[one] = Line(properties, kind=kind_of(properties))
        for gone in set(self.lines[number].children) - set(numbers):
            self.lines.pop(gone, None)
        self.lines[number].children = numbers

    def layout_updated(self, _revision: int, parent: int) -> None:
        self.soon(self.refresh, parent)

    async def opened(self) -> str:
        """Every submenu is opened, one after the other."""
        opened: list[int] = [0]
        for number in opened:
            if number not in self.lines:
                continue
            (needed,) = await self.call("AboutToShow", "i", number)
            await self.call("Event", "isvu", number, "opened", Variant("s", ""), 0)
            if needed or not self.lines[number].children:
                await self.refresh(number)
            opened += [one for one in self.lines[number].children if self.lines[one].kind == "submenu"]
        return text_of(self.lines)


class Gnome(Menu):
    """Reads the whole layout without labels, and properties only of items that are new to it, or when it was told while
    the menu was closed that some differ."""

    def __init__(self, bus: Bus, item: str) -> None:
        super().__init__(bus, item)
        self.active = False
        self.layout_stale = False
        self.properties_stale = False

    async def start(self) -> None:
        await self.listen()
        await self.read_layout()

    async def read_layout(self) -> None:
        _, layout = await self.call("GetLayout", "iias", 0, -1, ["type", "children-display"])
        wanted: list[int] = []
        self.take(layout, wanted)
        self.forget_unreachable()
        self.layout_stale = self.properties_stale = False
        if wanted:
            await self.read_properties(wanted)

    def take(self, layout: list[Any], wanted: list[int]) -> None:
        number, properties, children = unpacked(layout)
        for child in children:
            self.take(child, wanted)
        numbers = [one for one, _, _ in children]
        if number not in self.lines or self.properties_stale:
            wanted.append(number)
        line = self.lines.setdefault(number, Line({}))
        line.properties.update(properties)
        line.children, line.kind = numbers, kind_of(line.properties)

    def forget_unreachable(self) -> None:
        reached = [0]
        for number in reached:
            reached += self.lines[number].children
        self.lines = {number: self.lines[number] for number in reached}

    async def read_properties(self, numbers: list[int]) -> None:
        (found,) = await self.call("GetGroupProperties", "aias", numbers, [])
        for number, properties in found:
            one = self.lines[number]
            one.properties = {name: plain(value) for name, value in properties.items()}
            one.kind = kind_of(one.properties)

    def layout_updated(self, _revision: int, _parent: int) -> None:
        if self.active:
            self.soon(self.read_layout)
        self.layout_stale = True

    def properties_updated(self, changed: list[Any], removed: list[Any]) -> None:
        if self.active:
            super().properties_updated(changed, removed)
        else:
            self.properties_stale = True

    async def opened(self) -> str:
        if not self.active:
            self.active = True
            if self.layout_stale:
                await self.read_layout()
            elif self.properties_stale:
                await self.read_properties(list(self.lines))
                self.properties_stale = False
        (needed,) = await self.call("AboutToShow", "i", 0)
        if needed:
            await self.read_layout()
        return text_of(self.lines)

    def closed(self) -> None:
        self.active = False
