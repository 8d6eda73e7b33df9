"""The menu on the bus: com.canonical.dbusmenu, version 3. Shows the items of menu.py, and says which one was chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from meshtray.bus import Bus, Interface, Method, Refuse, Variant
from meshtray.deeds import Deed
from meshtray.menu import Item

NAME, PATH = "com.canonical.dbusmenu", "/Menu"
ROOT = 0
WRONG_ARGUMENTS = "org.freedesktop.DBus.Error.InvalidArgs"

Layout = list[Any]


class DBusMenu:
    """`chosen` is called with the deed of what a person clicked."""

    def __init__(self, bus: Bus, chosen: Callable[[Deed], None]) -> None:
        self._bus = bus
        self._chosen = chosen
        self._ids: dict[str, int] = {}
        self._items: dict[int, Item] = {ROOT: Item("")}
        self._revision = 1
        bus.export(PATH, [self._interface()])

    def _interface(self) -> Interface:
        return Interface(
            NAME,
            {
                "GetLayout": Method("iias", "u(ia{sv}av)", self._get_layout),
                "GetGroupProperties": Method("aias", "a(ia{sv})", self._get_group_properties),
                "GetProperty": Method("is", "v", self._get_property),
                "Event": Method("isvu", "", self._event),
                "EventGroup": Method("a(isvu)", "ai", self._event_group),
                "AboutToShow": Method("i", "b", self._about_to_show),
                "AboutToShowGroup": Method("ai", "aiai", self._about_to_show_group),
            },
            {
                "Version": ("u", lambda: 3),
                "TextDirection": ("s", lambda: "ltr"),
                "Status": ("s", lambda: "normal"),
                "IconThemePath": ("as", list),
            },
            {
                "ItemsPropertiesUpdated": "a(ia{sv})a(ias)",
                "LayoutUpdated": "ui",
                "ItemActivationRequested": "iu",
            },
        )

    def show(self, items: Sequence[Item]) -> None:
        """What the menu is from now on. Tells the desktop what differs, and nothing when nothing does."""
        before = self._items
        root = Item("", children=tuple(items))
        self._items = {ROOT: root}
        self._add(items)
        if _shape(before[ROOT]) != _shape(root):
            self._revision += 1
            self._bus.emit(PATH, NAME, "LayoutUpdated", self._revision, ROOT)
            return
        changed: list[Layout] = []
        removed: list[Layout] = []
        for number, item in self._items.items():
            was, now = properties(before[number]), properties(item)
            differing = {name: value for name, value in now.items() if was.get(name) != value}
            if differing:
                changed.append([number, differing])
            if gone := [name for name in was if name not in now]:
                removed.append([number, gone])
        if changed or removed:
            self._bus.emit(PATH, NAME, "ItemsPropertiesUpdated", changed, removed)

    def _add(self, items: Iterable[Item]) -> None:
        for item in items:
            self._items[self._ids.setdefault(item.key, len(self._ids) + 1)] = item
            self._add(item.children)

    # --- what a desktop asks ----------------------------------------------------------------------------------------

    def _item(self, number: int) -> Item:
        if number not in self._items:
            raise Refuse(WRONG_ARGUMENTS, f"there is no item {number}")
        return self._items[number]

    def _get_layout(self, parent: int, depth: int, names: list[str]) -> list[Any]:
        return [self._revision, self._layout(parent, self._item(parent), depth, names)]

    def _layout(self, number: int, item: Item, depth: int, names: list[str]) -> Layout:
        inner = [
            Variant("(ia{sv}av)", self._layout(self._ids[one.key], one, depth - 1, names))
            for one in (item.children if depth != 0 else ())
        ]
        return [number, _chosen_from(properties(item), names), inner]

    def _get_group_properties(self, numbers: list[int], names: list[str]) -> list[Any]:
        wanted = numbers or list(self._items)
        return [[[one, _chosen_from(properties(self._items[one]), names)] for one in wanted if one in self._items]]

    def _get_property(self, number: int, name: str) -> list[Any]:
        found = properties(self._item(number))
        if name not in found:
            raise Refuse(WRONG_ARGUMENTS, f"item {number} has no {name}")
        return [found[name]]

    def _event(self, number: int, kind: str, _data: Any, _time: int) -> list[Any]:
        item = self._items.get(number)  # None: it was there when the person saw it
        if kind == "clicked" and item is not None and item.deed is not None and item.enabled and not item.children:
            self._chosen(item.deed)
        return []

    def _event_group(self, events: list[list[Any]]) -> list[Any]:
        missing = [number for number, *_ in events if number not in self._items]
        for number, kind, data, time in events:
            self._event(number, kind, data, time)
        return [missing]

    def _about_to_show(self, number: int) -> list[Any]:
        self._item(number)
        return [False]  # what is there is up to date

    def _about_to_show_group(self, numbers: list[int]) -> list[Any]:
        return [[], [one for one in numbers if one not in self._items]]


def _shape(item: Item) -> tuple[Any, ...]:
    return (item.key, bool(item.children), not item.label, item.checked is None, tuple(map(_shape, item.children)))


def properties(item: Item) -> dict[str, Variant]:
    """Those that differ from the defaults of the specification."""
    found: dict[str, Variant] = {}
    if item.children:
        found["children-display"] = Variant("s", "submenu")
    if not item.key:
        return found
    if not item.label:
        return {"type": Variant("s", "separator")}
    found["label"] = Variant("s", item.label.replace("_", "__"))  # one underscore marks the letter to press
    if not item.enabled:
        found["enabled"] = Variant("b", False)
    if item.checked is not None:
        found["toggle-type"] = Variant("s", "checkmark")
        found["toggle-state"] = Variant("i", int(item.checked))
    return found


def _chosen_from(found: dict[str, Variant], names: list[str]) -> dict[str, Variant]:
    return {name: value for name, value in found.items() if name in names} if names else found
