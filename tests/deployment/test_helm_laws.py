"""What must hold of every release, whatever its values: safety, and names that meet each other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.chart import (
    EXAMPLES,
    Manifest,
    component,
    containers,
    named,
    of_kind,
    pods,
    render,
    selects,
)
from workers.watch import LEAVE_SECONDS

QUEUE_SECONDS = 10.0  # Celery's own end, as `secateur serve` grants it


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda file: file.stem)
def release(request: pytest.FixtureRequest) -> list[Manifest]:
    file: Path = request.param
    return render(file)


def test_pods_meet_the_restricted_standard(release: list[Manifest]) -> None:
    for pod in pods(release):
        spec = pod["spec"]
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (10001,) * 3
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}
        assert all("hostPath" not in volume for volume in spec["volumes"])
    for account in of_kind(release, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_containers_may_do_nothing_they_need_not(release: list[Manifest]) -> None:
    for container in containers(release):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} & container["resources"]["limits"].keys() >= {"memory"}


def test_what_is_written_has_a_limit(release: list[Manifest]) -> None:
    for pod in pods(release):
        writable = {
            mount["name"]
            for container in pod["spec"]["containers"]
            for mount in container["volumeMounts"]
            if not mount.get("readOnly")
        }
        for volume in pod["spec"]["volumes"]:
            if volume["name"] in writable - {"first-key"}:
                where = volume.get("emptyDir") or volume["ephemeral"]["volumeClaimTemplate"]["spec"]
                assert "sizeLimit" in where or where["resources"]["requests"]["storage"]


def test_every_mount_has_its_volume(release: list[Manifest]) -> None:
    for pod in pods(release):
        there = {volume["name"] for volume in pod["spec"]["volumes"]}
        spec = pod["spec"]
        mounted = {
            mount["name"]
            for container in [*spec.get("initContainers", []), *spec["containers"]]
            for mount in container["volumeMounts"]
        }
        assert mounted == there


def test_what_serves_or_works_has_probes(release: list[Manifest]) -> None:
    for deployment in of_kind(release, "Deployment"):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


def test_the_api_is_asked_where_it_answers(release: list[Manifest]) -> None:
    [api] = [c for c in containers(release) if c["name"] == "api"]
    assert api["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert api["startupProbe"]["httpGet"]["path"] == "/healthz"
    # What it depends on may be away for a while: that is no reason to start it anew.
    assert api["readinessProbe"]["httpGet"]["path"] == "/readyz"
    ports = {port["name"]: str(port["containerPort"]) for port in api["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert ports[api[probe]["httpGet"]["port"]] in api["args"]


def test_deployments_select_their_own_pods_and_no_others(release: list[Manifest]) -> None:
    deployments = of_kind(release, "Deployment")
    for deployment in deployments:
        chosen = [pod for pod in pods(release) if selects(deployment["spec"]["selector"], pod)]
        assert chosen == [deployment["spec"]["template"]]
    assert len([d for d in deployments if "-worker-" in d["metadata"]["name"]]) >= 1


def test_the_service_leads_to_the_api(release: list[Manifest]) -> None:
    [service] = of_kind(release, "Service")
    chosen = [p for p in pods(release) if selects({"matchLabels": service["spec"]["selector"]}, p)]
    assert [component(pod) for pod in chosen] == ["api"]
    names = {port["name"] for port in chosen[0]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_routes_lead_to_the_service(release: list[Manifest]) -> None:
    [service] = of_kind(release, "Service")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    for ingress in of_kind(release, "Ingress"):
        [path] = ingress["spec"]["rules"][0]["http"]["paths"]
        assert path["backend"]["service"]["name"] == service["metadata"]["name"]
        assert path["backend"]["service"]["port"]["name"] in ports
    for route in of_kind(release, "HTTPRoute"):
        [backend] = route["spec"]["rules"][0]["backendRefs"]
        assert backend["name"] == service["metadata"]["name"]
        assert backend["port"] in ports.values()


def test_each_deployment_has_one_disruption_budget(release: list[Manifest]) -> None:
    budgets = of_kind(release, "PodDisruptionBudget")
    for deployment in of_kind(release, "Deployment"):
        pod = deployment["spec"]["template"]
        assert len([b for b in budgets if selects(b["spec"]["selector"], pod)]) == 1


def policies_for(pod: Manifest, release: list[Manifest]) -> Iterator[Manifest]:
    for policy in of_kind(release, "NetworkPolicy"):
        if selects(policy["spec"]["podSelector"], pod):
            yield policy["spec"]


def test_network_policies_hold_for_every_pod(release: list[Manifest]) -> None:
    for pod in pods(release):
        policies = list(policies_for(pod, release))
        assert any(p.keys() == {"podSelector", "policyTypes"} for p in policies), "no default deny"
        assert all(set(p["policyTypes"]) == {"Ingress", "Egress"} for p in policies)
        inward = [p for p in policies if p.get("ingress")]
        assert bool(inward) == (component(pod) == "api")
        outward = [p for p in policies if p.get("egress")]
        assert len(outward) == 1


def test_only_workers_reach_the_hub(release: list[Manifest]) -> None:
    rules = {
        component(pod): sum(len(p.get("egress", [])) for p in policies_for(pod, release))
        for pod in pods(release)
    }
    assert rules["api"] == rules["init"] == rules["worker"] - 1


def test_pods_have_the_time_to_leave(release: list[Manifest]) -> None:
    for pod in pods(release):
        if component(pod) == "worker":
            assert pod["spec"]["terminationGracePeriodSeconds"] > LEAVE_SECONDS + QUEUE_SECONDS
        elif component(pod) == "api":
            [api] = pod["spec"]["containers"]
            pause = api["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert pod["spec"]["terminationGracePeriodSeconds"] > pause + 5  # uvicorn's own grace


def test_new_workers_never_wait_for_a_device_that_old_ones_hold(release: list[Manifest]) -> None:
    for deployment in of_kind(release, "Deployment"):
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        if component(deployment["spec"]["template"]) == "worker":
            assert rolling["maxSurge"] == 0
            assert rolling["maxUnavailable"] != 0
        else:
            assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def test_hooks_need_nothing_that_comes_after_them(release: list[Manifest]) -> None:
    """Before an installation there is no ConfigMap, no account and no policy of the release."""
    hooks = [m for m in release if "helm.sh/hook" in m["metadata"].get("annotations", {})]
    [job] = of_kind(release, "Job")
    assert job in hooks
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert "envFrom" not in container
    account = job["spec"]["template"]["spec"]["serviceAccountName"]
    own = {a["metadata"]["name"] for a in of_kind(release, "ServiceAccount")}
    assert account not in own or named(release, "ServiceAccount", account) in hooks
    assert any(
        selects(policy["spec"]["podSelector"], job["spec"]["template"])
        for policy in of_kind(hooks, "NetworkPolicy")
    )
    weight = "helm.sh/hook-weight"
    for other in hooks:
        if other is not job:
            assert int(other["metadata"]["annotations"][weight]) < int(
                job["metadata"]["annotations"][weight]
            )


def test_the_log_with_the_first_key_outlives_its_job(release: list[Manifest]) -> None:
    [job] = of_kind(release, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert "ttlSecondsAfterFinished" not in job["spec"]
