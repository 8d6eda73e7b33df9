"""Cluster keys: the text form, its ways to be broken, and the proof."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto import base32
from meshproto.cluster_key import ClusterKey, is_cluster_key, proof, proof_matches
from meshproto.format_error import FormatError

bytes32 = st.binary(min_size=32, max_size=32)
keys = st.builds(ClusterKey, bytes32, bytes32)
KEY = ClusterKey(bytes(range(32)), bytes(range(50, 82)))


def code_of(text: str) -> str:
    with pytest.raises(FormatError) as caught:
        ClusterKey.parse(text)
    assert caught.value.message
    assert caught.value.fix
    return caught.value.code


@given(keys)
def test_a_key_reads_back_in_any_case_and_wrapped(key: ClusterKey) -> None:
    text = key.text()
    assert ClusterKey.parse(text) == ClusterKey.parse(f" {text.upper()}\n") == key
    assert ClusterKey.parse(f"{text[:40]}\r\n  {text[40:]}") == key
    assert text.count("-") == 2
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz234567-1")


def test_the_last_part_is_the_fingerprint_that_people_compare() -> None:
    ca = b"certificate"
    key = ClusterKey.generate(ca)
    assert key.text().split("-")[2] == base32.encode(hashlib.sha256(ca).digest())
    assert key.matches(ca)
    assert not key.matches(b"another")
    assert ClusterKey.generate(ca).secret != key.secret


@given(keys, st.data())
def test_a_truncated_key_is_called_truncated(key: ClusterKey, data: st.DataObject) -> None:
    text = key.text()
    assert code_of(text[: data.draw(st.integers(1, len(text) - 1))]) == "key-truncated"


@given(st.data())
def test_an_edited_key_is_called_edited(data: st.DataObject) -> None:
    text = KEY.text()
    at = data.draw(st.integers(len("meshkey1-"), len(text) - 1).filter(lambda at: text[at] != "-"))
    other = data.draw(st.sampled_from([one for one in "abcdefghijklmnopqrstuvwxyz2345670189!é" if one != text[at]]))
    assert code_of(text[:at] + other + text[at + 1 :]) == "key-edited"
    assert code_of(text + other) == "key-edited"


def test_other_texts_have_other_messages() -> None:
    assert code_of("mesh1-abcd") == "key-unreadable"
    assert code_of("") == "key-unreadable"
    assert code_of("meshkey2-abcd-abcd") == "key-newer"
    assert is_cluster_key(" MESHKEY1-x")
    assert not is_cluster_key("mesh1-x")


@given(st.one_of(st.text(), st.text().map("meshkey1-".__add__)))
def test_any_text_is_a_format_error(text: str) -> None:
    with pytest.raises(FormatError):
        ClusterKey.parse(text)


def test_no_secret_is_printed_by_accident() -> None:
    secret = KEY.text().split("-")[1]
    assert secret not in f"{KEY} {KEY!r}"
    assert str(KEY.secret) not in repr(KEY)


def test_the_proof_depends_on_everything_and_on_where_fields_end() -> None:
    fields = [b"secret", b"nonce", b"ca", b"server", b"wireguard", b"csr"]
    proofs = {proof(*fields)}
    for at in range(len(fields)):
        changed = list(fields)
        changed[at] += b"x"
        proofs.add(proof(*changed))
    proofs.add(proof(b"secret", b"nonce", b"cas", b"erver", b"wireguard", b"csr"))
    assert len(proofs) == len(fields) + 2
    assert proof_matches(proof(*fields), proof(*fields))
    assert not proof_matches(proof(*fields), b"")


@given(st.binary(max_size=80))
def test_base32_reads_back(data: bytes) -> None:
    assert base32.decode(base32.encode(data)) == data


@given(st.text(max_size=40))
def test_base32_reads_any_text_or_raises_value_error(text: str) -> None:
    try:
        data = base32.decode(text)
    except ValueError:
        return
    assert len(data) == len(text) * 5 // 8
