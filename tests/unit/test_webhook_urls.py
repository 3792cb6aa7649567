"""Where webhooks may go: what a URL must look like, and which hosts and addresses are public."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidSpec
from core.settings import Settings
from core.spec import parse_spec
from core.webhooks.allowed import Allowed, is_public, permitted, usable
from core.webhooks.errors import WebhookRefused
from core.webhooks.urls import parse_target

NOBODY = Allowed()
LEAST = {"model": {"source": "example:x"}, "sparsity": 0.5}


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path", "authority"),
    [
        ("https://a.example", "https", "a.example", 443, "/", "a.example"),
        ("https://A.Example./x?y=1", "https", "a.example", 443, "/x?y=1", "a.example"),
        ("https://a.example:8443?y", "https", "a.example", 8443, "/?y", "a.example:8443"),
        ("https://8.8.8.8/%20", "https", "8.8.8.8", 443, "/%20", "8.8.8.8"),
        ("https://[2600::1]:444444/", "", "", 0, "", ""),
        ("https://[2600::1]:4443/", "https", "2600::1", 4443, "/", "[2600::1]:4443"),
        ("http://a.example/", "http", "a.example", 80, "/", "a.example"),
        ("https://xn--bcher-kva.example/", "https", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(
    url: str, scheme: str, host: str, port: int, path: str, authority: str
) -> None:
    if not scheme:
        with pytest.raises(ValueError, match="is no URL"):
            parse_target(url)
        return
    target = parse_target(url)
    assert (target.scheme, target.host, target.port) == (scheme, host, port)
    assert (target.path, target.authority) == (path, authority)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "printable"),
        ("ftp://a.example/", "https://"),
        ("//a.example/", "https://"),
        ("https:///path", "no name"),
        ("https://user@a.example/", "no user or password"),
        ("https://user:secret@a.example/", "no user or password"),
        ("https://a.example@10.0.0.1/", "no user or password"),
        ("https://a.example\\@10.0.0.1/", "printable"),
        ("https://a.example/ x", "printable"),
        ("https://a.example/\n", "printable"),
        ("https://a.example/\0", "printable"),
        ("https://bücher.example/", "printable"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example/#", "fragment"),
        ("https://a..example/", "no name"),
        ("https://-a.example/", "no name"),
        ("https://a.example%2f.b/", "no escapes"),
        ("https://[fe80::1%25eth0]/", "no network interface"),
        ("https://[::1/", "is no URL"),
        ("https://[v1.a]/", "no address"),
        ("https://a:b:c/", "is no URL"),
        ("https://127.1/", "neither a name nor an address"),
        ("https://2130706433/", "neither a name nor an address"),
        ("https://0x7f000001/", "neither a name nor an address"),
        ("https://0x7f.0.0.0x1/", "neither a name nor an address"),
        ("https://017700000001/", "neither a name nor an address"),
        ("https://127.0.0.01/", "neither a name nor an address"),
        ("https://a.example:0/", "port 0"),
        ("https://a.example:22/", "port 22"),
        ("https://a.example:1023/", "port 1023"),
        ("https://a.example/" + "x" * 2048, "at most 2048"),
    ],
)
def test_what_is_no_receiver_is_refused_with_the_spec(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_target(url)
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({**LEAST, "webhook": {"url": url}})
    [field] = caught.value.fields
    assert field["field"] == "webhook.url"
    assert "secret" not in field["message"]


def test_the_events_are_states_and_by_default_the_ends() -> None:
    hook = {"url": "https://a.example"}
    spec = parse_spec({**LEAST, "webhook": hook})
    assert spec.webhook is not None
    assert spec.webhook.events == ("succeeded", "failed", "cancelled")
    assert parse_spec({**LEAST, "webhook": {**hook, "events": ["running"]}}).webhook
    for events in ([], ["queued"], ["cancelling"], ["running"] * 5):
        with pytest.raises(InvalidSpec):
            parse_spec({**LEAST, "webhook": {**hook, "events": events}})


PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.88.99.1"),
    *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"),
    *("240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("::ffff:169.254.169.254", "::ffff:0:8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::1", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:20::1", "2001:db8::1"),
    *("2002:7f00:1::1", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd12::1"),
    *("fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "4000::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    assert permitted(f"https://{host}/", NOBODY).address == ip_address(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_everything_else_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    if "%" not in address:
        host = f"[{address}]" if ":" in address else address
        with pytest.raises(WebhookRefused, match="no public host"):
            permitted(f"https://{host}/", NOBODY)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_itself(address: object) -> None:
    plain = ip_address(str(address))
    for prefix in ("::ffff:", "64:ff9b::"):
        assert is_public(ip_address(f"{prefix}{plain}")) == is_public(plain)
    assert not is_public(plain) or plain.is_global


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/",
        "https://a.example:80/",
        "https://localhost/",
        "https://receiver/",
        "https://receiver.localhost/",
        "https://metadata.google.internal/",
        "https://printer.local/",
    ],
)
def test_what_is_public_nowhere_is_refused_without_a_look_up(url: str) -> None:
    with pytest.raises(WebhookRefused) as caught:
        permitted(url, NOBODY)
    assert "SECATEUR_WEBHOOK_ALLOW" in caught.value.remedy


def test_an_operator_lists_names_and_networks() -> None:
    allowed = Allowed(("Receiver", "10.1.0.0/16", "::1"))
    for url in (
        "http://receiver/",
        "https://receiver:9000/",
        "http://10.1.2.3/",
        "http://[::1]:8080/",
        "http://[::ffff:10.1.2.3]/",
    ):
        assert permitted(url, allowed)
    for url in ("http://10.2.0.1/", "https://10.2.0.1/", "https://sub.receiver.local/"):
        with pytest.raises(WebhookRefused):
            permitted(url, allowed)


def test_all_of_a_names_addresses_must_be_fine() -> None:
    inside, outside, listed = (ip_address(a) for a in ("10.2.0.1", "8.8.8.8", "10.1.0.1"))
    allowed = Allowed(("trusted.example", "10.1.0.0/16"))
    assert usable("a.example", (outside, listed), allowed) == (outside, listed)
    assert usable("a.example", (outside, inside), allowed) == ()
    assert usable("a.example", (inside, outside), allowed) == ()
    assert usable("trusted.example", (inside,), allowed) == (inside,)


@pytest.mark.parametrize("entries", ["a b", "https://a.example", "10.0.0.1/8", "a.example:80", "-"])
def test_a_list_that_means_nothing_is_refused_at_the_start(entries: str) -> None:
    with pytest.raises(ValueError, match="neither the name of a host nor a network"):
        Settings(webhook_allow=entries)


def test_settings_of_webhooks_are_read_as_written() -> None:
    made = Settings(webhook_allow="127.0.0.1, hooks.internal", webhook_retry_seconds="1, 2.5")
    assert made.webhook_allow == ("127.0.0.1", "hooks.internal")
    assert made.webhook_retry_seconds == (1.0, 2.5)
    assert sum(Settings().webhook_retry_seconds) > 3 * 86400
