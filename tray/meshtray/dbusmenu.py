"""The menu on the bus: com.canonical.dbusmenu, version 3. Shows the items of menu.py, and says which one was chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshtray.bus import Bus, Interface, Method, Refuse, Variant
from meshtray.deeds import Deed
from meshtray.menu import Item

NAME, PATH = "com.canonical.dbusmenu", "/Menu"
ROOT = 0
WRONG_ARGUMENTS = "org.freedesktop.DBus.Error.InvalidArgs"

Layout = list[Any]
Key = tuple[str, bool, bool, bool]
"""An item's own key, and what a host makes of it: a submenu, a separator, an entry without a check mark."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`children` are their numbers."""

    item: Item
    children: tuple[int, ...]


class DBusMenu:
    """`chosen` is called with the deed of what a person clicked."""

    def __init__(self, bus: Bus, chosen: Callable[[Deed], None]) -> None:
        self._bus = bus
        self._chosen = chosen
        self._numbers: dict[Key, int] = {}
        self._entries: dict[int, Entry] = {ROOT: Entry(Item(""), ())}
        self._last = ROOT
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
        """What the menu is from now on. Tells the desktop what differs, and nothing when nothing does.

        Hosts keep what they have read: Plasma reads again only the parents that are named, and never looks again at
        properties that are back at their defaults; GNOME reads properties again only when it is told of them.
        """
        before = self._entries
        self._entries = {}
        numbers = self._numbers
        self._numbers = {}
        self._add(ROOT, Item("", children=tuple(items)), numbers)
        changed: list[Layout] = []
        removed: list[Layout] = []
        for number in before.keys() & self._entries.keys():
            was, now = properties(before[number].item), properties(self._entries[number].item)
            differing = {name: value for name, value in now.items() if was.get(name) != value}
            if differing:
                changed.append([number, differing])
            if gone := [name for name in was if name not in now]:
                removed.append([number, gone])
        if changed or removed:
            self._bus.emit(PATH, NAME, "ItemsPropertiesUpdated", changed, removed)
        for number in sorted(before.keys() & self._entries.keys()):
            if before[number].children != self._entries[number].children:
                self._revision += 1
                self._bus.emit(PATH, NAME, "LayoutUpdated", self._revision, number)

    def _add(self, number: int, item: Item, known: Mapping[Key, int]) -> None:
        """What is not what it was gets another number: no host makes a submenu of an entry, or the other way round."""
        below = []
        for child in item.children:
            key = (child.key, bool(child.children), not child.label, child.checked is None)
            if key not in known:
                self._last += 1
            self._numbers[key] = one = known.get(key, self._last)
            below.append(one)
            self._add(one, child, known)
        self._entries[number] = Entry(item, tuple(below))

    # --- what a desktop asks ----------------------------------------------------------------------------------------

    def _entry(self, number: int) -> Entry:
        if number not in self._entries:
            raise Refuse(WRONG_ARGUMENTS, f"there is no item {number}")
        return self._entries[number]

    def _get_layout(self, parent: int, depth: int, names: list[str]) -> list[Any]:
        self._entry(parent)
        return [self._revision, self._layout(parent, depth, names)]

    def _layout(self, number: int, depth: int, names: list[str]) -> Layout:
        entry = self._entries[number]
        inner = [
            Variant("(ia{sv}av)", self._layout(one, depth - 1, names)) for one in (entry.children if depth != 0 else ())
        ]
        return [number, _chosen_from(properties(entry.item), names), inner]

    def _get_group_properties(self, numbers: list[int], names: list[str]) -> list[Any]:
        wanted = [one for one in numbers or self._entries if one in self._entries]
        return [[[one, _chosen_from(properties(self._entries[one].item), names)] for one in wanted]]

    def _get_property(self, number: int, name: str) -> list[Any]:
        found = properties(self._entry(number).item)
        if name not in found:
            raise Refuse(WRONG_ARGUMENTS, f"item {number} has no {name}")
        return [found[name]]

    def _event(self, number: int, kind: str, _data: Any, _time: int) -> list[Any]:
        entry = self._entries.get(number)  # None: it was there when the person saw it
        item = entry.item if entry is not None else Item("")
        if kind == "clicked" and item.deed is not None and item.enabled and not item.children:
            self._chosen(item.deed)
        return []

    def _event_group(self, events: list[list[Any]]) -> list[Any]:
        missing = [number for number, *_ in events if number not in self._entries]
        for number, kind, data, time in events:
            self._event(number, kind, data, time)
        return [missing]

    def _about_to_show(self, number: int) -> list[Any]:
        self._entry(number)
        return [False]  # what is there is up to date

    def _about_to_show_group(self, numbers: list[int]) -> list[Any]:
        return [[], [one for one in numbers if one not in self._entries]]


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
