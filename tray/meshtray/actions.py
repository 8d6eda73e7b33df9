"""Carries deeds out: calls the helper, asks the keyring, starts programs. Says how each ended."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from meshproto import person_keys
from meshproto.invite import is_invite
from meshproto.plain_text import plain

from meshtray import autostart, clipboard, dialogs, keyring_process, programs
from meshtray.connection import Connection, Refused
from meshtray.deeds import (
    Connect,
    Copy,
    Deed,
    Disconnect,
    InviteForm,
    Join,
    JoinClipboard,
    LetIn,
    MakeInvite,
    OpenMeshtui,
    Pause,
    Report,
    StartAtLogin,
    TurnAway,
)
from meshtray.keyring import Keyring
from meshtray.programs import NoProgram
from meshtray.state import Ended, Failure, State, Unlocked, Waits
from meshtray.values import Mesh

log = logging.getLogger(__name__)

CONNECT_LIMIT_S = 25.0
REPORT_LIMIT_S = 30.0
LONGEST_FILE = 65_536
TOKEN_S = 10.0
"""A compositor forgets what it gave; so do we."""
MORNING = 7
"""The hour at which a pause until tomorrow ends."""


class Actions:
    """`state` is what is so now; `happened` hears how it goes with a keyring that has to be unlocked."""

    def __init__(
        self, connection: Connection, keyring: Keyring, state: Callable[[], State], now_ms: Callable[[], int],
        happened: Callable[[Waits | Unlocked], None],
    ) -> None:  # fmt: skip
        self._connection = connection
        self._keyring = keyring
        self._state = state
        self._now_ms = now_ms
        self._happened = happened
        self._tokens: list[tuple[float, str]] = []

    def clicked(self, token: str) -> None:
        """A panel or a notification was; with `token`, the next window may come to the front."""
        self._tokens = [(time.monotonic(), token)]

    def _token(self) -> str:
        """For one window, soon after the click."""
        found, self._tokens = self._tokens, []
        return next((token for at, token in found if time.monotonic() - at < TOKEN_S), "")

    async def perform(self, deed: Deed) -> Ended:
        try:
            return await self._perform(deed)
        except Refused as error:
            return Ended(deed, Failure(str(error), error.fix, error.code))
        except person_keys.NoKeyring as error:
            return Ended(deed, Failure(str(error), error.fix, "no-keyring"))
        except NoProgram as error:
            return Ended(deed, Failure(str(error), error.fix))
        except OSError as error:
            return Ended(deed, Failure(f"{error.filename or 'a file'}: {error.strerror}"))
        except Exception as error:
            log.exception("%s failed", type(deed).__name__)
            return Ended(deed, Failure(f"internal error: {type(error).__name__}", "start meshtray with --debug"))

    async def _perform(self, deed: Deed) -> Ended:
        match deed:
            case Connect():
                await self._connect(self._mesh(deed.mesh_id))
            case Disconnect():
                await self._disconnect(deed.mesh_id)
            case Pause():
                await self._disconnect(deed.mesh_id, deed.minutes * 60_000 or until_morning_ms(self._now_ms()))
            case LetIn():
                mesh = self._mesh(deed.mesh_id).name
                await self._connection.call("AuthorizePeer", mesh=mesh, id=deed.request_id)
                return Ended(deed, say=f"{deed.name} is let in to {mesh}")
            case TurnAway():
                mesh = self._mesh(deed.mesh_id).name
                await self._connection.call("DeauthorizePeer", mesh=mesh, id=deed.request_id)
                return Ended(deed, say=f"{deed.name} is refused")
            case Copy():
                await clipboard.copy(deed.text)
            case MakeInvite():
                return await self._invite(deed)
            case JoinClipboard():
                text = await clipboard.paste()
                if not is_invite(text):
                    raise Refused("there is no invite on the clipboard", "copy one: it begins with mesh1- or mesh://")
                await dialogs.open_in_terminal(dialogs.Join(text), self._token())
            case Join():
                dialog = dialogs.Join(await asyncio.to_thread(contents, deed.what))
                await dialogs.open_in_terminal(dialog, self._token())
            case OpenMeshtui():
                socket = os.environ.get("MESHD_SOCKET", "")  # some terminals hand no environment on
                words = [programs.sibling("meshtui"), *(["--socket", socket] if socket else [])]
                words += ["--mesh", deed.mesh] if deed.mesh else []
                await programs.start(programs.terminal_command(words), self._token())
            case StartAtLogin():
                await asyncio.to_thread(autostart.set_on, deed.on)
            case Report():
                return await self._report(deed)
            case _:
                raise AssertionError(f"{deed} is for step.py")
        return Ended(deed)

    def _mesh(self, mesh_id: str) -> Mesh:
        mesh = self._state().snapshot.mesh(mesh_id)
        if mesh is None:
            raise Refused("this machine is not in that mesh any more")
        return mesh

    # --- meshes -----------------------------------------------------------------------------------------------------

    async def _connect(self, mesh: Mesh) -> None:
        try:
            await self._connection.call("Connect", CONNECT_LIMIT_S, mesh=mesh.name)
        except Refused as error:
            if error.code != "keys-needed":
                raise
            keys = await self._keyring.load(
                mesh.keyring_entry, lambda: self._happened(Waits(mesh.id)), lambda: self._happened(Unlocked(mesh.id))
            )
            await self._connection.call("Connect", CONNECT_LIMIT_S, mesh=mesh.name, keys=keys)

    async def _disconnect(self, mesh_id: str, pause_ms: int = 0) -> None:
        mesh = self._mesh(mesh_id).name
        await self._connection.call("Disconnect", CONNECT_LIMIT_S, mesh=mesh, pause_ms=pause_ms)

    # --- invites ----------------------------------------------------------------------------------------------------

    async def _invite(self, deed: MakeInvite) -> Ended:
        mesh = self._mesh(deed.mesh_id).name
        reply = await self._connection.call("CreateInvite", mesh=mesh)
        lost = ""
        if reply.keyring_entry:
            entry, now_ms = reply.keyring_entry, self._now_ms()
            try:
                await keyring_process.keep_invite(entry, reply.invite.id, reply.text, now_ms)
            except (person_keys.NoKeyring, NoProgram) as error:
                lost = f" It can't be shown again: {error}."
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(reply.invite.expires_ms / 1000))
        body = f"It lets one machine in, until {until}. Keep it secret.{lost}"
        match deed.form:
            case InviteForm.TEXT:
                await clipboard.copy(reply.text)
                return Ended(deed, say=f"An invite to {mesh} is on the clipboard", body=body)
            case InviteForm.FILE:
                path = await asyncio.to_thread(
                    write_secret, downloads() / f"{mesh}-{plain(reply.invite.id)[:8]}.mesh", reply.file
                )
                return Ended(deed, say=f"{path.name} is written", body=f"In {path.parent}. {body}")
            case InviteForm.QR:
                code = dialogs.Code(f"An invite to {mesh}", body, reply.text)
                await dialogs.open_in_terminal(code, self._token())
                return Ended(deed)

    async def _report(self, deed: Report) -> Ended:
        name = time.strftime("meshtui-%Y%m%d-%H%M%S.report", time.localtime(self._now_ms() / 1000))
        path = downloads() / name
        await programs.output([programs.sibling("meshctl"), "report", str(path)], limit_s=REPORT_LIMIT_S)
        body = f"In {path.parent}. It holds names, addresses and public keys, and no secret. meshtui --replay shows it."
        return Ended(deed, say=f"{name} is written", body=body)


def until_morning_ms(now_ms: int) -> int:
    """How long a pause until tomorrow lasts."""
    tomorrow = datetime.fromtimestamp(now_ms / 1000).astimezone() + timedelta(days=1)
    # Without the zone of now: that night the clocks may be changed.
    morning = tomorrow.replace(hour=MORNING, minute=0, second=0, microsecond=0, tzinfo=None)
    return int(morning.timestamp() * 1000) - now_ms


def contents(what: str) -> str:
    """An invite's text or link as it is; of a file, what is in it. Raises OSError, Refused."""
    try:
        path = programs.local_path(what)
    except ValueError as error:
        raise Refused(f"{what[:80]} names no file of this machine") from error
    if not what or (is_invite(what) and not path.is_file()):
        return what
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(LONGEST_FILE)


def downloads() -> Path:
    """Where a person looks for files that a program made (xdg-user-dirs)."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "user-dirs.dirs"
    try:
        lines = config.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("XDG_DOWNLOAD_DIR="):
            found = Path(line.partition("=")[2].strip().strip('"').replace("$HOME", str(home)))
            if found.is_dir():
                return found
    return home / "Downloads" if (home / "Downloads").is_dir() else home


def write_secret(path: Path, text: str) -> Path:
    """A new file that only this person reads. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
