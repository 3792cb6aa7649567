"""Where a webhook goes, read from what was typed. Nothing is asked or opened."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

LONGEST: Final = 2048
_HTTPS: Final = 443
_PRIVILEGED: Final = 1024  # below it lie mail, directories and the like, which nobody's hook is
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# What a C library takes for an IPv4 address beside four decimal numbers: 127.1, 0x7f000001, 017700000001.
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")


@dataclass(frozen=True, slots=True)
class Target:
    """One address over HTTP, taken apart."""

    scheme: str
    host: str
    """In lower case, without brackets and without a dot at its end."""
    port: int
    path: str
    """With its query."""

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address that the host is; None for a name."""
        return as_address(self.host)

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": _HTTPS, "http": 80}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


def parse_target(url: str) -> Target:
    """The target that `url` names.

    Raises:
        ValueError: it is no URL that could be meant; the message says why, and repeats no part of
            it but the host, since the rest may be a secret.
    """
    if len(url) > LONGEST or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise ValueError(f"must be a URL of at most {LONGEST} printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in ("https", "http"):
        raise ValueError("must begin with https://")
    if "@" in parts.netloc:
        raise ValueError(
            "must hold no user or password: whoever receives it checks the signature instead"
        )
    if "#" in url:
        raise ValueError("must have no fragment: it would never be sent")
    return Target(parts.scheme, _host(parts), _port(parts, port), _path(parts))


def as_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` spells; None where it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    if "%" in host:
        raise ValueError("must name no network interface and no escapes in its host")
    if as_address(host) is not None:
        return host
    if ":" in host or "[" in parts.netloc:
        raise ValueError("has a host that is no address")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a host that is no name; write other alphabets in their xn-- form")
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"has a host, {host!r}, that is neither a name nor an address")
    return host


def _port(parts: SplitResult, port: int | None) -> int:
    usual = _HTTPS if parts.scheme == "https" else 80
    port = usual if port is None else port
    if port < _PRIVILEGED and port not in (_HTTPS, 80):
        raise ValueError(f"has the port {port}; 443 and those from {_PRIVILEGED} can be used")
    return port


def _path(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path
