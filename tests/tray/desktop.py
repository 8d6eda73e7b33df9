"""A desktop for the tray: a session bus, a StatusNotifierWatcher and host that asks as panels do, and the tray as a
process of a person who is not root."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshtray.bus import Bus, Interface, Method, Refuse, Variant

BIN = Path(sys.executable).parent
TOP = Path(__file__).resolve().parents[2]
PERSON = "nobody"

WATCHER, WATCHER_PATH = "org.kde.StatusNotifierWatcher", "/StatusNotifierWatcher"
ITEM, ITEM_PATH = "org.kde.StatusNotifierItem", "/StatusNotifierItem"
MENU = "com.canonical.dbusmenu"
PROPERTIES = "org.freedesktop.DBus.Properties"


async def until(condition: Callable[[], Any], what: str, limit: float = 15, log: Callable[[], str] = str) -> Any:
    """The condition's value once it is true. `log` is asked for more when it is not."""
    deadline = asyncio.get_running_loop().time() + limit
    while not (value := condition()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {limit:g} s for: {what}\n{log()}")
        await asyncio.sleep(0.02)
    return value


@dataclass
class Entry:
    """One line of the menu, as the host read it."""

    number: int
    label: str
    enabled: bool
    separator: bool
    checked: bool | None
    children: list[Entry] = field(default_factory=list)

    def all(self) -> Iterator[Entry]:
        for one in self.children:
            yield one
            yield from one.all()

    def text(self, depth: int = 0) -> str:
        lines = []
        for one in self.children:
            mark = "" if one.checked is None else "[x] " if one.checked else "[ ] "
            shown = "---" if one.separator else f"{mark}{one.label}{'' if one.enabled else '  (off)'}"
            lines.append("  " * depth + shown)
            if one.children:
                lines.append(one.text(depth + 1))
        return "\n".join(lines)


def plain(value: Any) -> Any:
    return value.value if isinstance(value, Variant) else value


def entry(layout: list[Any]) -> Entry:
    number, properties, children = layout
    found = {name: plain(value) for name, value in properties.items()}
    checked = found.get("toggle-state") == 1 if found.get("toggle-type") == "checkmark" else None
    return Entry(
        number, found.get("label", "").replace("__", "_"), found.get("enabled", True),
        found.get("type") == "separator", checked, [entry(plain(one)) for one in children],
    )  # fmt: skip


class Panel:
    """A watcher and host; `has_host` False: the one without the other. `changes` are the signals of the item that it
    heard, `refusals` how often it still refuses to register one."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.items: list[str] = []
        self.changes: list[str] = []
        self.has_host = True
        self.refusals = 0

    @classmethod
    async def start(cls, address: str, has_host: bool = True, refusals: int = 0) -> Panel:
        panel = cls(await Bus.connect(address))
        panel.has_host, panel.refusals = has_host, refusals
        panel.bus.export(
            WATCHER_PATH,
            [
                Interface(
                    WATCHER,
                    {
                        "RegisterStatusNotifierItem": Method("s", "", panel._register),
                        "RegisterStatusNotifierHost": Method("s", "", lambda service: []),
                    },
                    {
                        "RegisteredStatusNotifierItems": ("as", lambda: panel.items),
                        "IsStatusNotifierHostRegistered": ("b", lambda: panel.has_host),
                        "ProtocolVersion": ("i", lambda: 0),
                    },
                    {"StatusNotifierItemRegistered": "s", "StatusNotifierHostRegistered": ""},
                )
            ],
        )
        for name in ("NewIcon", "NewStatus", "NewToolTip", "NewTitle"):
            await panel.bus.listen(ITEM_PATH, ITEM, name, lambda *_, name=name: panel.changes.append(name))
        for name in ("LayoutUpdated", "ItemsPropertiesUpdated"):
            await panel.bus.listen("/Menu", MENU, name, lambda *_, name=name: panel.changes.append(name))
        assert await panel.bus.claim(WATCHER)
        return panel

    def _register(self, service: str) -> list[Any]:
        if self.refusals:
            self.refusals -= 1
            raise Refuse("org.freedesktop.DBus.Error.Failed", "not yet")
        self.items.append(service)
        return []

    def host_comes(self) -> None:
        self.has_host = True
        self.bus.emit(WATCHER_PATH, WATCHER, "StatusNotifierHostRegistered")

    async def stop(self) -> None:
        await self.bus.close()

    @property
    def item(self) -> str:
        return self.items[-1]

    async def registered(self) -> None:
        await until(lambda: self.items, "the icon to be registered")

    async def properties(self) -> dict[str, Any]:
        (found,) = await self.bus.call(self.item, ITEM_PATH, PROPERTIES, "GetAll", "s", ITEM)
        return {name: plain(value) for name, value in found.items()}

    async def icon(self) -> str:
        (found,) = await self.bus.call(self.item, ITEM_PATH, PROPERTIES, "Get", "ss", ITEM, "IconName")
        return str(plain(found)).removeprefix("meshtray-")

    async def tooltip(self) -> str:
        _, _, title, text = (await self.properties())["ToolTip"]
        return f"{title}\n{text}"

    async def menu(self) -> Entry:
        """As panels do: says that it will be shown, then reads it."""
        path = (await self.properties())["Menu"]
        await self.bus.call(self.item, path, MENU, "AboutToShow", "i", 0)
        _, layout = await self.bus.call(self.item, path, MENU, "GetLayout", "iias", 0, -1, [])
        return entry(layout)

    async def find(self, label: str) -> Entry:
        menu = await self.menu()
        found = [one for one in menu.all() if label in one.label]
        assert found, f"no {label!r} in\n{menu.text()}"
        return found[0]

    async def click(self, label: str) -> None:
        found = await self.find(label)
        await self.bus.call(self.item, "/Menu", MENU, "Event", "isvu", found.number, "clicked", Variant("s", ""), 0)

    async def until_icon(self, name: str, limit: float = 15) -> None:
        deadline = asyncio.get_running_loop().time() + limit
        while (now := await self.icon()) != name:
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"the icon is {now} and not {name} after {limit:g} s\n{await self.tooltip()}")
            await asyncio.sleep(0.02)

    async def until_menu(self, label: str, limit: float = 15, checked: bool | None = None) -> Entry:
        deadline = asyncio.get_running_loop().time() + limit
        while True:
            menu = await self.menu()
            for one in menu.all():
                if label in one.label and checked in (None, one.checked):
                    return one
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"no {label!r} after {limit:g} s in\n{menu.text()}")
            await asyncio.sleep(0.05)


BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><standard_session_servicedirs/>
<policy context="default"><allow user="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""
"""As a session's, but open to the test, which is root."""


class Desktop:
    """Folders, a bus and processes of one person."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="meshtray-"))
        shutil.chown(self.folder, PERSON)
        self.address = f"unix:path={self.folder}/bus"
        self.socket = self.folder / "meshd.sock"
        self._processes: list[subprocess.Popen[bytes]] = []

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
        return {
            **kept, "HOME": str(self.folder), "USER": PERSON, "XDG_RUNTIME_DIR": str(self.folder),
            "DBUS_SESSION_BUS_ADDRESS": self.address, "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC",
            "XDG_CONFIG_DIRS": str(self.folder / "etc"),
        }  # fmt: skip

    def start(
        self, *command: str, log: str = "", environment: Mapping[str, str] | None = None, before: Sequence[str] = ()
    ) -> Any:
        """Runs a program as the person. `before`: through this, as root."""
        out: Any = open(self.folder / log, "ab") if log else subprocess.DEVNULL
        person = ["setpriv", f"--reuid={PERSON}", "--regid=nogroup", "--clear-groups", "--pdeathsig=KILL"]
        process = subprocess.Popen(
            [*before, *person, *command],
            env={**self.environment(), **(environment or {})}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            cwd=self.folder, start_new_session=True,
        )  # fmt: skip
        if log:
            out.close()
        self._processes.append(process)
        return process

    async def start_bus(self) -> None:
        config = self.folder / "bus.conf"
        config.write_text(BUS)
        address = f"--address={self.address}"
        self.bus = self.start("dbus-daemon", f"--config-file={config}", "--nofork", address, log="bus.log")
        await until(self._bus_answers, "the session bus")

    def _bus_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as one:
            return one.connect_ex(str(self.folder / "bus")) == 0

    def start_tray(self, *options: str, before: Sequence[str] = (), **environment: str) -> Any:
        return self.start(
            str(BIN / "meshtray"), "--debug", "--socket", str(self.socket), *options,
            log="tray.log", environment=environment, before=before,
        )  # fmt: skip

    def log(self) -> str:
        path = self.folder / "tray.log"
        return path.read_text() if path.exists() else ""

    async def stop(self, process: Any) -> int:
        process.send_signal(signal.SIGTERM)
        return int(await asyncio.to_thread(process.wait, 20))

    def own(self, process: subprocess.Popen[bytes]) -> None:
        """Ends with the desktop."""
        self._processes.append(process)

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.kill()
            process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
