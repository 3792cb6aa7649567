"""What a tenant gets to see of a run's last lines."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.redaction import HIDDEN, MOST_BYTES, MOST_LINES, secrets_of, shown

VARIABLES = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "HF_TOKEN": "hf_abcdefghijkl",
    "SECATEUR_DATABASE_PASSWORD_FILE": "/etc/secateur/database-password",
    "PIN_TOKEN": "1234",
    "EXTRA_URL": "http://user:h%40nter22@proxy:3128",
    "PATH": "/usr/bin",
    "TLS_PRIVATE_KEY": "first-line-of-it\nsecond-line-of-it",
}


def test_secrets_are_those_of_telling_names_and_of_urls() -> None:
    found = secrets_of(VARIABLES, ["postgresql://me:pass-of-db@h/db", None, "file:///store"])
    assert set(found) == {
        "wJalrXUtnFEMI/K7MDENG", "hf_abcdefghijkl", "h%40nter22", "h@nter22", "pass-of-db",
        "first-line-of-it", "second-line-of-it",
    }  # fmt: skip
    assert list(found) == sorted(found, key=lambda each: (-len(each), each))


def test_a_known_secret_is_hidden_wherever_it_stands() -> None:
    line = "ValueError: key wJalrXUtnFEMI/K7MDENG of hf_abcdefghijkl"
    assert shown([line], secrets_of(VARIABLES)) == (f"ValueError: key {HIDDEN} of {HIDDEN}",)


@pytest.mark.parametrize(
    "line",
    [
        "GET https://b.s3/x?X-Amz-Credential=AKIAHUSH&X-Amz-Signature=HUSHHUSH&y=1",
        "redis://:HUSHHUSH@host:6379/0 refused",
        "postgresql://me:HUSHHUSH@host/db",
        "Authorization: Bearer HUSHHUSH",
        "'authorization': 'Bearer HUSHHUSH'",
        "password=HUSHHUSH next",
        json.dumps({"api_key": "HUSHHUSH"}),
        "sec_0123456789ab_HUSHHUSH and more",
        "whsec_HUSHHUSHHUSH",
        "AKIAHUSHHUSHHUSH77",
    ],
)
def test_what_looks_like_a_secret_is_hidden(line: str) -> None:
    (found,) = shown([line])
    assert "HUSH" not in found
    assert HIDDEN in found


@pytest.mark.parametrize(
    "line",
    [
        'File "/opt/x/core/run.py", line 3, in main',
        "text.jsonl: 1024 tokens found, 4096 needed.",
        "s3://bucket/key?endpoint=http://host:7070",
        "OSError: [Errno 28] No space left on device: '/work/secateur-run-1'",
    ],
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert shown([line]) == (line,)


def test_nothing_that_a_terminal_would_act_on_is_left() -> None:
    lines = [
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07after",
        "1%\r50%\r99%",
        "a\0b\u202ec",
        "\n",
        "a\tb",
    ]
    assert shown(lines) == ("red", "after", "99%", "a\ufffdb\ufffdc", "a    b")


@given(st.lists(st.text(max_size=700), max_size=60))
def test_it_is_short_printable_and_the_end_of_it(lines: list[str]) -> None:
    found = shown(lines)
    assert len(found) <= MOST_LINES
    assert sum(len(line.encode()) + 1 for line in found) <= MOST_BYTES
    assert all(line.isprintable() for line in found)
    assert found == shown([each for line in lines for each in shown([line])])


def test_the_last_lines_are_kept() -> None:
    assert shown([str(n) for n in range(100)]) == tuple(str(n) for n in range(80, 100))
