"""Log lines: for people, or as JSON for programs, each with what is known of the work at hand.

Nothing that comes from outside can pass for a line of ours. In JSON a line feed is an escape; in text
every further line of a message is indented behind a bar, and other control characters are escaped.
"""

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

from core.telemetry import fields

LogFormat = Literal["text", "json"]

CONTINUED: Final = "  | "
# At DEBUG or INFO these tell URLs and headers, and a signed URL is as good as a key.
TALKATIVE: Final = ("boto3", "botocore", "s3transfer", "httpx", "httpcore", "urllib3", "requests")

# All but tab and line feed; also what only some programs take for the end of a line.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def configure(log_format: LogFormat, level: str, component: str, to: TextIO | None = None) -> None:
    """Have everything that this process logs written to `to`, stderr by default, and nowhere else.

    `component` is what this process is called in its lines: api, worker, supervisor, runner.
    """
    fields.always(component=component)
    handler = logging.StreamHandler(to) if to else _Stderr()
    handler.addFilter(add_fields)
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))


class _Stderr(logging.StreamHandler[TextIO]):
    """To stderr as it is when a line is written: whoever replaces it later means the lines, too."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def formatter(log_format: LogFormat) -> logging.Formatter:
    return JsonLines() if log_format == "json" else TextLines()


def add_fields(record: logging.LogRecord) -> bool:
    """A filter that lets everything through, and gives each record its fields."""
    record.known = fields.current()
    return True


class JsonLines(JsonFormatter):
    """One object a line: time, level, logger, message, an exception, and the fields beside them.

    What libraries hang on their records stays there: nobody has looked at what it may tell.
    """

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat()
        log_data["level"], log_data["logger"] = record.levelname, record.name
        log_data["message"] = record.getMessage()
        if "exc_info" in message_dict:
            log_data["exception"] = message_dict["exc_info"]
        # What a line tells for programs alone comes as `extra={"fields": …}`.
        for name, value in {**_known(record), **getattr(record, "fields", {})}.items():
            log_data.setdefault(name, value)


class TextLines(logging.Formatter):
    """`2026-11-02 09:00:00,000 INFO api.access [job=…]: message`."""

    def format(self, record: logging.LogRecord) -> str:
        known = " ".join(f"{name}={_inline(str(value))}" for name, value in _known(record).items())
        head = f"{self.formatTime(record)} {record.levelname} {record.name} [{known}]: "
        text = record.getMessage()
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        for more in (record.exc_text, record.stack_info):
            text += f"\n{more}" if more else ""
        return head + f"\n{CONTINUED}".join(_escaped(line) for line in text.split("\n"))


def _known(record: logging.LogRecord) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(record, "known", {})
    return found


def _inline(value: str) -> str:
    """A value that ends where it seems to end."""
    return re.sub(r"[\s\[\]=]", "_", _escaped(value))


def _escaped(line: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), line)
