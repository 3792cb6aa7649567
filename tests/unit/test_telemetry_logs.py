"""Log lines: what they carry, and that nobody can write one of ours."""

import io
import json
import logging
from contextvars import copy_context
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.telemetry import fields, logs, relayed

FORGED = "lost\n2026-11-02 09:00:00,000 INFO api.access [tenant=root]: forged"


def written(log_format: logs.LogFormat, level: str = "INFO") -> io.StringIO:
    to = io.StringIO()
    logs.configure(log_format, level, "worker", to)
    return to


def only(to: io.StringIO) -> dict[str, Any]:
    (line,) = to.getvalue().splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_json_has_all_that_is_known() -> None:
    to = written("json")
    with fields.bind(job="job_a", attempt=2, request_id=None), fields.bind(tenant="search"):
        fields.note(key="key_1")
        logging.getLogger("x").warning("%d things", 3, extra={"fields": {"seconds": 0.5}})
    found = only(to)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "WARNING",
        "logger": "x",
        "message": "3 things",
        "component": "worker",
        "job": "job_a",
        "attempt": 2,
        "tenant": "search",
        "key": "key_1",
        "seconds": 0.5,
    }


def test_text_has_it_before_the_message() -> None:
    to = written("text")
    with fields.bind(job="job_a"):
        logging.getLogger("x").info("done")
    assert to.getvalue().rstrip().endswith(" INFO x [component=worker job=job_a]: done")


def test_fields_end_with_their_block_and_reach_its_threads() -> None:
    with fields.bind(job="a"):
        # What a request's thread finds out, the rest of the request knows.
        copy_context().run(lambda: fields.note(tenant="b"))
        assert fields.current() == {"job": "a", "tenant": "b"}
        with fields.bind(job="c"):
            assert fields.current()["job"] == "c"
        assert fields.current()["job"] == "a"
    fields.note(job="nobody's")
    assert fields.current() == {}


@pytest.mark.parametrize("log_format", get_args(logs.LogFormat))
@given(text=st.text(), value=st.text())
def test_nothing_in_a_message_or_a_field_begins_a_line(
    log_format: logs.LogFormat, text: str, value: str
) -> None:
    record = logging.makeLogRecord({"name": "x", "msg": "%s", "args": (text,), "levelname": "INFO"})
    record.known = {"job": value}
    first, *rest = logs.formatter(log_format).format(record).splitlines()
    if log_format == "json":
        assert rest == []
        assert json.loads(first) == json.loads(first) | {"job": value, "message": text}
    else:
        assert all(line.startswith(logs.CONTINUED) for line in rest)
        assert first.count(" [job=") >= 1
        assert first.index(" x [job=") < 40  # what comes from outside comes after it
        assert "]" not in first[first.index("[job=") :].partition("]: ")[0]


@pytest.mark.parametrize("log_format", get_args(logs.LogFormat))
def test_a_traceback_belongs_to_its_line(log_format: logs.LogFormat) -> None:
    to = written(log_format)
    try:
        raise ZeroDivisionError(FORGED)
    except ZeroDivisionError:
        logging.getLogger("x").exception("it failed")
    if log_format == "json":
        assert only(to)["exception"].endswith(FORGED)
    else:
        first, *rest = to.getvalue().splitlines()
        assert first.endswith("it failed")
        assert all(line.startswith(logs.CONTINUED) for line in rest)
        assert any("forged" in line for line in rest)


def test_what_libraries_hang_on_their_records_stays_there() -> None:
    to = written("json")
    logging.getLogger("celery").info("got a task", extra={"data": {"args": ["secret"]}})
    assert "secret" not in to.getvalue()


@pytest.mark.parametrize("name", ["botocore.auth", "httpx", "urllib3.connectionpool"])
def test_who_tells_signatures_is_quiet_even_when_we_debug(name: str) -> None:
    to = written("text", "DEBUG")
    logging.getLogger(name).info("GET https://bucket/key?X-Amz-Signature=abc")
    assert to.getvalue() == ""
    logging.getLogger(name).warning("a retry")
    assert "a retry" in to.getvalue()


class TestRelayed:
    """From a runner's stderr through its supervisor."""

    def sent(self, *arguments: Any, level: int = logging.INFO, **more: Any) -> bytes:
        record = logging.getLogger("core.run").makeRecord(
            "core.run", level, "f", 1, *arguments, **more
        )
        return relayed.SentLines().format(record).encode()

    def test_a_record_keeps_its_level_and_logger_and_gets_the_job(self) -> None:
        to = written("json")
        sent = relayed.receive(self.sent("%d blocks\nof 4", (3,), None, level=logging.WARNING))
        with fields.bind(job="job_a", tenant="search"):
            relayed.log(sent, "runner")
        found = only(to)
        assert found["message"] == "3 blocks\nof 4"
        kept = [found[name] for name in ("level", "logger", "component", "job", "tenant")]
        assert kept == ["WARNING", "core.run", "runner", "job_a", "search"]

    def test_an_exception_comes_with_it(self) -> None:
        to = written("json")
        try:
            raise ZeroDivisionError("two\nlines")
        except ZeroDivisionError as error:
            sent = relayed.receive(self.sent("no", (), (type(error), error, None)))
        relayed.log(sent, "runner")
        assert only(to)["exception"].endswith("two\nlines")
        assert sent.lines() == ["INFO core.run: no", "ZeroDivisionError: two", "lines"]

    @pytest.mark.parametrize(
        "line",
        [
            b"Traceback (most recent call last):",
            b"\xff\xfe",
            b"{}",
            b'{"level": "INFO", "logger": "x"}',
            b'{"level": "LOUD", "logger": "x", "message": "m"}',
            b'{"level": "INFO", "logger": "x", "message": "m", "job": "another"}',
        ],
    )
    def test_what_is_no_record_is_text(self, line: bytes) -> None:
        sent = relayed.receive(line)
        assert (sent.logger, sent.level) == (relayed.RAW, "INFO")
        assert sent.lines() == [line.decode(errors="replace")]

    def test_nobody_asks_for_more_than_the_level(self) -> None:
        to = written("json", "WARNING")
        relayed.log(relayed.receive(self.sent("quiet", (), None)), "runner")
        relayed.log(relayed.receive(b"raw"), "runner")
        assert to.getvalue() == ""

    def test_a_line_without_end_is_cut(self) -> None:
        assert len(relayed.receive(b"x" * 1_000_000).message) < 20_000
