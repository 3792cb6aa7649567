"""The pieces of the report: sink file, sparsity grid, heatmap arithmetic and the model card."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.report import sinks_file
from core.report.card import model_card
from core.report.grid import sparsity_grid, unreached_rows
from core.report.heatmaps import pooled, relative_mass, tick_rows
from core.report.plots import all_plots, chosen_samples, positions_per_sample
from core.report.schema import MatrixSparsity, PersistentPositions, Quality, Report
from core.report.sinks_file import SinkArrays
from tests.report_inputs import expert_sparsity, report_for, sink_arrays, sparsity


class TestSinksFile:
    def test_reads_what_was_written(self, tmp_path: Path) -> None:
        arrays = sink_arrays("drifting")
        sinks_file.write(tmp_path / "a", arrays)
        found = sinks_file.read(tmp_path / "a")
        for name in ("mass", "masked", "timesteps", "centroid", "sink", "persistence"):
            np.testing.assert_array_equal(getattr(found, name), getattr(arrays, name))
        sinks_file.write(tmp_path / "b", found)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_more_centroids_than_mass_are_read_too(self, tmp_path: Path) -> None:
        """Plots choose their samples from those whose mass is there."""
        few, many = sink_arrays("drifting", samples=3), sink_arrays("drifting", samples=9)
        arrays = replace(few, centroid=many.centroid)
        sinks_file.write(tmp_path / "a", arrays)
        found = sinks_file.read(tmp_path / "a")
        assert found.centroid.shape == (9, 10)
        (mass, _, centroids, *_) = all_plots(report_for(many), found)
        assert re.match(r"Sample [012],", mass.caption)
        assert "each sample" in centroids.caption
        report = report_for(many)
        more = report.model_copy(update={"sinks": report.sinks.model_copy(update={"samples": 40})})
        assert "9 of 40 samples" in all_plots(more, found)[2].caption
        with pytest.raises(ValueError, match="centroid has shape"):
            replace(many, centroid=few.centroid)

    @pytest.mark.parametrize(("largest", "dtype"), [(65504.0, "float16"), (65600.0, "float32")])
    def test_mass_never_overflows(self, largest: float, dtype: str) -> None:
        arrays = sink_arrays("fixed", samples=2)
        mass = arrays.mass.astype(np.float32)
        mass[0, 0, 0, 0] = largest
        made = SinkArrays.make(
            mass=mass,
            masked=arrays.masked,
            timesteps=arrays.timesteps.tolist(),
            centroid=arrays.centroid,
            sink=arrays.sink,
            persistence=arrays.persistence,
        )
        assert made.mass.dtype == dtype
        assert made.mass[0, 0, 0, 0] == largest

    def test_shapes_must_belong_together(self) -> None:
        arrays = sink_arrays("fixed", samples=2)
        with pytest.raises(ValueError, match="persistence has shape"):
            SinkArrays(
                arrays.mass,
                arrays.masked,
                arrays.timesteps,
                arrays.centroid,
                arrays.sink,
                arrays.persistence[:, 1:],
            )


class TestPersistence:
    def test_bars_are_of_all_samples_where_the_report_tells(self) -> None:
        arrays = sink_arrays("drifting", samples=5)
        report = report_for(arrays)
        times = arrays.sink.sum(1)
        counted = [(times == k).sum() / 5 for k in range(1, 11)]
        assert positions_per_sample(report, arrays) == pytest.approx(counted)
        told = [PersistentPositions(share=k / 10, positions=k) for k in range(1, 11)]
        sinks = report.sinks.model_copy(update={"persistence_histogram": told})
        report = report.model_copy(update={"sinks": sinks})
        assert positions_per_sample(report, arrays).tolist() == list(range(1, 11))


def test_a_report_of_before_these_statistics_still_loads() -> None:
    new = {"value_norm_ratio", "ends_share", "persistence_histogram", "per_head", "jaccard",
           "transient_share", "sinks_per_step", "masked_share", "spatial_variance_relative"}  # fmt: skip
    written = json.loads(report_for(sink_arrays("fixed")).model_dump_json())
    required = {"jaccard", "transient_share", "sinks_per_step", "masked_share"}
    for name in new - required:
        del written["sinks"][name]
    for layer in written["sinks"]["per_layer"]:
        for name in new & layer.keys():
            del layer[name]
    found = Report.model_validate(written).sinks
    assert found.value_norm_ratio.mean is None
    assert (found.persistence_histogram, found.per_head) == ([], None)
    assert found.per_layer[0].jaccard.mean is None


class TestGrid:
    def test_equal_neighbours_share_a_row(self) -> None:
        matrices = sparsity(6).matrices
        name = "model.transformer.blocks.3.ff_out.weight"
        matrices[name] = MatrixSparsity(shape=(192, 512), removed=1, fraction=1 / (192 * 512))
        grid = sparsity_grid(matrices)
        assert [kind for _, kind in grid.columns] == ["q", "k", "v", "o", "gate", "up", "down"]
        assert grid.headings == []
        assert [label for label, _ in grid.rows] == ["0 to 2", "3", "4 to 5"]
        odd = grid.rows[1][1][-1]
        assert odd is not None
        assert odd.text == "0.00"
        assert odd.detail == "1 of 98,304 weights (192 × 512)"

    def test_other_names_and_holes(self) -> None:
        one = MatrixSparsity(shape=(2, 2), removed=2, fraction=0.5)
        grid = sparsity_grid(
            {
                "model.layers.0.self_attn.q_proj.weight": one,
                "model.layers.1.mlp.down_proj.weight": one,
                "model.layers.1.mlp.router.weight": one,
                "adapter.weight": one,
            }
        )
        assert [kind for _, kind in grid.columns] == ["q", "down", "adapter", "router"]
        assert [(label, [cell is not None for cell in cells]) for label, cells in grid.rows] == [
            ("–", [False, False, True, False]),
            ("0", [True, False, False, False]),
            ("1", [False, True, False, True]),
        ]

    def test_the_experts_of_a_block_share_a_cell(self) -> None:
        grid = sparsity_grid(expert_sparsity(3, 64).matrices)
        assert grid.headings == [("", 5), ("shared expert", 3), ("experts", 3)]
        assert [kind for _, kind in grid.columns[:2]] == ["qkv", "o"]
        assert [label for label, _ in grid.rows] == ["0", "1 to 2"]
        cell = grid.rows[1][1][-1]
        assert cell is not None
        assert cell.text == "50.00 to 56.30"
        assert cell.fraction == pytest.approx(0.5 + 0.0315)
        assert cell.detail == "34,016 of 64,000 weights (64 matrices, each 10 × 100)"
        assert grid.rows[0][1][-1] is None

    def test_unreached_experts_are_listed_by_block(self) -> None:
        names = [f"model.layers.2.mlp.experts.{e}.up_proj.weight" for e in (9, 1, 2, 3, 1)]
        names.append("model.layers.10.mlp.experts.0.gate_proj.weight")
        assert unreached_rows(names) == [("2", "1 to 3, 9"), ("10", "0")]
        assert unreached_rows([]) == []


class TestHeatmaps:
    @given(columns=st.integers(1, 300), most=st.integers(1, 64), seed=st.integers(0, 99))
    def test_pooling_keeps_every_peak_in_its_place(
        self, columns: int, most: int, seed: int
    ) -> None:
        values = np.random.default_rng(seed).random((2, columns))
        small, width = pooled(values, most)
        assert small.shape[1] <= most
        for row in range(2):
            peak = int(values[row].argmax())
            assert small[row].argmax() == peak // width
            assert small[row].max() == values[row, peak]

    def test_relative_mass_has_mean_one(self) -> None:
        mass = sink_arrays("drifting").mass[0]
        for layer in (None, 0, 5):
            np.testing.assert_allclose(relative_mass(mass, layer).mean(-1), 1, rtol=1e-5)
        assert (relative_mass(np.zeros_like(mass)) == 1).all()

    @given(st.integers(1, 200), st.integers(1, 12))
    def test_ticks_are_even_and_end_at_the_last_row(self, rows: int, most: int) -> None:
        ticks = tick_rows(rows, most)
        assert 1 <= len(ticks) <= most
        assert ticks[-1] == rows - 1
        assert ticks[0] >= 0
        assert len(set(np.diff(ticks))) <= 1


def test_the_first_sample_shown_drifts_as_the_median() -> None:
    paths = np.array([[0, 9], [5, 5], [np.nan, np.nan], [0, 4], [0, 2]], dtype=np.float32)
    assert chosen_samples(paths) == [4, 1, 3, 0]
    assert chosen_samples(paths[2:3]) == [0]
    assert chosen_samples(np.full((5, 3), np.nan)) == [2, 0, 1, 4]


class TestCard:
    @pytest.mark.parametrize(
        ("source", "base"),
        [
            ("hf://GSAI-ML/LLaDA-8B-Base", "GSAI-ML/LLaDA-8B-Base"),
            ("hf://org/name@refs/pr/1/", "org/name"),
            ("example:verse", None),
            ('hf://a/b"\n---\nlicense: mit', None),
            ("file:///models/x", None),
        ],
    )
    def test_front_matter_is_what_a_hub_accepts(self, source: str, base: str | None) -> None:
        report = report_for(sink_arrays("fixed", samples=2))
        report = report.model_copy(
            update={"model": report.model.model_copy(update={"source": source})}
        )
        opening, matter, _ = model_card(report).split("---\n", 2)
        assert opening == ""
        found = yaml.safe_load(matter)
        assert found.get("base_model") == base
        assert "license" not in found
        assert {"pruned", "sink-wanda", "diffusion-language-model"} <= set(found["tags"])

    def test_tells_the_cost_and_the_truth(self) -> None:
        card = model_card(report_for(sink_arrays("fixed", samples=2), warnings=["a *b* <i>"]))
        for shown in ("+0.1234 ± 0.0042", "as large as the original", r"a \*b\* \<i\>"):
            assert shown in card

    def test_an_autoregressive_model_is_not_tagged_as_diffusion(self) -> None:
        report = report_for(sink_arrays("fixed", samples=2))
        causal = report.model.model_copy(update={"family": "llama", "attention": "causal"})
        quality = report.quality.model_copy(update={"objective": "likelihood"})
        card = model_card(report.model_copy(update={"model": causal, "quality": quality}))
        assert "diffusion" not in yaml.safe_load(card.split("---\n")[1])["tags"]
        assert "diffusion-language-model" not in card
        for shown in ("Exact negative log-likelihood", "predicted positions", "| perplexity |"):
            assert shown in card
        for untrue in ("NELBO", "masked positions", "saw the same masks", "at most |"):
            assert untrue not in card

    @pytest.mark.parametrize(("score", "moved"), [("wanda", False), ("sparsegpt", True)])
    def test_says_whether_kept_weights_are_the_originals(self, score: str, moved: bool) -> None:
        report = report_for(sink_arrays("fixed", samples=2))
        recipe = report.recipe | {"score": score}
        card = model_card(report.model_copy(update={"recipe": recipe}))
        assert ("also moved the weights" in card) == moved
        assert ("original's, unchanged" in card) != moved

    def test_without_measured_cost(self) -> None:
        quality = Quality(nelbo=None, agreement=None)
        card = model_card(report_for(sink_arrays("fixed", samples=2), quality=quality))
        assert "The loss was not measured." in card

    def test_a_hostile_source_stays_text(self) -> None:
        report = report_for(sink_arrays("fixed", samples=2))
        model = report.model.model_copy(update={"source": "example:`x` | <b>\n# title"})
        card = model_card(report.model_copy(update={"model": model}))
        assert "\n# title" not in card
        assert "``example:`x` ¦ <b> # title``" in card
