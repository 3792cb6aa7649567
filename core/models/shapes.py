"""The shape of every tensor that a family's checkpoint of some dimensions must hold. Free of torch."""

from core.models.families import Dimensions, Family, Slot

Shape = tuple[int, ...]


def matrix_shape(dimensions: Dimensions, slot: Slot) -> tuple[int, int]:
    """(out, in) of a prunable matrix."""
    d = dimensions
    match slot.role:
        case "q" | "k" | "v":
            return d.height(slot.role), d.width
        case "o":
            return d.width, d.heads * d.head_dim
        case "gate" | "up":
            return _inner(d, slot), d.width
        case "down":
            return d.width, _inner(d, slot)


def _inner(dimensions: Dimensions, slot: Slot) -> int:
    """Width of the feed-forward part, the expert or the shared expert that the matrix belongs to."""
    experts = dimensions.experts
    if experts is not None and slot.expert is not None:
        return experts.width
    if experts is not None and slot.module.startswith("mlp.shared."):
        return experts.shared_width
    return dimensions.ffn_width


def parameter_shapes(family: Family, dimensions: Dimensions) -> dict[str, Shape]:
    """Our name of each parameter of the decoder → its shape."""
    found: dict[str, Shape] = {}
    slots = {
        f"model.layers.{block}.{slot.module}": slot
        for block in range(dimensions.blocks)
        for slot in family.slots(dimensions, block)
    }
    for ours in family.tensors(dimensions):
        module, _, kind = ours.rpartition(".")
        if module in slots:
            rows, columns = matrix_shape(dimensions, slots[module])
            found[ours] = (rows, columns) if kind == "weight" else (rows,)
        else:
            found[ours] = _other_shape(dimensions, module, kind)
    return found


def _other_shape(dimensions: Dimensions, module: str, kind: str) -> Shape:
    d = dimensions
    match module.rpartition(".")[2]:
        case "embed_tokens" | "lm_head":
            return d.vocabulary, d.width
        case "q_norm" | "k_norm":
            return (d.head_dim,)
        case "router":
            assert d.experts is not None
            return (d.experts.count, d.width) if kind == "weight" else (d.experts.count,)
        case _:
            return (d.width,)


def tensor_shapes(family: Family, dimensions: Dimensions) -> dict[str, Shape]:
    """Every tensor the checkpoint must hold, by its own name → its shape."""
    parameters = parameter_shapes(family, dimensions)
    shapes: dict[str, Shape] = {}
    for ours, place in family.tensors(dimensions).items():
        rows, *rest = parameters[ours]
        begin = shapes.get(place.name, (0,))[0] if place.rows else 0
        shapes[place.name] = (begin + rows, *rest)
    return shapes
