"""Logs hold no secret and no line that a stranger made up."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.logs import JsonFormatter, TextFormatter, clean


def record(message: str, *, failed: Exception | None = None) -> logging.LogRecord:
    information = None
    if failed is not None:
        try:
            raise failed
        except Exception:
            information = sys.exc_info()
    return logging.LogRecord("meshd.rpc", logging.WARNING, "x.py", 1, message, (), information)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("joining with meshkey1-abcdef234-zyx765", "abcdef234"),
        ("joining with meshkey1-abcdef234-zyx765", "zyx765"),
        ("MESH1-ABCDEF234 is broken", "ABCDEF234"),
        ("mesh://join/mesh1-abcdef234", "abcdef234"),
        ("can't reach redis://:hunter2@192.0.2.1:6379/0", "hunter2"),
        ("can't reach rediss://ada:hun/ter:2@gw-berlin.example", "hun/ter:2"),
        ("can't reach redis://:p@ss@192.0.2.1", "p@ss"),
    ],
)
def test_secrets_are_hidden(text: str, secret: str) -> None:
    assert secret not in clean(text)
    assert "(hidden)" in clean(text)
    for formatter in (TextFormatter(), JsonFormatter()):
        assert secret not in formatter.format(record(text, failed=ValueError(text)))


def test_what_is_no_secret_stays() -> None:
    for text in ("mesh home is connected", "ada@192.0.2.1", "http://192.0.2.1/x", "fd00::1 answers"):
        assert clean(text) == text


@given(st.text(max_size=60))
def test_a_message_is_one_line(text: str) -> None:
    line = TextFormatter().format(record(text))
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in line)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_json_is_one_document_a_line(text: str) -> None:
    line = JsonFormatter().format(record(text))
    assert len(line.split("\n")) == 1
    document = json.loads(line)
    assert list(document) == ["time", "level", "logger", "message"]
    assert (document["level"], document["logger"]) == ("warning", "meshd.rpc")
