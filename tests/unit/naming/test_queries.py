"""DNS messages from strangers: whatever the bytes, there is a question, a refusal or silence, and no exception."""

from __future__ import annotations

import struct
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsigkeyring
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.naming.queries import (
    PAYLOAD,
    Query,
    forwarded,
    is_answer,
    is_truncated,
    read_query,
    refusal,
    relayed,
    reply,
)
from meshd.naming.zone import Answer


def question(name: str = "gw-paris.home.wg", kind: str = "A", **options: Any) -> dns.message.QueryMessage:
    return dns.message.make_query(name, kind, **options)


def signed() -> bytes:
    message = question(use_edns=0)
    message.use_tsig(dns.tsigkeyring.from_text({"key.": "c2VjcmV0c2VjcmV0"}))
    return message.to_wire()


def read(message: dns.message.Message, tcp: bool = False) -> Query:
    query = read_query(message.to_wire(), tcp)
    assert isinstance(query, Query)
    return query


def refused(message: dns.message.Message | bytes, tcp: bool = False) -> dns.message.Message:
    wire = message if isinstance(message, bytes) else message.to_wire()
    answer = read_query(wire, tcp)
    assert isinstance(answer, bytes)
    return dns.message.from_wire(answer)


SAMPLES = [
    question().to_wire(),
    question("1.0.12.10.in-addr.arpa", "PTR").to_wire(),
    question(use_edns=0, want_dnssec=True, pad=128, options=[dns.edns.GenericOption(10, b"12345678")]).to_wire(),
    dns.message.make_response(question("a.home.wg", "ANY")).to_wire(),
    signed(),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good message with some bytes changed, cut off or added."""
    wire = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 5))):
        wire[draw(st.integers(0, len(wire) - 1))] = draw(st.integers(0, 255))
    return bytes(wire[: draw(st.integers(0, len(wire)))]) + draw(st.binary(max_size=16))


@given(st.one_of(st.binary(max_size=600), damaged(), damaged().map(lambda one: one[:2] + b"\1\0\0\1" + one[6:])))
def test_any_bytes_are_read_and_answered(wire: bytes) -> None:
    for tcp in (False, True):
        found = read_query(wire, tcp)
        if found is None:
            assert len(wire) < 12 or wire[2] & 0x80
            continue
        answer = refusal(found, dns.rcode.SERVFAIL) if isinstance(found, Query) else found
        number, flags = struct.unpack_from("!HH", answer)
        assert number == struct.unpack_from("!H", wire)[0]
        assert flags & dns.flags.QR
        assert len(answer) <= 65535 if tcp else len(answer) <= 512 or len(answer) <= PAYLOAD
        dns.message.from_wire(answer)
        if isinstance(found, Query):
            again = dns.message.from_wire(forwarded(found, 77).to_wire())
            assert (again.id, again.question) == (77, found.message.question)
            assert relayed(found, wire.ljust(12, b"\0"))[:2] == wire[:2]
            assert is_truncated(relayed(found, b"\0" * 70000))


@given(damaged())
def test_any_answer_of_an_upstream_can_be_looked_at(wire: bytes) -> None:
    assert is_answer(question(id=1), wire) in (True, False)


def test_answers_and_scraps_get_no_answer() -> None:
    assert read_query(b"", tcp=False) is None
    assert read_query(question().to_wire()[:11], tcp=False) is None
    assert read_query(dns.message.make_response(question()).to_wire(), tcp=False) is None


def test_what_is_no_question_is_told_so() -> None:
    update = dns.update.UpdateMessage("home.wg")
    update.add("gw-paris", 60, "A", "192.0.2.66")
    assert refused(update).rcode() == dns.rcode.NOTIMP
    wire = question().to_wire()
    assert refused(wire[:-3]).rcode() == dns.rcode.FORMERR
    assert refused(wire + b"more").rcode() == dns.rcode.FORMERR
    assert refused(struct.pack("!6H", 7, 0x100, 0, 0, 0, 0)).rcode() == dns.rcode.FORMERR
    assert refused(struct.pack("!6H", 7, 0x100, 2, 0, 0, 0) + wire[12:] * 2).rcode() == dns.rcode.FORMERR
    looped = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1"  # a name that points to itself
    assert refused(looped).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (question(kind="AXFR"), dns.rcode.REFUSED),
        (question(kind="IXFR"), dns.rcode.REFUSED),
        (dns.message.make_query("version.bind", "TXT", dns.rdataclass.CH), dns.rcode.REFUSED),
        (question(kind="OPT"), dns.rcode.FORMERR),
        (question(use_edns=1), dns.rcode.BADVERS),
    ],
)
def test_what_is_not_served_is_refused(message: dns.message.Message, rcode: dns.rcode.Rcode) -> None:
    answer = refused(message)
    assert answer.rcode() == rcode
    assert answer.question == message.question
    assert not answer.flags & dns.flags.AA


def test_signatures_are_not_checked() -> None:
    assert isinstance(read_query(signed(), tcp=False), Query)


def test_the_answer_repeats_the_question() -> None:
    query = read(question(id=4711))
    records = dns.rrset.from_text("gw-paris.home.wg.", 30, "IN", "A", "10.12.0.1")
    answer = dns.message.from_wire(reply(query, Answer(dns.rcode.NOERROR, (records,))))
    assert answer.id == 4711
    assert answer.question == query.message.question
    assert answer.answer == [records]
    wanted = dns.flags.QR | dns.flags.AA | dns.flags.RA
    assert answer.flags & wanted == wanted
    assert answer.edns == -1


def _long() -> Answer:
    texts = [f"10.11.{number // 200}.{number % 200 + 1}" for number in range(400)]
    return Answer(dns.rcode.NOERROR, (dns.rrset.from_text_list("gw-paris.home.wg.", 30, "IN", "A", texts),))


@pytest.mark.parametrize(
    ("edns", "limit"), [({}, 512), ({"use_edns": 0, "payload": 900}, 900), ({"use_edns": 0, "payload": 4096}, PAYLOAD)]
)
def test_a_long_answer_is_cut_on_udp_and_whole_on_tcp(edns: dict[str, int], limit: int) -> None:
    wire = reply(read(question(**edns)), _long())
    assert len(wire) <= limit
    assert is_truncated(wire)
    whole = dns.message.from_wire(reply(read(question(**edns), tcp=True), _long()))
    assert len(whole.answer[0]) == 400
    assert not whole.flags & dns.flags.TC


def test_a_payload_below_512_counts_as_512() -> None:
    assert read(question(use_edns=0, payload=100)).limit == 512


def test_options_stay_between_neighbours() -> None:
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    query = read(question(use_edns=0, want_dnssec=True, options=[cookie], flags=dns.flags.RD | dns.flags.CD))
    sent = forwarded(query, 99)
    assert sent.id == 99
    assert sent.options == ()
    assert sent.ednsflags & dns.flags.DO
    assert sent.flags == dns.flags.RD | dns.flags.CD
    assert forwarded(read(question()), 1).edns == -1


def test_only_the_answer_to_what_was_sent_counts() -> None:
    sent = question(id=5)
    assert is_answer(sent, dns.message.make_response(sent).to_wire())
    assert not is_answer(sent, dns.message.make_response(question(id=6)).to_wire())
    assert not is_answer(sent, dns.message.make_response(question("other.example", id=5)).to_wire())
    assert not is_answer(sent, dns.message.make_response(question(kind="AAAA", id=5)).to_wire())
    assert not is_answer(sent, sent.to_wire())
    assert not is_answer(sent, b"")


def test_an_upstream_answer_is_relayed_byte_for_byte_under_the_askers_id() -> None:
    query = read(question(id=11))
    upstream = dns.message.make_response(forwarded(query, 99))
    upstream.answer.append(dns.rrset.from_text("gw-paris.home.wg.", 60, "IN", "A", "192.0.2.1"))
    wire = upstream.to_wire()
    assert relayed(query, wire) == struct.pack("!H", 11) + wire[2:]


def test_an_upstream_answer_that_is_too_long_is_cut() -> None:
    query = read(question(id=11))
    upstream = dns.message.make_response(forwarded(query, 99))
    upstream.answer = list(_long().answer)
    upstream.set_rcode(dns.rcode.NXDOMAIN)
    answer = dns.message.from_wire(relayed(query, upstream.to_wire()))
    assert (answer.id, answer.rcode(), answer.answer) == (11, dns.rcode.NXDOMAIN, [])
    assert answer.flags & dns.flags.TC
