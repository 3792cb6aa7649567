"""Estimates are the engine's own plans, made before anything is loaded."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from core import machine, run, stages
from core.calibration.builtin import read_builtin
from core.control import for_control
from core.crew import nobody
from core.depth import hidden_sequences
from core.errors import (
    BadTokenFile,
    BrokenCheckpoint,
    InvalidSpec,
    ModelNotFound,
    SecateurError,
    SourceRefused,
    SourceUnavailable,
    TextNotFound,
    TextTooShort,
    UnsupportedModel,
)
from core.estimates import estimator as module
from core.estimates.errors import EstimatesBusy, SourceTooSlow
from core.estimates.estimate import Machine
from core.estimates.estimator import Estimator
from core.estimates.facts import read_facts
from core.estimates.files import Deadline, LocalFiles
from core.estimates.views import Estimate
from core.progress import ignore
from core.pruning.plan import PROCESS_BYTES, Plan
from core.recipes import METHODS
from core.sources import Allowed
from core.spec import JobSpec, parse_spec
from tests.family_checkpoints import KINDS, tiny

CPU = torch.device("cpu")
ROOMY, TIGHT = 8 << 30, 780 << 20
CALIBRATION = {"samples": 6, "sequence_length": 96, "sample_interval": 10}


@pytest.fixture(autouse=True)
def _short_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the builtin text only as much as is needed: to encode all of it takes seconds."""

    def read(name: str, file: str) -> list[str]:
        return [text[:100_000] for text in read_builtin(name, file)]

    monkeypatch.setattr("core.calibration.builtin.read_builtin", read)


def spec_of(source: str = "example:kjv-dlm", **more: Any) -> JobSpec:
    data = {"model": {"source": source}, "calibration": CALIBRATION, **more}
    return parse_spec(data if "pattern" in more else {"sparsity": 0.5, **data})


def estimated(spec: JobSpec, budget: int | None = ROOMY) -> Estimate:
    return Estimator(Allowed(), Machine("cpu", certain=True, memory_budget=budget)).estimate(spec)


def engines_plan(
    spec: JobSpec, budget: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Plan, stages.Loaded]:
    """The plan of a run whose process holds what estimates assume."""
    loaded = stages.fetch(
        spec.model, spec.calibration, stages.RunOptions(), CPU, folder,
        evaluation_samples=spec.evaluation.samples, to_prune=True, watch=nobody,
    )  # fmt: skip
    held = loaded.decoder.weight_bytes + PROCESS_BYTES["cpu"]
    monkeypatch.setattr(machine, "held_bytes", lambda _: held)
    monkeypatch.setattr("core.evaluation.speed.forward_seconds", lambda *_: 1.0)
    return run._plan(loaded, spec, budget), loaded


def same(found: Estimate, plan: Plan, loaded: stages.Loaded) -> None:
    told = found.plan
    assert (told.group, told.hold_inputs, told.peak_bytes) == (
        plan.group, plan.hold_inputs, plan.peak_bytes,
    )  # fmt: skip
    assert (told.forwards, told.flops, told.solver_flops) == (
        plan.forwards, plan.flops, plan.solver_flops,
    )  # fmt: skip
    assert found.model.family == loaded.decoder.family.name
    assert found.model.parameters == loaded.decoder.parameters
    assert found.model.revision == loaded.revision
    matrices = loaded.decoder.all_matrices()
    assert found.model.prunable_parameters == sum(m.linear.weight.numel() for m in matrices)


@pytest.mark.parametrize("budget", [ROOMY, TIGHT])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source", ["example:kjv-dlm", "example:kjv-ar"])
def test_the_estimate_is_the_plan_that_the_engine_makes(
    source: str, method: str, budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(source, method=method)
    plan, loaded = engines_plan(spec, budget, tmp_path, monkeypatch)
    found = estimated(spec, budget)
    assert found.plan.fits
    same(found, plan, loaded)


SPECS: dict[str, dict[str, Any]] = {
    "transient sinks": {"recipe": {"sinks": "discount-transient"}},
    "noised and sequential": {"method": "wanda", "recipe": {"inputs": "noised"}},
    "owl": {"recipe": {"allocation": "owl"}},
    "sensitivity": {"recipe": {"allocation": "sensitivity"}},
    "no evaluation": {"evaluation": {"nelbo": False, "agreement": False}},
    "nothing looked at": {"evaluation": {"reconstruction": False, "sinks_after": False}},
    "sinks knocked out": {"evaluation": {"knockout": True}},
    "a baseline": {"evaluation": {"baseline": "sparsegpt"}},
    "longer than the context": {"calibration": {"samples": 2, "sequence_length": 4096}},
    "the clean text, too": {"calibration": {**CALIBRATION, "include_clean": True, "max_rate": 0.4}},
    "the paper's defaults": {"calibration": {}},
    "no texts to read": {"evaluation": {"texts": 0}},
    "what the model writes": {
        "calibration": {
            **CALIBRATION,
            "trajectory": "generation",
            "diffusion_steps": 80,
            "generation": {"guidance": 1.0, "block_length": 9},
        }
    },
    "what it writes from left to right": {
        "source": "example:kjv-ar",
        "calibration": {**CALIBRATION, "trajectory": "decoding"},
    },
}


@pytest.mark.parametrize("case", SPECS)
def test_so_it_is_for_every_option_that_a_plan_looks_at(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(**SPECS[case])
    plan, loaded = engines_plan(spec, ROOMY, tmp_path, monkeypatch)
    found = estimated(spec)
    same(found, plan, loaded)
    assert set(loaded.prepared.warnings) == set(found.warnings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mixed", [False, True])
def test_so_it_is_for_every_family(
    kind: str, mixed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dtype(name: str) -> torch.dtype:
        return torch.float16 if mixed and "q_proj" in name else torch.bfloat16

    folder = tiny(tmp_path / "model", kind, dtype=dtype, shards=2)
    spec = spec_of(folder.as_uri(), method="sparsegpt")
    plan, loaded = engines_plan(spec, ROOMY, tmp_path, monkeypatch)
    same(estimated(spec), plan, loaded)


@pytest.mark.parametrize(("rows", "recorded"), [(7, None), (40, None), (6, 4), (50, 3)], ids=str)
def test_so_it_is_for_token_files(
    rows: int, recorded: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {"input_ids": torch.zeros(rows, 40, dtype=torch.int64)}
    if recorded:
        tokens["noised_input_ids"] = torch.zeros(rows, recorded, 40, dtype=torch.int64)
    save_file(tokens, tmp_path / "tokens.safetensors")
    source = (tmp_path / "tokens.safetensors").as_uri()
    spec = spec_of(calibration={"source": source, "samples": 6})
    plan, loaded = engines_plan(spec, ROOMY, tmp_path, monkeypatch)
    found = estimated(spec)
    same(found, plan, loaded)
    assert found.calibration.positions == 40


def test_the_output_is_about_as_large_as_told(tmp_path: Path) -> None:
    spec = spec_of(evaluation={"samples": 2, "speed": False})
    run.execute(spec, tmp_path / "out", stages.RunOptions(), ignore)
    found = estimated(spec)
    written = sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found.output_bytes == pytest.approx(written, rel=0.05)
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert report["plan"]["flops"] == found.plan.flops


def test_what_does_not_fit_is_told_with_what_would() -> None:
    found = estimated(spec_of(), budget=1 << 20)
    assert found.plan.fits is False
    assert found.plan.peak_bytes == found.plan.least_peak_bytes
    assert "the job does not fit the memory budget and would fail" in found.warnings
    assert estimated(spec_of(), budget=found.plan.least_peak_bytes).plan.fits


def test_without_a_budget_the_plan_is_the_fastest(tmp_path: Path) -> None:
    open_ended, roomy = estimated(spec_of(), budget=None), estimated(spec_of(), budget=1 << 50)
    assert open_ended.plan.fits is None
    assert open_ended.plan.group == roomy.plan.group
    assert any("no memory budget" in warning for warning in open_ended.warnings)


def test_seconds_are_flops_at_the_rate_that_is_known() -> None:
    estimator, spec = Estimator(Allowed(), Machine()), spec_of()
    assert estimator.estimate(spec).seconds is None
    found = estimator.estimate(spec, "t", 1e9)
    assert found.seconds == pytest.approx(found.plan.flops / 1e9)


def test_the_device_changes_the_group() -> None:
    spec = spec_of(calibration={"samples": 128, "sequence_length": 256})
    groups = {
        device: Estimator(Allowed(), Machine.configured(device, None)).estimate(spec).plan.group
        for device in ("auto", "cpu", "cuda:1")
    }
    assert groups["auto"] == groups["cpu"] < groups["cuda:1"]


REFUSED: dict[str, tuple[dict[str, Any], type[SecateurError], str]] = {
    "a width that N:M does not divide": ({"pattern": "5:9"}, InvalidSpec, "no multiple of 9"),
    "a list of another length": (
        {"recipe": {"allocation": [0.5, 0.5]}},
        InvalidSpec,
        "2 shares and the model has 6 blocks",
    ),
    "a prefix as long as the sequence": (
        {"calibration": {"sequence_length": 3000, "keep_prefix": 2000}},
        InvalidSpec,
        "nothing to corrupt",
    ),
    "no such builtin": ({"calibration": {"source": "builtin:x"}}, TextNotFound, "no builtin text"),
    "no such text": (
        {"calibration": {"source": "file:///no/text.txt"}},
        TextNotFound,
        "not a file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_worker_would_refuse_is_refused(case: str) -> None:
    change, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        estimated(spec_of(**change))


def test_token_files_that_cannot_serve(tmp_path: Path) -> None:
    path = tmp_path / "tokens.safetensors"
    spec = spec_of(calibration={"source": path.as_uri(), "samples": 6})
    path.write_bytes(b"no tokens at all")
    with pytest.raises(BadTokenFile, match="not a valid safetensors"):
        estimated(spec)
    for shape, kind, match in (
        ((5, 40), TextTooShort, "240 needed"),
        ((6, 4000), BadTokenFile, "context"),
    ):
        save_file({"input_ids": torch.zeros(*shape, dtype=torch.int64)}, path)
        with pytest.raises(kind, match=match):
            estimated(spec)
    ids = torch.zeros(6, 40, dtype=torch.int64)
    save_file({"input_ids": ids, "noised_input_ids": ids[:, None].clone()}, path)
    transient: dict[str, Any] = {"recipe": {"sinks": "discount-transient"}}
    with pytest.raises(InvalidSpec, match="needs two timesteps"):
        estimated(spec_of(calibration={"source": path.as_uri(), "samples": 6}, **transient))


def test_models_that_cannot_be_pruned(tmp_path: Path) -> None:
    folder = tiny(tmp_path / "model", "llada", shards=2)
    spec = spec_of(folder.as_uri())
    estimated(spec)
    (folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    with pytest.raises(ModelNotFound, match="tokenizer"):
        estimated(spec)
    (tmp_path / "tokenizer.json").rename(folder / "tokenizer.json")
    config = json.loads((folder / "config.json").read_text())
    for changed, kind in (({"n_layers": 3}, BrokenCheckpoint), ({"alibi": True}, UnsupportedModel)):
        (folder / "config.json").write_text(json.dumps(config | changed))
        with pytest.raises(kind):
            estimated(spec)
    (folder / "config.json").unlink()
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        estimated(spec)
    with pytest.raises(ModelNotFound, match="not a folder"):
        estimated(spec_of((tmp_path / "none").as_uri()))


def test_places_that_are_not_allowed(tmp_path: Path) -> None:
    estimator = Estimator(Allowed(roots=(tmp_path,)), Machine())
    with pytest.raises(SourceRefused):
        estimator.estimate(spec_of("file:///etc"))
    with pytest.raises(SourceRefused):
        estimator.estimate(spec_of(calibration={"source": "file:///etc/passwd.txt"}))


def test_a_model_is_read_once_and_anew_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(files: LocalFiles, deadline: Deadline) -> Any:
        read.append(files.named)
        return read_facts(files, deadline)

    monkeypatch.setattr(module, "read_facts", counted)
    folder = tiny(tmp_path / "model", "llada")
    estimator, spec = Estimator(Allowed(), Machine()), spec_of(folder.as_uri())
    first = estimator.estimate(spec, "a")
    assert estimator.estimate(spec, "a") == first
    assert len(read) == 1
    estimator.estimate(spec, "b")  # who asks learns nothing of what others asked
    assert len(read) == 2
    (folder / "notes.txt").write_text("more")
    assert estimator.estimate(spec, "a").output_bytes == first.output_bytes + 4
    assert len(read) == 3


def test_only_so_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, go, inside = (
        Estimator(Allowed(), Machine()),
        threading.Event(),
        threading.Semaphore(0),
    )

    def waiting(files: LocalFiles, deadline: Deadline) -> Any:
        inside.release()
        go.wait(20)
        return read_facts(files, deadline)

    monkeypatch.setattr(module, "read_facts", waiting)
    spec = spec_of()

    def ask(caller: str) -> threading.Thread:
        thread = threading.Thread(target=estimator.estimate, args=(spec, caller))
        thread.start()
        assert inside.acquire(timeout=20)
        return thread

    threads = [ask("greedy"), ask("greedy")]
    with pytest.raises(EstimatesBusy):
        estimator.estimate(spec, "greedy")
    threads += [ask(f"other {i}") for i in range(module.AT_ONCE - 2)]
    with pytest.raises(EstimatesBusy):
        estimator.estimate(spec, "late")
    go.set()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(module, "read_facts", read_facts)
    assert estimator.estimate(spec, "greedy").plan.group > 0


def test_time_runs_out(tmp_path: Path) -> None:
    ticks = iter(range(1000))
    slow = Estimator(Allowed(), Machine(), seconds=0.5, clock=lambda: float(next(ticks)))
    with pytest.raises(SourceTooSlow, match=r"within 0\.5 seconds"):
        slow.estimate(spec_of())


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalFiles, "read", denied)
    with pytest.raises(SourceUnavailable, match="Permission denied"):
        estimated(spec_of())


@pytest.mark.parametrize("knockout", [False, True])
def test_a_control_is_watched_before_and_takes_its_share(tmp_path: Path, knockout: bool) -> None:
    deep: dict[str, Any] = {"evaluation": {"knockout": knockout, "samples": 5}}
    alone = estimated(spec_of(**deep)).plan
    both = estimated(spec_of(control={"source": "example:kjv-ar"}, **deep)).plan
    spec = spec_of("example:kjv-ar")
    loaded = stages.fetch(
        spec.model, spec.calibration, stages.RunOptions(), CPU, tmp_path,
        evaluation_samples=5 * knockout, to_prune=False, watch=nobody,
        adapt=for_control,
    )  # fmt: skip
    hidden = hidden_sequences(loaded) if knockout else 0
    plan = stages.plan_run(loaded, METHODS["magnitude"], ROOMY, depth_sequences=hidden)
    assert plan.forwards > 0
    assert both.forwards - alone.forwards == plan.forwards
    assert both.flops - alone.flops == pytest.approx(plan.flops)
    assert both.peak_bytes >= alone.peak_bytes
    assert both.group == alone.group


def test_a_control_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ModelNotFound, match="nobody"):
        estimated(spec_of(control={"source": "example:nobody"}))
