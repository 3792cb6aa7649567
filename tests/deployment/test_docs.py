"""What docs/deploy.md and docs/operations.md tell people to type, to set and to open is there."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import pytest
import typer
from pydantic.fields import FieldInfo

from core.errors import SecateurError
from core.settings import Settings
from core.store.s3_options import S3Options
from secateur.cli import app
from tests.deployment.compose import ROOT

DOCS: Final = {name: (ROOT / "docs" / name).read_text() for name in ("deploy.md", "operations.md")}
TEXT: Final = "\n".join(DOCS.values())
CODE: Final = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
# The program, whatever starts it: not the user, group, database or namespace of that name.
CALL: Final = re.compile(
    r"(?<![\w.-])(?<!-[ngoudU] )(?<!--owner )(?:[\w./~]*/bin/)?secateur ([a-z][^\n|;&#`)]*)"
)
FIELDS: Final = {f"SECATEUR_{name.upper()}": field for name, field in Settings.model_fields.items()}
FILES: Final = {f"{name}_FILE" for name in FIELDS}
CLIENT: Final = {"SECATEUR_URL", "SECATEUR_API_KEY", "SECATEUR_API_KEY_FILE"}


def calls() -> list[str]:
    """Everything that follows the program's name in code."""
    code = "\n".join(CODE.findall(TEXT))
    return sorted({match[1].strip(" '") for match in CALL.finditer(code)})


def parse(line: str) -> None:
    """Read a command line as the program does, up to where it would act. Raises its usage errors."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)
    while subcommands := getattr(command, "commands", None):
        assert words, f"{line}: a verb is missing"
        assert words[0] in subcommands, f"{line}: no verb {words[0]}"
        command = subcommands[words.pop(0)]
    command.make_context(command.name, words)


@pytest.mark.parametrize("line", calls())
def test_commands_parse(line: str) -> None:
    parse(line)


def test_commands_are_found_wherever_they_stand() -> None:
    found = {line.split()[0] for line in calls()}
    assert found >= {"api", "worker", "init", "doctor", "gc", "submit", "list", "keys", "serve"}
    with pytest.raises(AssertionError, match="no verb sumbit"):
        parse("sumbit example:kjv-dlm")
    with pytest.raises(Exception, match="No such option"):
        parse("gc --dry")


def test_variables_are_settings_or_known() -> None:
    known = {*FIELDS, *FILES, *CLIENT, *named_in(".env.example")}
    assert set(re.findall(r"\bSECATEUR_[A-Z0-9_]*[A-Z0-9]\b", TEXT)) - known == set()


def named_in(file: str) -> set[str]:
    return set(re.findall(r"^#?(SECATEUR_\w+)=", (ROOT / file).read_text(), re.MULTILINE))


def test_the_table_of_settings_is_the_program_s() -> None:
    chapter = DOCS["deploy.md"].partition("## Settings")[2]
    rows = re.findall(r"^\| `SECATEUR_.*\|$", chapter, re.MULTILINE)
    assert rows == [row(name, field) for name, field in FIELDS.items()]


def row(name: str, field: FieldInfo) -> str:
    given = field.default
    plain = given and isinstance(given, str | int | float)
    shown = f"`{given:g}`" if isinstance(given, float) else f"`{given}`" if plain else ""
    return f"| `{name}` | {shown} | {field.description} |"


def test_the_table_of_the_store_s_options_is_complete() -> None:
    chapter = DOCS["deploy.md"].partition("After `?`")[2].partition("Credentials")[0]
    named = names(chapter)
    assert named == {field.name for field in fields(S3Options)} - {"bucket", "prefix"}
    for field in fields(S3Options):
        if isinstance(field.default, int | float):
            assert f"| `{field.name}` | {int(field.default)} |" in chapter


def names(table: str) -> set[str]:
    """What the first column names."""
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return set(re.findall(r"`([\w-]+)`", " ".join(cells)))


def test_codes_of_errors_are_the_program_s() -> None:
    chapter = DOCS["operations.md"].partition("| code |")[2].partition("\n\n")[0]
    told = names(chapter)
    assert len(told) > 5
    assert told - {kind.code for kind in kinds(SecateurError)} == set()


def kinds(of: type[SecateurError]) -> Iterator[type[SecateurError]]:
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


@pytest.mark.parametrize("name", DOCS)
def test_links_lead_somewhere(name: str) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#]*)(#?)([^)]*)\)", DOCS[name]):
        file = ROOT / "docs" / (target or name)
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), f"{target}#{anchor}"


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}


def test_files_and_targets_exist() -> None:
    # `exec deploy/…` is what kubectl calls a Deployment.
    path = r"(?<!exec )\b(?:docker|deploy|core|tools|tests|examples)/[\w./-]*\w"
    file = r"(?<![\w./<-])(?:[\w.-]+\.(?:txt|toml|ya?ml)|\.env\.example)\b"
    own = {"secateur.toml", "compose.override.yml"}  # for readers to write
    for found in {*re.findall(rf"{path}|{file}", TEXT)} - own:
        assert (ROOT / found).exists(), found
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", TEXT, re.MULTILINE)) <= set(targets)


def units() -> dict[str, str]:
    blocks = re.findall(r"^ *```ini\n(.*?)^ *```", DOCS["deploy.md"], re.DOTALL | re.MULTILINE)
    found = [dedent(block) for block in blocks if ".service\n" in block]
    return {block.partition("\n")[0].removeprefix("# "): block for block in found}


@pytest.mark.parametrize("name", ["secateur-api.service", "secateur-worker.service"])
def test_unit_files_are_understood(name: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze on this machine")
    text = units()[name]
    assert "ExecStart=/opt/secateur/bin/secateur " in text
    (tmp_path / name).write_text(text.replace("/opt/secateur/bin/secateur", "/bin/true"))
    command = [program, "verify", "--man=no", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # A key that it does not know is only told, with status 0.
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
