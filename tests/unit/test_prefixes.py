"""Growing prefixes of a text: what exists when, and that a model is watched as if it read them."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from core.calibration.prefixes import growing_prefixes
from core.calibration.prepare import noised
from core.calibration_spec import Calibration
from core.control import for_control
from core.errors import InvalidSpec
from core.models import attention
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.families import FAMILIES, Family
from core.models.intake import take_in
from core.recipes import METHODS
from tests.checkpoints import MASK_ID
from tests.engine_runs import EngineRun
from tests.family_checkpoints import tiny

ROWS = torch.randint(MASK_ID, (2, 20), generator=torch.Generator().manual_seed(4))


def family(name: str) -> Family:
    return next(each for each in FAMILIES if each.name == name)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tiny(tmp_path_factory.mktemp("model") / "m", "llama")
    return load(Checkpoint(take_in(folder)), torch.device("cpu"))


def test_the_share_of_steps_to_come_is_not_there_yet() -> None:
    found = growing_prefixes(ROWS, (5, 25, 50), 50)
    assert found.lengths is not None
    assert found.lengths.tolist() == [[18, 10, 1]] * 2
    assert found.present is not None
    assert found.present[1, 1].tolist() == [True] * 10 + [False] * 10
    assert not found.masked.any()
    assert torch.equal(found.noised[:, 2], ROWS)


def test_mass_is_that_of_a_forward_on_the_prefix_alone(llama: Decoder) -> None:
    found = growing_prefixes(ROWS, (2, 5, 9), 10)
    seen = EngineRun(llama, found, METHODS["sink-wanda"], group=3).observe()
    assert found.lengths is not None
    for sample in range(2):
        for index, length in enumerate(found.lengths[sample].tolist()):
            alone: dict[int, Tensor] = {}
            with attention.watching(alone.__setitem__), torch.inference_mode():
                llama.run_blocks(ROWS[sample : sample + 1, :length])
            mass = torch.cat([alone[block] for block in range(len(llama.blocks))])
            assert_close(seen.kept[sample, index, :, :length], mass, atol=1e-5, rtol=1e-5)


def test_a_model_that_sees_all_of_its_text_has_no_prefixes(llama: Decoder) -> None:
    asked = Calibration(trajectory="prefixes", diffusion_steps=10)
    assert noised(ROWS, asked, family("llama"), llama.dimensions).present is not None
    with pytest.raises(InvalidSpec, match="sees its whole text"):
        noised(ROWS, asked, family("llada"), llama.dimensions)


@pytest.mark.parametrize(
    ("name", "asked", "own"),
    [
        ("llama", "forward-noise", "prefixes"), ("llama", "generation", "decoding"),
        ("llada", "forward-noise", "forward-noise"), ("dream", "generation", "generation"),
    ],
)  # fmt: skip
def test_a_control_is_watched_in_its_own_way(name: str, asked: str, own: str) -> None:
    calibration = Calibration.model_validate({"trajectory": asked, "samples": 3})
    found = for_control(calibration, family(name))
    assert (found.trajectory, found.samples) == (own, 3)
