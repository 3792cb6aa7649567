"""What can go wrong with the answers of the hub in `tests.hub`, by name."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from threading import Event


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer, and how often."""

    kind: str
    times: int = 1
    at: int = 0
    """Bytes of the answer that are sent before."""
    status: int = 503
    location: str = ""
    body: bytes = b"<html>"


class Answering(BaseHTTPRequestHandler):
    """One connection, and what answers are made of."""

    protocol_version = "HTTP/1.1"
    closing: Event

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def do_HEAD(self) -> None:
        self.reply()

    def do_GET(self) -> None:
        self.reply()

    def reply(self) -> None:
        raise NotImplementedError

    def sent(self, count: int) -> None:
        """Called with the bytes of files that have left."""

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.head(status, {"Content-Length": str(len(body))} | headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def announce(self, length: int | None, headers: dict[str, str]) -> None:
        """Begin an answer of `length` bytes, which is a part where the headers say of what."""
        known = {} if length is None else {"Content-Length": str(length)}
        self.head(206 if "Content-Range" in headers else 200, headers | known)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        self.sent(len(data))


Span = tuple[int, int]
Headers = dict[str, str]


def plain(to: Answering, _: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    begin, end = span
    to.announce(end - begin, headers)
    to.write(whole[begin:end])


def cut(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    begin, end = span
    to.announce(end - begin, headers)
    to.write(whole[begin : min(begin + fault.at, end)])
    to.close_connection = True


def stalled(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    cut(to, fault, whole, span, headers)
    to.closing.wait(20)


def altered(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """One bit is another one."""
    changed = bytearray(whole)
    changed[-1] ^= 1
    plain(to, fault, bytes(changed), span, headers)


def longer(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """Without saying so before: in chunks, whose end nobody announces."""
    begin, end = span
    to.announce(None, headers | {"Transfer-Encoding": "chunked"})
    for data in (whole[begin:end], whole[begin:end]):
        to.write(b"%x\r\n%b\r\n" % (len(data), data))
    to.write(b"0\r\n\r\n")


def shorter_file(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """Another file than the one that was listed."""
    begin, end = span
    there = {"Content-Range": f"bytes {begin}-{end - 2}/{len(whole) - 1}"}
    changed = headers | there if "Content-Range" in headers else headers
    to.announce(end - begin - 1, changed)
    to.write(whole[begin : end - 1])


def whole_file(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """As if Range were unknown."""
    plain(to, fault, whole, (0, len(whole)), {})


def begun_anew(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """The same, and cut."""
    cut(to, fault, whole, (0, len(whole)), {})


def other_part(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    there = {"Content-Range": f"bytes 1-{len(whole) - 1}/{len(whole)}"}
    to.announce(len(whole) - 1, headers | there)
    to.write(whole[1:])


def no_part(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    to.head(206, {"Content-Length": str(len(whole))})
    to.write(whole)


def zipped(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    plain(to, fault, whole, span, headers | {"Content-Encoding": "gzip"})


def dripping(to: Answering, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    begin, end = span
    to.announce(end - begin, headers)
    for at in range(begin, end):
        if to.closing.wait(0.05):
            return
        to.write(whole[at : at + 1])


def refused(to: Answering, fault: Fault) -> None:
    code = {401: "RepoNotFound", 403: "GatedRepo", 404: "EntryNotFound"}.get(fault.status)
    to.answer(fault.status, b"{}", {"Retry-After": "0"} | ({"X-Error-Code": code} if code else {}))


def moved(to: Answering, fault: Fault) -> None:
    to.answer(302, b"", {"Location": fault.location})


def deaf(to: Answering, _: Fault) -> None:
    to.closing.wait(20)
    to.close_connection = True


def hung_up(to: Answering, _: Fault) -> None:
    to.close_connection = True


def replaced(to: Answering, fault: Fault) -> None:
    to.answer(200, fault.body, {})


def endless(to: Answering, _: Fault) -> None:
    """JSON that goes on for ever."""
    to.head(200, {"Transfer-Encoding": "chunked"})
    data = b" " * (1 << 20)
    while not to.closing.is_set():
        try:
            to.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        except OSError:
            return
        time.sleep(0.001)


BEFORE: dict[str, Callable[[Answering, Fault], None]] = {
    "refused": refused,
    "moved": moved,
    "deaf": deaf,
    "hung up": hung_up,
    "replaced": replaced,
    "endless": endless,
}
BODIES: dict[str, Callable[[Answering, Fault, bytes, Span, Headers], None]] = {
    "cut": cut,
    "stalled": stalled,
    "altered": altered,
    "longer": longer,
    "shorter file": shorter_file,
    "whole file": whole_file,
    "begun anew": begun_anew,
    "other part": other_part,
    "no part": no_part,
    "zipped": zipped,
    "dripping": dripping,
}
