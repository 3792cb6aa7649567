"""The compose file, in each of the ways it can be asked for, as Docker Compose reads it."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from secateur.secret_files import SECRETS
from tests.deployment.compose import DOCKERFILE, ROOT, STORES, config, project, run
from tests.deployment.dockerfile import stages

ONE_SHOTS = {"secrets", "init"}
OURS = {"secrets", "init", "api", "worker", "worker-gpu"}
SERVICES = OURS | {"postgres", "redis", "s3"}
LOOKING = {"prometheus", "grafana"}
ONLY_PORTS = {("api", "8000", 8000), ("s3", "7070", 7070), ("grafana", "3000", 3000)}

Config = dict[str, Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("compose"))


@pytest.fixture(scope="module", params=STORES)
def everything(request: pytest.FixtureRequest, files: Path) -> Config:
    """All services, with each of the object stores."""
    profiles = ("--profile", "gpu", "--profile", "observability")
    return config(files, *profiles, SECATEUR_S3_SERVER=request.param)


def services(everything: Config) -> list[tuple[str, Config]]:
    found: Config = everything["services"]
    assert set(found) == SERVICES | LOOKING
    return list(found.items())


def test_without_profiles_there_is_no_gpu_and_nobody_looking(files: Path) -> None:
    assert set(config(files)["services"]) == SERVICES - {"worker-gpu"}


def test_the_example_env_file_changes_nothing(files: Path, tmp_path: Path) -> None:
    copied = project(tmp_path)
    shutil.copy(ROOT / ".env.example", copied / ".env")
    with_env, without = config(copied), config(files)
    assert str(with_env).replace(str(copied), "") == str(without).replace(str(files), "")


def test_every_default_in_the_example_is_the_real_one(files: Path, tmp_path: Path) -> None:
    copied = project(tmp_path)
    lines = (ROOT / ".env.example").read_text().splitlines()
    # Without the two that name folders, whose default is a volume.
    given = [line[1:] for line in lines if re.match(r"#SECATEUR_(?!SECRETS|MODELS)\w+=", line)]
    (copied / ".env").write_text("\n".join(given))
    profiles = ("--profile", "gpu", "--profile", "observability")
    with_env, without = config(copied, *profiles), config(files, *profiles)
    assert str(with_env).replace(str(copied), "") == str(without).replace(str(files), "")


def test_the_example_names_every_variable_and_no_other() -> None:
    texts = [path.read_text() for path in (ROOT / "docker").rglob("*.yml")]
    texts.append((ROOT / "docker-compose.yml").read_text())
    used = {name for text in texts for name in re.findall(r"\$\{(SECATEUR_\w+)", text)}
    explained = set(
        re.findall(r"^#(SECATEUR_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    assert explained == used


@pytest.mark.parametrize("store", STORES)
def test_it_is_valid_before_variables_are_filled_in(store: str, tmp_path: Path) -> None:
    files = project(tmp_path)
    path = files / "docker-compose.yml"
    # All but the one that says which file to include.
    path.write_text(path.read_text().replace("${SECATEUR_S3_SERVER:-versitygw}", store))
    done = run(files, "config", "--no-interpolate")
    assert done.returncode == 0, done.stderr
    assert "${SECATEUR_" in done.stdout


def test_all_images_are_pinned(everything: Config) -> None:
    for name, service in services(everything):
        tag = service["image"].rpartition(":")[2]
        assert re.match(r"v?\d+\.\d+", tag), (name, service["image"])


def test_no_container_can_do_more_than_it_must(everything: Config) -> None:
    for name, service in services(everything):
        uid, gid = service["user"].split(":")
        assert int(uid) > 0, name
        assert int(gid) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert not service.get("cap_add"), name
        assert not service.get("privileged"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        limits = service["deploy"]["resources"]["limits"]
        assert int(limits["memory"]) > 0, name
        assert limits["pids"] > 0, name
        # A worker takes the processors that there are.
        assert "cpus" in limits or name.startswith("worker"), name
        assert service["logging"]["options"]["max-size"], name


def test_what_ends_is_awaited_and_what_stays_is_watched(everything: Config) -> None:
    for name, service in services(everything):
        if name in ONE_SHOTS:
            assert service["restart"] == "no", name
            assert "healthcheck" not in service, name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
            assert service["stop_grace_period"], name
        for other, dependency in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in ONE_SHOTS else "service_healthy"
            assert dependency["condition"] == expected, (name, other)


def test_few_ports_are_published_and_on_loopback(everything: Config) -> None:
    published = {
        (name, port["published"], port["target"])
        for name, service in services(everything)
        for port in service.get("ports", [])
        if port["host_ip"] == "127.0.0.1"
    }
    assert published == ONLY_PORTS
    total = sum(len(service.get("ports", [])) for _, service in services(everything))
    assert total == len(ONLY_PORTS)


def test_databases_are_on_the_inner_network_only(everything: Config) -> None:
    networks = {name: set(service.get("networks", {})) for name, service in services(everything)}
    assert everything["networks"]["backend"]["internal"] is True
    assert networks["postgres"] == networks["redis"] == networks["init"] == {"backend"}
    assert networks["api"] == networks["s3"] == networks["grafana"] == {"backend", "front"}
    assert networks["prometheus"] == {"backend"}
    assert networks["worker"] == networks["worker-gpu"] == {"backend", "outbound"}
    assert everything["services"]["secrets"]["network_mode"] == "none"


def test_no_secret_is_in_the_configuration(everything: Config) -> None:
    for name, service in services(everything):
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|_KEY|CREDENTIALS", variable):
                assert variable.endswith(("_FILE", "_PATH")), (name, variable)
                assert str(value).startswith("/secrets/"), (name, variable)
            assert not re.search(r"://[^/]*:[^/]*@", str(value)), (name, variable)
        assert not service.get("env_file"), name


def test_secrets_are_written_by_one_and_read_by_those_who_need_them(everything: Config) -> None:
    readers: dict[str, set[str]] = {}
    for name, service in services(everything):
        for mount in service.get("volumes", []):
            if mount["target"].startswith("/secrets/"):
                readers.setdefault(mount["source"], set()).add(name)
                assert mount.get("read_only", False) is (name != "secrets"), name
    assert readers == {
        "database": OURS | {"postgres"},
        "broker": OURS | {"redis"},
        "store": OURS | {"s3"},
        "metrics": {"secrets", "api", "prometheus"},
    }
    for name, service in services(everything):
        if name in ("postgres", "redis", "prometheus"):
            assert service["group_add"] == ["10001"], name


def test_a_folder_of_ones_own_takes_the_place_of_the_volumes(files: Path) -> None:
    for name, service in config(files, SECATEUR_SECRETS="./mine")["services"].items():
        for mount in service.get("volumes", []):
            if mount["target"].startswith("/secrets/"):
                kind = mount["target"].rpartition("/")[2]
                assert (mount["type"], mount["source"]) == ("bind", f"{files}/mine/{kind}"), name


def test_the_broker_keeps_what_it_has(everything: Config) -> None:
    command = everything["services"]["redis"]["command"]
    told = dict(zip(command[2::2], command[3::2], strict=True))
    assert told["--appendonly"] == "yes"
    assert told["--appendfsync"] == "everysec"
    assert told["--maxmemory-policy"] == "noeviction"


def test_clients_can_be_sent_to_the_store(files: Path) -> None:
    def url(**variables: str) -> str:
        environment = config(files, **variables)["services"]["api"]["environment"]
        return str(environment["SECATEUR_STORE_URL"])

    assert "public_endpoint=http://127.0.0.1:7070&" in url()
    assert "public_endpoint=http://127.0.0.1:9000&" in url(SECATEUR_S3_PORT="9000")
    public = "https://files.example.com"
    assert f"public_endpoint={public}&" in url(SECATEUR_S3_PUBLIC_ENDPOINT=public)


def test_a_store_elsewhere_needs_its_url_and_no_server(files: Path) -> None:
    url = "s3://bucket?region=eu-central-1"
    found = config(files, SECATEUR_S3_SERVER="external", SECATEUR_STORE_URL=url)["services"]
    assert set(found) == SERVICES - {"worker-gpu", "s3"}
    assert found["worker"]["environment"]["SECATEUR_STORE_URL"] == url
    refused = run(files, "config", "--quiet", SECATEUR_S3_SERVER="external")
    assert refused.returncode != 0
    assert "SECATEUR_STORE_URL" in refused.stderr


def test_a_gpu_worker_gets_one_gpu(everything: Config) -> None:
    worker = everything["services"]["worker-gpu"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"]) == ("nvidia", 1)
    assert device["capabilities"] == ["gpu"]
    assert worker["environment"]["SECATEUR_DEVICE"] == "cuda"
    assert worker["build"]["args"]["TORCH"] == "cuda"
    assert everything["services"]["worker"]["environment"]["SECATEUR_DEVICE"] == "cpu"


def test_health_is_asked_the_way_the_images_say(everything: Config) -> None:
    built = stages(DOCKERFILE)
    for name in ("api", "worker"):
        asked = everything["services"][name]["healthcheck"]["test"]
        assert asked == ["CMD", *built[name].healthcheck]
    alive = built["worker"].environment["SECATEUR_ALIVE_PATH"]
    assert f"'{alive}'" in built["worker"].healthcheck[-1]


def test_what_jobs_may_reach_is_told_to_api_and_workers_alike(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "SECATEUR_SOURCE_BUCKETS": "s3://models/public?endpoint=http://10.0.0.7:9000 s3://texts",
        "SECATEUR_HUB_MODELS": "hf://GSAI-ML hf://org/name",
        "SECATEUR_PUSH_DESTINATIONS": "hf://org s3://published?region=eu-central-1",
        "SECATEUR_RETENTION": '{"default": {"ttl_days": 90, "keep_last": 5}}',
    }
    found = config(files, "--profile", "gpu", **told)["services"]
    for name in ("api", "worker", "worker-gpu"):
        assert told.items() <= found[name]["environment"].items(), name
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.hub_models == ("hf://GSAI-ML", "hf://org/name")
    assert settings.push_destinations == ("hf://org", "s3://published?region=eu-central-1")
    assert settings.retention.rule_for("anybody").keep_last == 5


def test_hub_tokens_are_for_workers_alone(everything: Config) -> None:
    holders = {
        n for n, s in services(everything) if "HF_TOKEN_PATH" in (s.get("environment") or {})
    }
    assert holders == {"worker", "worker-gpu"}


def test_programs_get_json_and_prometheus_gets_in(everything: Config) -> None:
    found = everything["services"]
    for name in OURS - {"secrets"}:
        assert found[name]["environment"]["SECATEUR_LOG_FORMAT"] == "json", name
    token = found["api"]["environment"]["SECATEUR_METRICS_TOKEN_FILE"]
    assert token.removeprefix("/secrets/") in SECRETS
    holders = {n for n, s in services(everything) if token in str(s.get("environment"))}
    assert holders == {"api"}
    for name in ("worker", "worker-gpu"):
        told = found[name]["environment"]
        assert (told["SECATEUR_METRICS_HOST"], told["SECATEUR_METRICS_PORT"]) == ("0.0.0.0", "9464")
