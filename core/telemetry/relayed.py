"""Log records on their way through another process: what a runner logs, its worker writes."""

import json
import logging
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.telemetry import fields

RAW: Final = "stderr"
"""The logger of what is no record: what libraries print, a traceback at the interpreter's end."""
_MOST: Final = 16_000  # characters of a line; the rest says nothing more


class Sent(BaseModel):
    """One record as one line of JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    logger: str = Field(min_length=1, max_length=200)
    message: str
    exception: str | None = None

    def lines(self) -> list[str]:
        """As a person would like to read it."""
        text = self.message
        if self.logger != RAW:
            text = f"{self.level} {self.logger}: {text}"
        return [text, *(self.exception or "").splitlines()]


class SentLines(logging.Formatter):
    """Formats records so that `receive` understands them."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.exc_text
        if record.exc_info and not text:
            text = self.formatException(record.exc_info)
        level = record.levelname if record.levelname in logging.getLevelNamesMapping() else "INFO"
        sent = {"level": level, "logger": record.name, "message": record.getMessage()}
        return json.dumps({**sent, "exception": text} if text else sent)


def configure_sender(level: str) -> None:
    """Have everything that this process logs written to stderr in a way that `receive` understands."""
    handler = logging.StreamHandler()
    handler.setFormatter(SentLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def receive(line: bytes) -> Sent:
    """What a line on a process's stderr says; a plain text, if it is no record."""
    text = line.decode(errors="replace")
    try:
        return Sent.model_validate_json(text)
    except ValidationError:
        return Sent(level="INFO", logger=RAW, message=text.rstrip()[:_MOST])


def log(sent: Sent, component: str) -> None:
    """Log here what was logged there."""
    logger, level = logging.getLogger(sent.logger), logging.getLevelNamesMapping()[sent.level]
    if not logger.isEnabledFor(level):
        return
    with fields.bind(component=component):
        record = logger.makeRecord(
            sent.logger, level, "(another process)", 0, sent.message[:_MOST], (), None
        )
        record.exc_text = sent.exception
        logger.handle(record)
