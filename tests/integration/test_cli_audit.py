"""`secateur audit`: the log at the command line, and that the command line is in it."""

from pathlib import Path

from core.jobs.audit import Actor
from core.jobs.keys import KeyStore
from core.jobs.store import JobStore
from tests.commands import Run
from tests.contract.jobs import NOW, later


def test_what_the_command_line_does_is_in_the_log(run: Run, keys: KeyStore) -> None:
    made = run("keys", "create", "--name", "CI", "--tenant", "search", "--json").json()
    run("keys", "revoke", made["id"])
    shown = run("audit", "--json")
    told = [(e["action"], e["target"], e["address"]) for e in shown.json()["data"]]
    assert told == [
        ("key.revoke", made["id"], "command line"),
        ("key.create", made["id"], "command line"),
    ]
    assert made["key"].rpartition("_")[2] not in shown.out
    table = run("audit").out
    assert made["id"] in table
    assert "key.revoke" in table


def test_the_first_key_is_in_the_log(run: Run, deployment: Path) -> None:
    assert run("init").status == 0
    (line,) = run("audit", "--json").json()["data"]
    assert (line["action"], line["detail"]["scopes"]) == ("key.create", "admin")


def test_lines_are_chosen_and_paged(run: Run, keys: KeyStore, deployment: Path) -> None:
    with JobStore.open(f"sqlite:///{deployment}/jobs.db") as jobs:
        for n in range(3):
            jobs.record(Actor("a", "key_0123456789ab"), later(86400 * n), "login", f"t{n}")

    def targets(*options: str) -> list[str]:
        return [line["target"] for line in run("audit", "--json", *options).json()["data"]]

    assert targets() == ["t2", "t1", "t0"]
    assert targets("--tenant", "b") == []
    assert targets("--key", "key_0123456789ab", "--target", "t1", "--outcome", "done") == ["t1"]
    assert targets("--since", f"{later(86400):%Y-%m-%dT%H:%M:%S}", "--action", "login") == [
        "t2",
        "t1",
    ]
    assert targets("--until", f"{NOW:%Y-%m-%d}") == []
    shown = run("audit", "--limit", "2")
    after = shown.err.split("--after ")[1].strip()
    assert targets("--after", after) == ["t0"]
    assert run("audit", "--after", "nonsense").status == 2
