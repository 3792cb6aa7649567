"""The report as people open it: from the disk, with the network off, on paper and on a telephone."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image, ImageChops, ImageStat

from core.report import build
from core.report.rebuild import rebuild
from core.report.sinks_file import write as write_sinks
from tests.chrome import Chrome, Page, chrome
from tests.deep_inputs import deep_report
from tests.report_inputs import sink_arrays

EXPECTED: Final = Path(__file__).parent / "expected"
WIDTHS: Final = (390, 820, 1280)
SHOWN: Final = 128
"""Width in pixels of the pictures that are compared: what is smaller than a letter does not count."""
SECTIONS: Final = (
    "What is an attention sink?", "The sinks in numbers", "What the sinks are worth to the model",
    "What was removed", "What it cost in quality", "What it saves, and what the pruning took",
    "How it was made", "Files beside this page",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chrome(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result's report with everything that a report can have."""
    made = tmp_path_factory.mktemp("result") / "report"
    arrays, other = sink_arrays(behaviour="drifting"), sink_arrays(behaviour="fixed")
    build.write(deep_report(arrays, other), arrays, made, other)
    write_sinks(made / "sinks.safetensors", arrays)
    return made


def opened(browser: Chrome, file: Path, width: int = 1280, *, dark: bool = False) -> Page:
    page = browser.page(width, dark=dark, offline=True)
    page.open(file.as_uri())
    return page


@pytest.mark.parametrize("width", WIDTHS)
def test_everything_is_there_and_nothing_overflows(
    browser: Chrome, folder: Path, width: int
) -> None:
    page = opened(browser, folder / "report.html", width)
    headings = page.eval("[...document.querySelectorAll('h2')].map((each) => each.textContent)")
    assert headings == list(SECTIONS)
    assert page.eval("document.querySelectorAll('figure').length") == 15
    beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.eval(beyond) == 0
    empty = "[...document.querySelectorAll('figure')].filter((f) => f.clientHeight < 120).map((f) => f.id)"
    assert page.eval(empty) == []
    assert page.complaints() == []


def test_no_words_of_a_plot_overlap(browser: Chrome, folder: Path) -> None:
    """Texts are drawn as outlines: each is a group whose box the browser knows."""
    for width in WIDTHS:
        page = opened(browser, folder / "report.html", width)
        clashes = page.eval(
            """(() => { const found = [];
            for (const svg of document.querySelectorAll('figure svg')) {
              if (!svg.clientHeight) continue;
              const boxes = [...svg.querySelectorAll('g[id*="-text_"]')].map((g) => g.getBoundingClientRect())
                .filter((b) => b.width && b.height);
              for (const [i, a] of boxes.entries()) for (const b of boxes.slice(i + 1)) {
                const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (wide > 1 && high > 1) found.push(svg.closest('figure').id);
              } }
            return [...new Set(found)]; })()"""
        )
        assert clashes == [], width


def looks_like(page: Page, name: str, tmp_path: Path) -> float:
    """How far the page is from the picture that somebody looked at, 0 the same, 255 its negative."""
    shot = tmp_path / f"{name}.png"
    page.page.screenshot(path=shot, full_page=True, animations="disabled")
    with Image.open(shot) as image:
        size = (SHOWN, round(image.height * SHOWN / image.width))
        small = image.convert("L").resize(size, Image.Resampling.LANCZOS)
    expected = EXPECTED / f"{name}.png"
    if not expected.exists():
        expected.parent.mkdir(exist_ok=True)
        small.save(expected)
        pytest.fail(f"{expected} was made: look at it, and run again")
    with Image.open(expected) as known:
        # Fonts differ between machines, and with them the height.
        difference = ImageChops.difference(small.resize(known.size), known.convert("L"))
    return float(ImageStat.Stat(difference).mean[0])


@pytest.mark.parametrize(("width", "dark"), [*((width, False) for width in WIDTHS), (1280, True)])
def test_it_looks_as_it_did(
    browser: Chrome, folder: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    page = opened(browser, folder / "report.html", width, dark=dark)
    name = f"report-{width}-{'dark' if dark else 'light'}"
    assert looks_like(page, name, tmp_path) < 12


def test_it_prints_on_paper(browser: Chrome, folder: Path) -> None:
    page = opened(browser, folder / "report.html")
    sheets = page.page.pdf(format="A4", prefer_css_page_size=True)
    assert sheets.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", sheets)) <= 14


def broken(folder: Path, tmp_path: Path, change: Any) -> Page | Path:
    made = tmp_path / "report"
    made.mkdir()
    document = json.loads((folder / "report.json").read_bytes())
    (made / "report.json").write_text(json.dumps(change(document)))
    return made


def test_what_is_left_of_a_result_is_shown(browser: Chrome, folder: Path, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> dict[str, Any]:
        del document["speed"], document["actual"]
        document["quality"]["nelbo"]["dense"] = "much"
        document["sinks"]["per_layer"][0]["mass_share"] = None
        return document

    made = broken(folder, tmp_path, change)
    assert isinstance(made, Path)
    found = rebuild(made, tmp_path)
    (tmp_path / "page.html").write_text(found.html, encoding="utf-8")
    page = opened(browser, tmp_path / "page.html")
    told = page.text(".warnings")
    for part in ("actual: not in the report", "quality.nelbo.dense", "sinks.safetensors"):
        assert part in told
    assert "What was removed" in page.eval("document.body.innerText")
    assert page.complaints() == []
