"""The dashboard's pages as files: what they may load and what they must never do."""

import re
from pathlib import Path

import pytest

import api.dashboard
from tests.served import Served

FOLDER = Path(api.dashboard.__file__).parent
ASSETS = sorted(p for p in FOLDER.rglob("*") if p.suffix in (".html", ".js", ".css", ".svg"))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/jobs/job_0123456789abcdef01234567",
        "/sweeps",
        "/sweeps/swp_0123456789abcdef01234567",
        "/compare",
        "/docs",
    ],
)
def test_a_page_loads_only_from_its_own_server(server: Served, path: str) -> None:
    answer = server.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    linked = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
    assert linked
    for asset in linked:
        assert server.http.get(asset).status_code == 200


@pytest.mark.parametrize("asset", ASSETS, ids=lambda p: p.name)
def test_no_asset_knows_another_host_or_writes_markup(asset: Path) -> None:
    text = asset.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]+\.[a-z]", text)
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in text


def test_scripts_import_what_there_is() -> None:
    for script in (p for p in ASSETS if p.suffix == ".js"):
        text = script.read_text(encoding="utf-8")
        for names, module in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', text):
            imported = (script.parent / module).read_text(encoding="utf-8")
            exported = set(
                re.findall(r"export (?:async )?(?:function|class|const|let) (\w+)", imported)
            )
            assert {name.strip() for name in names.split(",")} <= exported, script.name
