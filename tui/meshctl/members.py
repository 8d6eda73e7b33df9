"""Commands about members and routes: nodes …, peers …, routes …."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from meshproto import local_pb2, state_pb2
from meshproto.client import HelperError
from meshproto.filter import Filter

from meshctl import as_json, as_text
from meshctl.session import Session, request_id


def _of_role(session: Session, role: state_pb2.Role.ValueType) -> list[local_pb2.MemberStatus]:
    return [one for one in session.one_mesh().members if one.role == role]


def _same_address(who: str, one: local_pb2.MemberStatus) -> bool:
    try:
        return str(ip_address(who)) in (one.ipv4, one.ipv6)
    except ValueError:
        return False


def _words(one: local_pb2.MemberStatus) -> str:
    """As meshtui's filter has them."""
    path = as_json.PATHS.get(one.path, "none") + (f" {one.relay}" if one.relay else "")
    state = "disabled" if not one.enabled else "online" if one.online or one.is_self else "offline"
    return f"{one.name} {as_json.ROLES.get(one.role, 'peer')} {one.ipv4} {one.ipv6} {path} {state} {one.id}"


def list_members(role: state_pb2.Role.ValueType, nothing: str) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        found = _of_role(session, role)
        wanted = Filter.parse(getattr(session.options, "filter", ""))
        if wanted and found:
            found = [one for one in found if wanted.accepts(one.name, _words(one))]
            nothing_here = f"None match {as_text.clean(session.options.filter)!r}."
        else:
            nothing_here = nothing
        session.show([as_json.member(one) for one in found], as_text.members(found, nothing_here))

    return command


def show_member(role: state_pb2.Role.ValueType) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        who = session.options.who.strip().lower()
        members = _of_role(session, role)
        found = [one for one in members if who in (one.name, one.id) or _same_address(who, one)]
        found = found or [one for one in members if len(who) >= 4 and one.id.startswith(who)]
        kind = as_json.ROLES[role]
        if len(found) > 1:
            names = ", ".join(sorted(one.name for one in found))
            raise HelperError("conflict", f"{who!r} is the beginning of several ids: {names}", "write more of it")
        if not found:
            raise HelperError("not-found", f"there is no {kind} {who!r}", f"see `meshctl {kind}s list`")
        session.show(as_json.member(found[0]), as_text.member(found[0]))

    return command


def remove_member(role: state_pb2.Role.ValueType) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        who = session.options.who
        request = local_pb2.MemberRequest(mesh=session.mesh, who=who, request_id=request_id(), role=role)
        text = f"{who} was removed"
        if role == state_pb2.ROLE_NODE:
            text += "; the cluster key, which it knew, is a new one: meshctl key show"
        session.done(session.change("RemoveMember", request), text)

    return command


def promote(session: Session) -> None:
    who = session.options.who
    if session.options.force:
        _force(session, who)
        return
    request = local_pb2.MemberRequest(mesh=session.mesh, who=who, request_id=request_id(), role=state_pb2.ROLE_NODE)
    session.done(session.change("PromoteNode", request), f"{who} is the primary")


def election_timeout(session: Session) -> None:
    seconds = session.options.seconds
    request = local_pb2.ElectionTimeoutRequest(
        mesh=session.mesh, request_id=request_id(), milliseconds=round(seconds * 1000)
    )
    session.done(
        session.change("SetElectionTimeout", request), f"another primary is elected after {seconds:g} s without one"
    )


def _force(session: Session, who: str) -> None:
    """Says what it may lose, and asks."""
    request = local_pb2.ForcePromotionRequest(mesh=session.mesh, who=who)
    told = session.call("ForcePromotion", request)
    warnings = told.warnings
    if not session.options.yes:
        text = "\n".join(as_text.clean(one) for one in warnings)
        session.confirm(
            f"{text}\nHave {as_text.clean(who)} lead by force?",
            f"{text.replace(chr(10), ' ')} Nobody can be asked here",
        )
    request.confirmed, request.epoch, request.revision = True, told.epoch, told.revision
    reply = session.change("ForcePromotion", request, "meshctl nodes list")
    session.show(
        {"epoch": reply.epoch, "revision": reply.revision, "warnings": list(warnings)},
        as_text.clean(f"{who} is the primary"),
    )


def _flag(session: Session, on: bool) -> local_pb2.SetMemberFlagRequest:
    return local_pb2.SetMemberFlagRequest(mesh=session.mesh, who=session.options.who, on=on, request_id=request_id())


def enable(on: bool) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        text = f"{session.options.who} is {'enabled' if on else 'disabled'}"
        session.done(session.change("SetMemberEnabled", _flag(session, on)), text)

    return command


def admin(session: Session) -> None:
    on = session.options.state == "on"
    text = f"{session.options.who} is {'now' if on else 'no longer'} an admin"
    session.done(session.change("SetMemberAdmin", _flag(session, on)), text)


def rename(session: Session) -> None:
    options = session.options
    request = local_pb2.RenameMemberRequest(
        mesh=session.mesh, who=options.who, name=options.name, request_id=request_id()
    )
    session.done(session.change("RenameMember", request), f"{options.who} is now {options.name}")


def pending(session: Session) -> None:
    found = session.one_mesh().pending
    session.show([as_json.pending(one) for one in found], as_text.pending(found))


def decide(method: str, text: str) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        request = local_pb2.PeerRequest(mesh=session.mesh, id=session.options.id, request_id=request_id())
        session.done(session.change(method, request), f"{session.options.id} {text}")

    return command


def list_routes(session: Session) -> None:
    found = session.one_mesh().routes
    session.show([as_json.route(one) for one in found], as_text.routes(found))


def change_route(method: str, text: str) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        options = session.options
        request = local_pb2.RouteRequest(
            mesh=session.mesh, cidr=options.cidr, node=options.node, request_id=request_id()
        )
        session.done(session.change(method, request), f"{options.cidr} {text}")

    return command


def prefer_route(accept: bool) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        cidr = session.options.cidr
        request = local_pb2.RoutePreferenceRequest(mesh=session.mesh, cidr=cidr, accept=accept)
        reply = session.change("SetRoutePreference", request, "meshctl status")
        text = f"{cidr} is {'accepted' if accept else 'ignored'} on this machine"
        session.show(as_json.mesh(reply.mesh), as_text.clean(text))

    return command
