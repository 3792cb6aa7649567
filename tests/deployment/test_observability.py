"""Dashboard, alerts and scrape configuration ask for what is really served."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.deployment.compose import ROOT, config, project
from tests.served import served
from workers.gauges import Gauges
from workers.metrics import registry

DASHBOARD: Final = ROOT / "docker/grafana/secateur.json"
PROMETHEUS: Final = ROOT / "docker/observability/prometheus"
GUIDE: Final = ROOT / "docs/observability.md"
BY_PROMETHEUS: Final = {"up"}

# In PromQL: strings, then what is in braces and ranges, then words that are called or join.
_STRING: Final = re.compile(r'"[^"]*"')
_MATCHERS: Final = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
_GROUPING: Final = re.compile(r"\b(by|on|without|ignoring)\s*\([^)]*\)")
_WORD: Final = re.compile(r"[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()")
_JOINING: Final = {"and", "or", "unless", "bool", "offset"}


def names_in(query: str) -> set[str]:
    """The metrics that a query asks for."""
    plain = query
    for pattern in (_STRING, _MATCHERS, _GROUPING):
        plain = pattern.sub("", plain)
    return set(_WORD.findall(plain)) - _JOINING


def labels_in(query: str) -> Iterator[tuple[str, str]]:
    """Each label with a value that it is compared with."""
    for inner in re.findall(r"\{([^}]*)\}", query):
        yield from re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', inner)


def dashboard() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return parsed


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


QUERIES: Final = [
    *(t["expr"] for p in dashboard()["panels"] for t in p.get("targets", [])),
    *(rule["expr"] for rule in alerts()),
]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What an API and a worker with a GPU serve, once each has done something."""
    gauges = Gauges()
    gauges.set(gpu_total_bytes=80e9)
    with served(tmp_path_factory.mktemp("served")) as server:
        server.http.get("/v1/jobs")
        api = server.http.get("/metrics").text
    return api + generate_latest(registry(gauges)).decode()


@pytest.fixture(scope="module")
def samples(exposed: str) -> dict[str, set[tuple[str, str]]]:
    """Each sample's name, with all labels that it has been seen with."""
    found: dict[str, set[tuple[str, str]]] = {}
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels.items())
    return found


def test_queries_are_taken_apart() -> None:
    query = 'sum by (le) (rate(a_bucket{x="y z",w=~"b|c"}[5m])) and on() max(d) > bool 0 unless e'
    assert names_in(query) == {"a_bucket", "d", "e"}
    assert list(labels_in(query)) == [("x", "y z"), ("w", "b|c")]


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_that_is_asked_for_is_served(
    query: str, samples: dict[str, set[tuple[str, str]]]
) -> None:
    names = names_in(query)
    assert names
    assert names - set(samples) - BY_PROMETHEUS == set()
    known = {label for name in names & set(samples) for label, _ in samples[name]}
    for label, _ in labels_in(query):
        assert label in known | {"job"}, f"{label} is no label of {names}"
    for label in re.findall(r"\bby\s*\(([^)]*)\)", query):
        assert set(label.replace(" ", "").split(",")) <= known | {"instance", "job"}


def test_states_outcomes_and_ends_that_are_asked_for_exist(
    samples: dict[str, set[tuple[str, str]]],
) -> None:
    values = {pair for pairs in samples.values() for pair in pairs}
    for query in QUERIES:
        for label, value in labels_in(query):
            if label in ("state", "outcome", "reason", "end"):
                assert (label, value) in values


def test_everything_that_is_served_is_shown_or_watched(
    samples: dict[str, set[tuple[str, str]]],
) -> None:
    asked = set().union(*map(names_in, QUERIES))
    ours = {name for name in samples if name.startswith("secateur_")}
    unseen = {n for n in ours if re.sub("_(bucket|count|sum)$", "", n) not in bare(asked)}
    assert unseen == set()


def bare(names: set[str]) -> set[str]:
    return {re.sub("_(bucket|count|sum)$", "", name) for name in names}


def test_the_guide_has_a_row_for_every_metric(exposed: str) -> None:
    rows = re.findall(
        r"^\| `(secateur_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", GUIDE.read_text(), re.MULTILINE
    )
    served_rows = []
    for family in text_string_to_metric_families(exposed):
        if family.name.startswith("secateur_"):
            # A counter's family is called without the `_total` that its samples have.
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {key for sample in family.samples for key in sample.labels} - {"le"}
            told = ", ".join(f"`{label}`" for label in sorted(labels))
            served_rows.append((name, family.type, told, family.documentation))
    assert sorted(rows) == sorted(served_rows)


class TestDashboard:
    def test_panels_have_ids_places_and_words(self) -> None:
        panels = dashboard()["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        cells: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            mine = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not mine & cells, panel["title"]
            cells |= mine
            if panel["type"] != "row":
                assert panel["description"]
                assert panel["targets"]

    def test_it_reads_the_source_that_is_provisioned(self) -> None:
        folder = ROOT / "docker/observability/grafana/provisioning"
        (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())[
            "datasources"
        ]
        variables = {v["name"]: v for v in dashboard()["templating"]["list"]}
        assert variables["datasource"]["query"] == source["type"]
        for panel in dashboard()["panels"]:
            assert panel.get("datasource", {"uid": "${datasource}"})["uid"] == "${datasource}"


class TestPrometheus:
    def test_alerts_are_whole(self) -> None:
        rules = alerts()
        assert len({rule["alert"] for rule in rules}) == len(rules) >= 5
        for rule in rules:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description"}
            assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
            assert rule["expr"].count("(") == rule["expr"].count(")")

    def test_it_scrapes_what_compose_runs(self, tmp_path: Path) -> None:
        profiles = ("--profile", "gpu", "--profile", "observability")
        found = config(project(tmp_path), *profiles)["services"]
        scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        api, worker = scraped["scrape_configs"]
        assert api["static_configs"][0]["targets"] == ["api:8000"]
        (lookup,) = worker["dns_sd_configs"]
        assert set(lookup["names"]) == {name for name in found if name.startswith("worker")}
        port = found["worker"]["environment"]["SECATEUR_METRICS_PORT"]
        assert lookup["port"] == int(port)
        token = api["authorization"]["credentials_file"]
        assert token == found["api"]["environment"]["SECATEUR_METRICS_TOKEN_FILE"]
        assert any(token.startswith(m["target"]) for m in found["prometheus"]["volumes"])
        for rules in scraped["rule_files"]:
            assert (PROMETHEUS / Path(rules).name).exists()
        assert {each["job_name"] for each in scraped["scrape_configs"]} == jobs_asked_for()

    def test_what_grafana_is_told_to_read_is_mounted(self, tmp_path: Path) -> None:
        found = config(project(tmp_path), "--profile", "observability")["services"]["grafana"]
        mounted = {m["target"]: m["source"] for m in found["volumes"]}
        home = Path(found["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
        assert (Path(mounted[str(home.parent)]) / home.name).read_text() == DASHBOARD.read_text()
        folder = Path(mounted["/etc/grafana/provisioning"])
        (provider,) = yaml.safe_load((folder / "dashboards/secateur.yml").read_text())["providers"]
        assert provider["options"]["path"] == str(home.parent)


def jobs_asked_for() -> set[str]:
    pairs = {pair for query in QUERIES for pair in labels_in(query)}
    return {value for label, value in pairs if label == "job" and "*" not in value}
