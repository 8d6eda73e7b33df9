"""From a deed to what carries it out, in a worker of the app, so that no key waits for the helper."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from meshtui.actions import export, invites, members, meshes, routes
from meshtui.actions.dialogue import Dialogue
from meshtui.connection import Refused
from meshtui.listings.day import Day
from meshtui.model import Member, Mesh
from meshtui.permissions import Deed, Refusal, Subject, copied, refusal
from meshtui.replay import Replay
from meshtui.view import View

if TYPE_CHECKING:
    from meshtui.app import MeshtuiApp

Handler = Callable[[Dialogue, Mesh, Sequence[Any]], Awaitable[None]]

IN_A_MESH: dict[Deed, Handler] = {
    Deed.PING: members.ping,
    Deed.ENABLE: members.enable,
    Deed.RENAME: members.rename,
    Deed.ADMIN: members.admin,
    Deed.REMOVE: members.remove,
    Deed.PROMOTE: members.promote,
    Deed.LET_IN: members.let_in,
    Deed.REFUSE: members.refuse,
    Deed.PUBLISH: routes.publish,
    Deed.WITHDRAW: routes.withdraw,
    Deed.USE: routes.use,
    Deed.INVITE: invites.make,
    Deed.SHOW: invites.show,
    Deed.REVOKE: invites.revoke,
    Deed.CONNECT: meshes.connect,
    Deed.LEAVE: meshes.leave,
    Deed.KEY: meshes.key,
    Deed.EXPORT: export.export,
}


class Actions:
    def __init__(self, app: MeshtuiApp) -> None:
        self._app = app
        self._talk = Dialogue(app)

    def next_mesh(self) -> None:
        self._app.next_mesh()

    def show_mesh(self, name: str) -> None:
        self._app.show_mesh(name)

    async def go_to(self, subject: Subject) -> None:
        await self._app.go_to(subject)

    def do(self, deed: Deed, view: View, subjects: Sequence[Subject]) -> None:
        refusals = [refusal(deed, view, one) for one in subjects] or [refusal(deed, view)]
        refused = next((one for one in refusals if one is not None), None)
        if refused is not None:
            self.say_refusal(refused)
        elif deed is Deed.COPY:
            self._copy([copied(one) for one in subjects])
        else:
            self._app.gate.hold()
            self._app.run_worker(self._run(deed, view, subjects), group="action")

    def ask_for_day(self, mesh: Mesh, member: Member, show: Callable[[Day], None]) -> None:
        """Without an answer, as in a recording, there is nothing to show."""

        async def ask() -> None:
            with suppress(Refused):
                reply = await self._app.connection.call("GetPast", mesh=mesh.name, who=member.id)
                show(Day(reply.traffic, reply.latency_ms))

        self._app.run_worker(ask(), group="day", exclusive=True)

    def ask_for_events(self) -> None:
        self._app.ask_for_events()

    def remember_order(self, tab: str, order: tuple[str, bool]) -> None:
        self._app.prefer(self._app.preferences.sorted_by(tab, order))

    def remember_columns(self, tab: str, hidden: frozenset[str]) -> None:
        self._app.prefer(self._app.preferences.without(tab, hidden))

    def pause(self) -> None:
        self._app.steer(Replay.pause)

    def step(self) -> None:
        self._app.steer(Replay.step)

    def faster(self, steps: int) -> None:
        self._app.steer(lambda replay: replay.faster(steps))

    def say_refusal(self, refused: Refusal) -> None:
        self._talk.refused(refused.why, refused.fix)

    def _copy(self, texts: Sequence[str]) -> None:
        self._talk.copy("\n".join(texts))
        what = f"{texts[0]} is" if len(texts) == 1 else f"{len(texts)} addresses are"
        self._talk.good(f"{what} on the clipboard")

    async def _run(self, deed: Deed, view: View, subjects: Sequence[Subject]) -> None:
        known = [mesh.name for mesh in view.model.meshes]
        try:
            if deed is Deed.CREATE:
                await meshes.create(self._talk, known)
            elif deed is Deed.JOIN:
                await meshes.join(self._talk)
            elif deed is Deed.EXAMINE:
                await self._talk.examine()
            elif view.mesh is not None:
                await IN_A_MESH[deed](self._talk, view.mesh, subjects)
        except Refused as error:
            self._talk.refused(str(error), error.fix)
        finally:
            self._app.gate.release()
