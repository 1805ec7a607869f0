"""Logs as JSON lines without ids or values, for machines that collect them; and as text, for people beside them.

A line of JSON holds what the program says by itself (level, part, the message's template, an error's class) and, of a
record's fields, the counts and words listed here. Whatever was filled into a message (a name, a number of a node, an
error's text) stays out: it could quote a row or name a store. The text log on the same machine has it.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

FIELDS = (
    "round", "rounds", "stage", "seconds", "stores", "failures", "ignored", "attempt", "upload_bytes", "download_bytes",
    "aggregation",
)  # fmt: skip
"""Of the coordinator's line for a finished round: counts, seconds, bytes, and words of the plan."""


class JsonLines(logging.Formatter):
    """{"time", "level", "logger", "event", …} in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record without what was filled in."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": template(record),
        }
        if error := error_class(record):
            told["error"] = error
        told |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        return json.dumps(told)


class TextLines(logging.Formatter):
    """A format for people, and after it the fields of a record that has them: `round round=0 rounds=5 …`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and its traceback where it has one."""
        told = [f"{name}={getattr(record, name)}" for name in FIELDS if hasattr(record, name)]
        return " ".join([super().format(record), *told])


def template(record: logging.LogRecord) -> str:
    """The message before anything was filled in; a record of nothing but an error is called `error`, and one whose
    message was put together before it was logged is called by its module."""
    if record.args:
        return "error" if record.msg == "%s" else str(record.msg)
    known = isinstance(record.msg, str) and record.name.startswith("fedcart")
    return record.msg if known else record.module


def error_class(record: logging.LogRecord) -> str:
    """Class of the error that a record is about; empty = none is known."""
    if record.exc_info and record.exc_info[0] is not None:
        return record.exc_info[0].__name__
    args = record.args if isinstance(record.args, tuple) else ()
    return next((type(arg).__name__ for arg in args if isinstance(arg, BaseException)), "")


def log_to_stderr(kind: str, text: str) -> None:
    """Log `fedcart` at INFO and the rest at WARNING to standard error.

    Args:
      kind: `json`, or `text` of the format `text`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if kind == "json" else TextLines(text))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("fedcart").setLevel(logging.INFO)
