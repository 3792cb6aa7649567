"""One sending over real sockets: which address it goes to, what it trusts, when it gives up."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from secrets import token_bytes

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.webhooks.allowed import Address, Allowed
from core.webhooks.sending import Answer, Resolver, Sender
from core.webhooks.signing import fingerprint, new_secret, signed_headers
from tests.certificates import Authority
from tests.receiver import Receiver, Reply, receiver

HOST = "hooks.example.test"
HERE = Allowed(("127.0.0.0/8",))
BODY = b'{"type": "webhook.test"}'
SECONDS = 10.0


def leads_to(*addresses: str) -> Resolver:
    def resolver(host: str, port: int) -> tuple[Address, ...]:
        assert host
        return tuple(ip_address(address) for address in addresses)

    return resolver


def nowhere(host: str, port: int) -> tuple[Address, ...]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def plain() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def secure(authority: Authority) -> Iterator[Receiver]:
    with receiver(authority.serving(HOST)) as running:
        yield running


def post(to: Receiver, *, seconds: float = SECONDS, body: bytes = BODY) -> Answer:
    return Sender(HERE, seconds).post(to.url, body, {"webhook-id": "msg_1"})


class TestOverTls:
    def test_the_judged_address_gets_it_under_the_name(
        self, secure: Receiver, authority: Authority
    ) -> None:
        sender = Sender(HERE, SECONDS, leads_to("127.0.0.1"), authority.trusting())
        url = f"https://{HOST}:{secure.port}/hook?a=b"
        assert sender.post(url, BODY, {"webhook-id": "msg_1"}) == Answer(204, None)
        [heard] = secure.heard
        assert (heard.path, heard.body) == ("/hook?a=b", BODY)
        assert heard.headers["host"] == f"{HOST}:{secure.port}"
        assert heard.id == "msg_1"

    def test_the_certificate_must_be_the_name_s(
        self, secure: Receiver, authority: Authority
    ) -> None:
        sender = Sender(HERE, SECONDS, leads_to("127.0.0.1"), authority.trusting())
        answer = sender.post(f"https://other.example.test:{secure.port}/", BODY, {})
        assert (answer.status, answer.taken) == (None, False)
        assert "certificate is not good" in str(answer.error)
        assert not secure.heard

    def test_the_certificate_must_be_of_an_authority_we_know(self, secure: Receiver) -> None:
        sender = Sender(HERE, SECONDS, leads_to("127.0.0.1"))
        answer = sender.post(f"https://{HOST}:{secure.port}/", BODY, {})
        assert "certificate is not good" in str(answer.error)
        assert not secure.heard

    def test_an_address_has_certificates_too(self, authority: Authority) -> None:
        with receiver(authority.serving("127.0.0.1")) as running:
            sender = Sender(HERE, SECONDS, tls=authority.trusting())
            assert sender.post(f"https://127.0.0.1:{running.port}/", BODY, {}).taken

    def test_who_speaks_no_tls_is_told_nothing(self, plain: Receiver) -> None:
        sender = Sender(HERE, SECONDS, leads_to("127.0.0.1"))
        answer = sender.post(f"https://{HOST}:{plain.port}/", BODY, {})
        assert (answer.status, answer.error) == (None, "no TLS connection came about")
        assert not plain.heard


class TestGuard:
    @pytest.mark.parametrize(
        "resolver",
        [
            nowhere,
            leads_to(),
            leads_to("127.0.0.1"),
            leads_to("169.254.169.254"),
            leads_to("8.8.8.8", "127.0.0.1"),
            leads_to("::ffff:127.0.0.1"),
            leads_to("fd00:ec2::254"),
        ],
    )
    def test_a_name_that_leads_inside_is_as_good_as_none(
        self, plain: Receiver, resolver: Resolver
    ) -> None:
        answer = Sender(Allowed(), SECONDS, resolver).post(
            f"https://{HOST}:{plain.port}/", BODY, {}
        )
        # In the same words, so that nobody learns which names our own network has.
        assert answer == Answer(None, f"{HOST} does not lead to a public address.")
        assert not plain.heard

    def test_the_name_is_asked_for_once(self, plain: Receiver) -> None:
        """What it leads to a moment later changes nothing (DNS rebinding)."""
        asked: list[str] = []

        def rebinding(host: str, port: int) -> tuple[Address, ...]:
            asked.append(host)
            return (ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2"),)

        sender = Sender(Allowed((HOST,)), SECONDS, rebinding)
        assert sender.post(f"http://{HOST}:{plain.port}/", BODY, {}).taken
        assert asked == [HOST]

    def test_what_is_no_longer_allowed_is_not_sent(self, plain: Receiver) -> None:
        answer = Sender(Allowed(), SECONDS).post(plain.url, BODY, {})
        assert "webhook's URL" in str(answer.error)
        assert not plain.heard

    def test_no_proxy_of_the_environment_is_asked(
        self, plain: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9/")
        assert post(plain).taken

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_no_redirect_is_followed(self, plain: Receiver, status: int) -> None:
        plain.reply = Reply(status, {"Location": plain.url})
        assert post(plain) == Answer(status, f"it answered {status}")
        assert len(plain.heard) == 1

    def test_the_next_address_is_tried(self, plain: Receiver) -> None:
        # On Linux all of 127.0.0.0/8 is here, and nobody listens on the first.
        sender = Sender(Allowed((HOST,)), SECONDS, leads_to("127.0.0.2", "127.0.0.1"))
        assert sender.post(f"http://{HOST}:{plain.port}/", BODY, {}).taken


class TestPatience:
    def test_who_is_slow_is_given_up(self, plain: Receiver) -> None:
        plain.reply = Reply(seconds=5)
        began = time.monotonic()
        assert post(plain, seconds=0.5) == Answer(None, "no answer within 0.5 s")
        assert time.monotonic() - began < 3

    def test_who_trickles_is_given_up_all_the_same(self, plain: Receiver) -> None:
        """Each byte comes in time; the whole does not."""
        plain.reply = Reply(trickle=True)
        began = time.monotonic()
        assert post(plain, seconds=0.5) == Answer(None, "no answer within 0.5 s")
        assert time.monotonic() - began < 3

    def test_who_reads_nothing_is_given_up_too(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
            began = time.monotonic()
            answer = Sender(HERE, 0.5).post(url, b"x" * 20_000_000, {})
        assert answer == Answer(None, "no answer within 0.5 s")
        assert time.monotonic() - began < 3

    def test_who_never_shakes_hands_is_given_up(self, authority: Authority) -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            url = f"https://127.0.0.1:{deaf.getsockname()[1]}/"
            answer = Sender(HERE, 0.5, tls=authority.trusting()).post(url, BODY, {})
        assert answer == Answer(None, "no answer within 0.5 s")

    def test_an_endless_answer_is_not_read(self, plain: Receiver) -> None:
        plain.reply = Reply(200, endless=True)
        began = time.monotonic()
        assert post(plain) == Answer(200, None)
        assert time.monotonic() - began < 3


class TestOddities:
    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        answer = Sender(HERE, SECONDS).post(f"http://127.0.0.1:{port}/", BODY, {})
        assert answer == Answer(None, "it takes no connections")

    @pytest.mark.parametrize(
        "words", [b"", b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000]
    )  # fmt: skip
    def test_what_comes_is_no_http(self, words: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(words)

            thread = threading.Thread(target=serve)
            thread.start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            answer = Sender(HERE, SECONDS).post(url, BODY, {})
            thread.join()
        assert answer == Answer(None, "the connection broke off, or what came was no HTTP")

    @pytest.mark.parametrize("status", [100, 103])
    def test_an_interim_answer_is_not_the_answer(self, status: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(f"HTTP/1.1 {status} x\r\n\r\n".encode())
                    connection.sendall(b"HTTP/1.1 202 x\r\ncontent-length: 0\r\n\r\n")

            thread = threading.Thread(target=serve)
            thread.start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            assert Sender(HERE, SECONDS).post(url, BODY, {}) == Answer(202, None)
            thread.join()

    def test_how_long_to_wait_is_passed_on(self, plain: Receiver) -> None:
        plain.reply = Reply(503, {"Retry-After": "77"})
        assert post(plain) == Answer(503, "it answered 503", "77")


class TestSignatures:
    def test_the_library_verifies_what_is_signed_with_each_secret(self) -> None:
        new, old, other = (new_secret(token_bytes) for _ in range(3))
        body = '{"data": "ü\\n"}'
        headers = signed_headers("msg_1", body, [new, old], datetime.now(UTC))
        assert headers["webhook-signature"].count("v1,") == 2
        for secret in (new, old):
            assert Webhook(secret).verify(body, headers) == {"data": "ü\n"}
        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(body, headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(new).verify(body + " ", headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(new).verify(body, {**headers, "webhook-id": "msg_2"})

    def test_a_fingerprint_is_not_the_secret(self) -> None:
        secret = new_secret(lambda n: b"s" * n)
        assert secret.startswith("whsec_")
        assert len(fingerprint(secret)) == 12
        assert fingerprint(secret) not in secret


def test_the_machine_s_own_resolver_is_asked(plain: Receiver) -> None:
    sender = Sender(Allowed(("localhost",)), SECONDS)
    assert sender.post(f"http://localhost:{plain.port}/", BODY, {}).taken
