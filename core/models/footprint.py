"""What a checkpoint's weights take in memory, told from where its tensors lie. Free of torch."""

from collections.abc import Mapping
from math import prod
from typing import Final

from core.models.families import Dimensions, Family
from core.models.places import ELEMENT_BYTES, TensorPlace
from core.models.shapes import matrix_shape, parameter_shapes

ROUTER: Final = ".mlp.router."
"""In the names of tensors that choose experts, which keep the dtype they are saved in."""

_WIDEST: Final = "F32"


def compute_dtype(places: Mapping[str, TensorPlace], family: Family, dimensions: Dimensions) -> str:
    """What prunable matrices, embedding and head are saved in; where these differ, float32, which
    holds every one of them exactly."""
    names = {
        slot.place.name
        for block in range(dimensions.blocks)
        for slot in family.slots(dimensions, block)
    }
    names.add(family.others["model.embed_tokens.weight"])
    if not dimensions.tied:
        names.add(family.head[1])
    found = {places[name].dtype for name in names}
    return found.pop() if len(found) == 1 else _WIDEST


def weight_bytes(places: Mapping[str, TensorPlace], family: Family, dimensions: Dimensions) -> int:
    """Of all parameters as a run holds them, head included."""
    dtype = compute_dtype(places, family, dimensions)
    shapes = parameter_shapes(family, dimensions)
    return sum(
        prod(shapes[ours]) * ELEMENT_BYTES[places[place.name].dtype if ROUTER in ours else dtype]
        for ours, place in family.tensors(dimensions).items()
    )


def parameters(family: Family, dimensions: Dimensions) -> int:
    """Of the whole model; an embedding that serves as the head counts once."""
    return sum(map(prod, parameter_shapes(family, dimensions).values()))


def prunable_parameters(family: Family, dimensions: Dimensions) -> int:
    """Of the matrices that a run prunes."""
    return sum(
        prod(matrix_shape(dimensions, slot))
        for block in range(dimensions.blocks)
        for slot in family.slots(dimensions, block)
    )
