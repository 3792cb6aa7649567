"""Reading config.json: our own parsing, nothing in it is ever executed or passed on unseen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import BrokenCheckpoint, ModelNotFound, UnsupportedModel
from core.models import rope
from core.models.config_experts import read_experts
from core.models.config_values import Reader, listed, shown
from core.models.families import Dimensions, Family, Role, family_of
from core.strict_json import Bounds, NotStrictJson, parse_strictly

CONFIG = "config.json"
MAX_CONFIG_BYTES = 1_000_000
_BOUNDS = Bounds(MAX_CONFIG_BYTES, values=100_000)


def read_config(folder: Path) -> tuple[Family, Dimensions]:
    """Family and dimensions of the checkpoint in `folder`.

    Raises:
        ModelNotFound: there is no config.json.
        BrokenCheckpoint: it is not a JSON object, or a key has an impossible value.
        UnsupportedModel: an unknown family or a key that could change the numerics.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ModelNotFound(
            f"{folder} has no config.json.", remedy="Point at a folder in Hugging Face layout."
        )
    with path.open("rb") as stream:
        return parse_config(stream.read(MAX_CONFIG_BYTES + 1))


def parse_config(data: bytes) -> tuple[Family, Dimensions]:
    """Family and dimensions that a config.json of these bytes describes. Raises as `read_config`."""
    try:
        config = parse_strictly(data, _BOUNDS)
    except NotStrictJson as error:
        raise BrokenCheckpoint(f"config.json {error}.", remedy="Download it again.") from None
    if not isinstance(config, dict):
        raise BrokenCheckpoint("config.json is not a JSON object.")
    family = family_of(config)
    _check_keys(config, family)
    dimensions = _dimensions(config, family)
    _check_implied(config, family, dimensions)
    return family, dimensions


def _check_keys(config: Mapping[str, Any], family: Family) -> None:
    unknown = sorted(set(config) - _known_keys(family))
    if unknown:
        raise UnsupportedModel(
            f"config.json has keys that are unknown for family {family.name}: {listed(unknown)}.",
            remedy="They could change the numerics, so they are not ignored; remove them if they do not.",
        )
    for key, accepted in family.required.items():
        value = config.get(key, accepted[0])
        if not any(value is a or (type(value) is type(a) and value == a) for a in accepted):
            raise UnsupportedModel(
                f"config.json has {key} = {shown(value)}; family {family.name} runs with {accepted[0]!r}."
            )


def _known_keys(family: Family) -> set[str]:
    known = {*family.keys.values(), *family.required, *family.implied, *family.bias_keys}
    if family.experts is not None:
        known |= {*family.experts.keys.values(), family.experts.frequency or ""}
    if family.rope_dicts:
        known |= set(rope.DICTS)
    return known | family.ignored | {family.window or ""}


def _check_implied(config: Mapping[str, Any], family: Family, dimensions: Dimensions) -> None:
    """Keys that say again, or limit, what the dimensions already hold."""
    for key, of in family.implied.items():
        if config.get(key) is not None and config[key] != of(dimensions):
            raise UnsupportedModel(
                f"config.json has {key} = {shown(config[key])}; family {family.name} runs with {shown(of(dimensions))}."
            )
    window = config.get(family.window) if family.window else None
    if window is not None and not (type(window) is int and window >= dimensions.context):
        raise UnsupportedModel(
            f"config.json has {family.window} = {shown(window)}, less than the context of "
            f"{dimensions.context}.",
            remedy=f"Attention windows are not run. Sequences within the window never meet it: lower {family.keys['context']} to it.",
        )


def _dimensions(config: Mapping[str, Any], family: Family) -> Dimensions:
    get = Reader(config, family.keys, family.defaults)
    turned = rope.read_rope(config) if family.rope_dicts else rope.Rope()
    if turned.theta and config.get("rope_theta") not in (None, turned.theta):
        raise BrokenCheckpoint("config.json gives two different values of rope_theta.")
    width, heads = get.whole("width"), get.whole("heads")
    blocks, layout = get.whole("blocks"), family.experts
    found = Dimensions(
        vocabulary=get.whole("vocabulary", fallback="vocab_size"),
        width=width,
        blocks=blocks,
        heads=heads,
        kv_heads=get.whole("kv_heads", default=heads),
        ffn_width=get.whole("ffn_width", default=_by_ratio(config, width)),
        context=get.whole("context"),
        norm_eps=get.positive("norm_eps"),
        rope_theta=turned.theta or get.positive("rope_theta"),
        tied=get.flag("tied"),
        mask_token=get.whole("mask_token", least=0) if "mask_token" in family.keys else None,
        own_head_dim=get.whole("own_head_dim", default=0, least=0) or None
        if "own_head_dim" in family.keys
        else None,
        biased=_biased(config, family),
        rope_scaling=turned.scaling,
        rotary_share=_rotary_share(get, turned, family),
        experts=read_experts(config, layout, blocks) if layout is not None else None,
    )
    _check_heads(found)
    if found.mask_token is not None and found.mask_token >= found.vocabulary:
        raise BrokenCheckpoint(
            f"config.json: mask token {found.mask_token} lies outside the vocabulary of {found.vocabulary}."
        )
    return found


def _check_heads(found: Dimensions) -> None:
    own = found.own_head_dim is not None
    rotary = found.head_dim * found.rotary_share
    if (found.width % found.heads and not own) or found.heads % found.kv_heads or rotary % 2:
        raise BrokenCheckpoint(
            f"config.json: width {found.width}, {found.heads} heads and {found.kv_heads} key/value heads do not divide."
        )


def _biased(config: Mapping[str, Any], family: Family) -> frozenset[Role]:
    """Matrices with a bias: the family's, and those that flags in the config add."""
    flags = Reader(config, {key: key for key in family.bias_keys}, {})
    added = [roles for key, roles in family.bias_keys.items() if flags.flag(key)]
    return family.biases.union(*added)


def _rotary_share(get: Reader, turned: rope.Rope, family: Family) -> float:
    """Of a head, what is turned; families that always turn all refuse anything else."""
    if "rotary_share" in family.keys:
        share = turned.rotary_share or get.positive("rotary_share")
        if share <= 1:
            return share
        raise BrokenCheckpoint(f"config.json: partial_rotary_factor {share} is more than 1.")
    if turned.rotary_share not in (None, 1.0):
        raise UnsupportedModel(
            f"config.json has partial_rotary_factor {turned.rotary_share}; family {family.name} runs with 1."
        )
    return 1.0


def _by_ratio(config: Mapping[str, Any], width: int) -> int | None:
    ratio = config.get("mlp_ratio")
    return ratio * width if type(ratio) is int and 0 < ratio <= 64 else None
