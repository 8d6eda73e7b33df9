"""What a person can have done: asks where it must, calls the helper, and says what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshtui.connection import Refused
from meshtui.format import milliseconds
from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.model import Member, Mesh
from meshtui.permissions import Deed, refusal
from meshtui.view import View

if TYPE_CHECKING:
    from meshtui.app import MeshtuiApp


class Actions:
    """Runs in workers of the app, so that no key waits for the helper."""

    def __init__(self, app: MeshtuiApp) -> None:
        self._app = app

    def next_mesh(self) -> None:
        self._app.next_mesh()

    def do(self, deed: Deed, view: View, member: Member | None) -> None:
        refused = refusal(deed, view, member)
        if refused is not None:
            self._refuse(refused.why, refused.fix)
            return
        mesh = view.mesh
        if mesh is None or member is None:
            return
        if deed is Deed.COPY:
            self._copy(member)
            return
        run = {Deed.PING: self._ping, Deed.ENABLE: self._enable, Deed.RENAME: self._rename}[deed]
        self._app.run_worker(run(mesh, member), group="action", exit_on_error=True)

    def _copy(self, member: Member) -> None:
        address = str(member.ipv4 or member.ipv6)
        self._app.copy_to_clipboard(address)
        self._app.say(Cell("✓ ", Tone.GOOD), Cell(f"{address} is on the clipboard"))

    async def _ping(self, mesh: Mesh, member: Member) -> None:
        self._app.say(Cell(f"Pinging {member.name} …", Tone.DIM))
        try:
            reply = await self._app.connection.ping(mesh.name, member.id)
        except Refused as error:
            self._refuse(str(error), error.fix)
            return
        if reply.received == 0:
            text = f"{member.name} answered none of {reply.sent} pings"
            self._app.say(Cell("▲ ", Tone.CAUTION), Cell(text))
            return
        times = " / ".join(milliseconds(one).removesuffix(" ms") for one in (reply.min_ms, reply.avg_ms, reply.max_ms))
        answered = f"{member.name} answered {reply.received} of {reply.sent}: {times} ms"
        mark = ("✓ ", Tone.GOOD) if reply.received == reply.sent else ("▲ ", Tone.CAUTION)
        self._app.say(Cell(*mark), Cell(answered), Cell("  least / mean / most", Tone.DIM))

    async def _enable(self, mesh: Mesh, member: Member) -> None:
        if member.enabled:
            question, yes = f"Disable {member.name}?", "disable it"
            effect = "It loses access at every member at once. Its name and address stay its own."
        else:
            question, yes = f"Enable {member.name}?", "enable it"
            effect = "Every member lets it in again."
        if not await self._app.ask(question, effect, yes):
            return
        try:
            await self._app.connection.set_enabled(mesh.name, member.id, not member.enabled)
        except Refused as error:
            self._refuse(str(error), error.fix)
            return
        self._app.say(Cell("✓ ", Tone.GOOD), Cell(f"{member.name} is {'disabled' if member.enabled else 'enabled'}"))

    async def _rename(self, mesh: Mesh, member: Member) -> None:
        name = await self._app.ask_name(member.name, [one.name for one in mesh.members.values()])
        if name is None:
            return
        try:
            await self._app.connection.rename(mesh.name, member.id, name)
        except Refused as error:
            self._refuse(str(error), error.fix)
            return
        self._app.say(Cell("✓ ", Tone.GOOD), Cell(f"{member.name} is {name} now"))

    def _refuse(self, why: str, fix: str) -> None:
        cells = [Cell("▲ ", Tone.CAUTION), Cell(why)]
        if fix:
            cells += [Cell("  → ", Tone.DIM), Cell(fix, Tone.STRONG)]
        self._app.say(*cells)
