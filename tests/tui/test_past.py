"""What meshd remembers from before: samples, the day, and the whole journal."""

from __future__ import annotations

from collections.abc import Callable

from meshproto import local_pb2
from meshproto.byte_scale import packed
from meshtui.app import MeshtuiApp
from tui.conftest import press, settled, shows
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SMALL = (80, 24)


async def test_the_whole_journal_is_read_when_somebody_looks_at_it(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    hours = [
        recordings.event(1000 + number, (30 + number) * recordings.HOUR, f"word {number}") for number in range(900)
    ]
    meshd = make_meshd(recordings.status(recordings.mesh()), recordings.events())
    meshd.journal = [*reversed(hours), *recordings.events()]
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert len(app.model.events) == 7
        await press(pilot, "7")
        await shows(app, "907 events", "203.0.113.0/24 is offered by gw-paris too")
        await press(pilot, "g")
        await shows(app, "word 899")
        meshd.journal = []
        await press(pilot, "2", "7")
        await shows(app, "907 events")


async def test_who_opens_it_later_sees_the_past(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    """The helper's, not what came since: at the first snapshot."""
    grace = recordings.members()[4]
    traffic = bytearray(450)
    traffic[:200] = bytes([packed(9e6)]) * 200
    meshd = make_meshd(recordings.status(recordings.mesh()))
    meshd.past = [
        local_pb2.MemberPast(
            mesh_id="mesh-home", member_id=grace.id, newest_sample=recordings.NOW_MS // 2000, traffic=bytes(traffic),
            latency=bytes(packed(48) if one else 0 for one in traffic),
        )
    ]  # fmt: skip
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, *"jjjj")
        await shows(app, "Traffic   █████████████", "8.5 MB/s at most in 15 min", "46.0 ms median")
        await press(pilot, "enter")
        await shows(app, f"per 9 s   {'█' * 44}", "traffic, 8.5 MB/s at most in 24 h")


async def test_the_whole_story_has_the_day(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "j", "enter")
        await shows(app, "24 hours", "latency, 79.0 ms at worst", "traffic, 239 kB/s at most")
