"""Which addresses a server may talk to for somebody else: public ones, and what its operator lists."""

from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from core.webhooks.errors import WebhookRefused
from core.webhooks.urls import Target, as_address, parse_target

SETTING: Final = "SECATEUR_WEBHOOK_ALLOW"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Beside what `is_global` knows, whose tables differ between versions of Python.
_NOT_PUBLIC_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24",
        "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_UNICAST_6: Final = IPv6Network("2000::/3")  # all that has been given out
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols: Teredo, benchmarks, ORCHID
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4, which leads to any IPv4 address
    )
)  # fmt: skip
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NEVER_PUBLIC: Final = ("localhost", "local", "internal", "lan", "home", "corp", "arpa")


def is_public(address: Address) -> bool:
    """Whether `address` is one that anybody may reach, and nothing of the network we stand in."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _NOT_PUBLIC_4)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    given = address in _UNICAST_6 and address.is_global
    return given and not any(address in network for network in _NOT_PUBLIC_6)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator lists: names that are trusted wherever they lead, and networks."""

    entries: tuple[str, ...] = ()

    def names(self, host: str) -> bool:
        """Whether `host`, a name or an address, is listed."""
        address = as_address(host)
        if address is None:
            return host in (entry.lower() for entry in self.entries)
        return self.contains(address)

    def contains(self, address: Address) -> bool:
        """Whether `address` lies in one of the networks."""
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(plain in network for network in map(_network, self.entries) if network)


def permitted(url: str, allowed: Allowed) -> Target:
    """The target of a webhook, as far as it can be judged without asking for its addresses.

    Raises:
        WebhookRefused: it is no https:// URL of a public host, nor one that is listed.
    """
    try:
        target = parse_target(url)
    except ValueError as error:
        raise WebhookRefused(
            f"the webhook's URL {error}.", remedy="Write https://HOST/PATH."
        ) from None
    if allowed.names(target.host):
        return target
    if target.scheme != "https":
        raise _refused("is not https:// and would be sent for anybody to read")
    if target.port == 80:
        raise _refused("has the port 80, where nobody speaks https")
    if not _may_be_public(target):
        raise _refused(f"leads to {target.host}, which is no public host")
    return target


def usable(host: str, found: tuple[Address, ...], allowed: Allowed) -> tuple[Address, ...]:
    """The addresses of `host`, all of which may be connected to; none where one may not.

    A name that leads to a public and to a private address is not one that was set up in good
    faith, so it is not picked from.
    """
    if as_address(host) is None and allowed.names(host):
        return found
    fine = all(is_public(address) or allowed.contains(address) for address in found)
    return found if fine else ()


def check_entries(entries: tuple[str, ...]) -> tuple[str, ...]:
    """`entries`, each a name or a network. Raises ValueError, which says which one is neither."""
    for entry in entries:
        if _network(entry) is None:
            try:
                target = parse_target(f"https://{entry}/")
            except ValueError:
                target = None
            if target is None or target.host != entry.lower():
                raise ValueError(f"{entry!r} is neither the name of a host nor a network")
    return entries


def _may_be_public(target: Target) -> bool:
    if target.address is not None:
        return is_public(target.address)
    labels = target.host.split(".")
    return len(labels) > 1 and labels[-1] not in _NEVER_PUBLIC


def _refused(why: str) -> WebhookRefused:
    return WebhookRefused(
        f"the webhook's URL {why}.",
        remedy="Write https://HOST/PATH with a public host, or ask the server's operator to list the"
        f" host in {SETTING}.",
    )


@cache
def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry)
    except ValueError:
        return None
