"""Structured logs on standard error, with secrets and control characters taken out."""

from __future__ import annotations

import json
import logging
import re
import sys
import time

SECRETS = re.compile(r"(meshkey1-|mesh1-)[a-z2-7]+(-[a-z2-7]+)?|(?<=://)\S+(?=@)", re.IGNORECASE)
"""Cluster keys, invites, and users with their passwords in URLs."""

_CONTROL = {number: f"\\x{number:02x}" for number in (*range(32), 127, *range(128, 160))}


def clean(text: str) -> str:
    """One line without secrets; what a stranger sent can't move the cursor or fake another line."""
    return SECRETS.sub(lambda match: f"{match[1] or ''}(hidden)", text).translate(_CONTROL)


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = f"{at}.{int(record.msecs):03d}Z {record.levelname.lower():7} {record.name}: {clean(record.getMessage())}"
        if record.exc_info:
            text += "\n" + SECRETS.sub("(hidden)", self.formatException(record.exc_info))
        return text


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        if record.exc_info:
            document["exception"] = SECRETS.sub("(hidden)", self.formatException(record.exc_info))
        return json.dumps(document, ensure_ascii=False)


def set_up(level: str, layout: str) -> None:
    """Call once, at the start of the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if layout == "json" else TextFormatter())
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.startswith("meshd"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
