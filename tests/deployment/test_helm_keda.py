"""How classes of workers grow and shrink: what KEDA is told to count, and never to stop."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from core.jobs.migrate import migrate
from core.jobs.states import TERMINAL, State
from core.jobs.store import JobStore
from core.spec import parse_spec
from tests.deployment.chart import CHART, MINIMAL, named, of_kind, render
from workers.bell import QUEUE

KEDA: Final = CHART / "ci" / "keda-values.yaml"


def test_a_class_may_switch_off_what_all_have() -> None:
    changes = {
        "workerDefaults.keda.enabled": True,
        "workerDefaults.replicas": 3,
        "workers": [
            {"name": n, "resources": {"limits": {"memory": "1Gi"}}, **more}
            for n, more in {"a": {}, "b": {"keda": {"enabled": False}, "replicas": 0}}.items()
        ],
    }
    release = render(MINIMAL, **changes)
    [scaled] = of_kind(release, "ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == "r1-secateur-worker-a"
    assert "replicas" not in named(release, "Deployment", "r1-secateur-worker-a")["spec"]
    assert named(release, "Deployment", "r1-secateur-worker-b")["spec"]["replicas"] == 0


def test_keda_asks_for_the_workers_own_queue_and_the_urls_own_places() -> None:
    release = render(KEDA)
    scaled = named(release, "ScaledObject", "r1-secateur-worker-burst")["spec"]
    rows, bell = (trigger["metadata"] for trigger in scaled["triggers"])
    assert bell["listName"] == QUEUE
    assert (bell["address"], bell["databaseIndex"]) == ("redis.example.com:6379", "2")
    assert (bell["enableTLS"], bell["listLength"]) == ("true", "2")
    assert (rows["host"], rows["port"]) == ("db.example.com", "6432")
    assert (rows["userName"], rows["dbName"]) == ("secateur", "jobs")
    assert rows["sslmode"] == "verify-full"
    authentications = {m["metadata"]["name"]: m for m in of_kind(release, "TriggerAuthentication")}
    used = {trigger["authenticationRef"]["name"] for trigger in scaled["triggers"]}
    assert used == authentications.keys()
    [password] = authentications["r1-secateur-database"]["spec"]["secretTargetRef"]
    assert password == {"parameter": "password", "name": "secateur-database", "key": "pw"}


def test_scaling_never_stops_a_run_unless_it_was_asked_to() -> None:
    release = render(KEDA)

    def shrinking(name: str) -> dict[str, Any]:
        spec = named(release, "ScaledObject", f"r1-secateur-worker-{name}")["spec"]
        found = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        return {"least": spec["minReplicaCount"], **found}

    assert shrinking("burst") == {"least": 0, "selectPolicy": "Disabled"}
    assert shrinking("steady")["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 600}]


def test_the_query_counts_what_a_worker_has_to_do(tmp_path: Path) -> None:
    """KEDA's question, put to a real table of jobs in every state."""
    triggers = named(render(KEDA), "ScaledObject", "r1-secateur-worker-burst")["spec"]["triggers"]
    migrate(f"sqlite:///{tmp_path}/jobs.db")
    with JobStore.open(f"sqlite:///{tmp_path}/jobs.db") as jobs:
        spec = parse_spec({"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5})
        ids = {state: jobs.create("t", spec, datetime.now(UTC)).id for state in State}
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        for state, job_id in ids.items():
            database.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, job_id))
        [(count,)] = database.execute(triggers[0]["metadata"]["query"]).fetchall()
    assert count == len(State) - len(TERMINAL) == 3
