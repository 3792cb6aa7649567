"""What a recipe's settings, a pattern and a loss mean, in plain words. Free of numerics."""

from dataclasses import dataclass

from core.evaluation.in_depth import Condition
from core.recipes import METHODS, Recipe
from core.report.schema import Objective, Report
from core.spec import kept_per_group

CONDITIONS: dict[Condition, str] = {
    "none": "nothing",
    "all": "all sinks",
    "random": "as many random positions",
    "stable": "stable sinks",
    "random-stable": "as many random positions",
    "transient": "transient sinks",
    "random-transient": "as many random positions",
}
"""What a knock-out hides from attention."""
SCORES = {
    "magnitude": "a weight counts by its size alone; compared {scope}",
    "wanda": (
        "a weight counts by its size times the norm of the input it is multiplied with; compared"
        " {scope}"
    ),
    "sparsegpt": (
        "a weight counts by what its removal costs once the rest of its row has made up for it;"
        " compared {scope}, and the weights that stay were moved"
    ),
}
SCOPES = {
    "magnitude": "over the whole matrix",
    "wanda": "within each row",
    "sparsegpt": "within each 128 columns",
}
MEANINGS = {
    "inputs": {
        "clean": "statistics were taken on the clean text",
        "noised": "statistics were taken on the noised sequences, at every timestep",
    },
    "order": {
        "sequential": "each block saw the outputs of the blocks already pruned",
        "one-shot": "every block was measured in the dense model",
    },
    "sinks": {
        "keep": "every position counted fully, sinks too",
        "discount-all": "positions counted the less the more they act as sinks{when}",
        "discount-transient": (
            "positions counted the less the more they act as sinks that come and go{when}; a sink"
            " that is there at every timestep counted fully"
        ),
    },
    "allocation": {
        "uniform": "the same share was removed from every matrix",
        "owl": "blocks with more outlying scores lost less (OWL, arXiv 2310.05175)",
        "early-sparser": (
            "most from the first block and least from the last, in a straight line"
            " (after arXiv 2605.06366)"
        ),
        "sensitivity": "blocks whose output suffers more when they alone are pruned lost less",
        "explicit": "each block's share was given with the job",
    },
}
NUMBERS = {
    "damping": "of the mean of the Hessian's diagonal: added to it so that it can be inverted",
    "allocation_spread": "the blocks' shares span twice this",
    "outlier_threshold": "a score this many times its block's mean is an outlier",
}
WHEN = {"clean": ", on average over the timesteps", "noised": " at that timestep"}


def recipe_rows(report: Report) -> list[tuple[str, str, str]]:
    """(setting, value, what it means); settings that the method does not have are left out."""
    return [
        (name.replace("_", " "), value, _meaning(report, name, value))
        for name, value in report.recipe.items()
        if value is not None
    ]


def _meaning(report: Report, name: str, value: str) -> str:
    if name in NUMBERS:
        return NUMBERS[name]
    pair = kept_per_group(pattern_of(report))
    if name == "score":
        scope = SCOPES.get(value, "") if pair is None else f"within each group of {pair[1]} inputs"
        return SCORES.get(value, "").replace("{scope}", scope)
    when = WHEN.get(report.recipe.get("inputs") or "", "")
    return MEANINGS.get(name, {}).get(value, "").replace("{when}", when)


def method_of(report: Report) -> str:
    """The method's name, which a cell of the recipe that was changed makes another method's."""
    name = str(report.job.get("method"))
    return f"a changed {name} recipe" if _changed_from(report) else name


def method_meaning(report: Report) -> str:
    """What the method's own recipe has where this one has something else."""
    own = ", ".join(f"{cell} {value}" for cell, value in _changed_from(report).items())
    return f"with a changed recipe: its own has {own}" if own else "with its own recipe"


def _changed_from(report: Report) -> dict[str, str | None]:
    """The cells in which the recipe is not the method's own, as the method has them."""
    rows: dict[str, Recipe] = {str(name): row for name, row in METHODS.items()}
    own = rows.get(str(report.job.get("method")))
    if own is None:
        return {}
    cells = {"inputs": own.inputs, "order": own.order, "sinks": own.sinks}
    return {cell: value for cell, value in cells.items() if report.recipe.get(cell) != value}


def pattern_of(report: Report) -> str:
    return str(report.job.get("pattern"))


def pattern_meaning(pattern: str) -> str:
    """Where zeros may lie."""
    pair = kept_per_group(pattern)
    if pair is None:
        return "zeros may lie anywhere" if pattern == "unstructured" else ""
    kept, group = pair
    return f"of every {group} consecutive inputs, {kept} kept, in every row of every matrix"


def saves(pattern: str) -> str:
    """What zeros in this pattern save: nothing, so far."""
    if kept_per_group(pattern) is None:
        return (
            "Unstructured zeros save neither time nor space in themselves: they are stored and"
            " multiplied like any other number, and the checkpoint is as large as the original. They are"
            " a measure of what the model can do without."
        )
    return (
        f"{pattern} is a form that special hardware can exploit, but here its zeros are stored and"
        " multiplied like any other number, and the checkpoint is as large as the original. As of"
        " November 2026 no open serving software that we know of runs N:M models faster than dense"
        " ones."
    )


def speed_note(pattern: str) -> str:
    """What to make of a measured speed."""
    if kept_per_group(pattern) is None:
        return (
            "Unstructured zeros are stored and multiplied like other numbers: "
            "the pruned checkpoint has the dense one's size and speed."
        )
    return (
        f"Both ran on dense kernels, for which zeros in a {pattern} pattern are numbers like others. "
        "As of November 2026 no open serving software that we know of runs N:M models faster."
    )


def kept_weights(report: Report) -> str:
    """What became of the weights that were not removed."""
    if report.recipe.get("score") == "sparsegpt":
        return (
            "SparseGPT also moved the weights that it kept, to make up for those that went, so the"
            " numbers that are left are not the original's."
        )
    return "The weights that were kept are the original's, unchanged."


def untouched(report: Report) -> str:
    """The parts of a model that no method prunes."""
    routers = ", routers" if report.model.experts else ""
    return f"embeddings, norms, biases{routers} and the output head"


@dataclass(frozen=True, slots=True)
class Loss:
    """How to speak of a loss."""

    short: str
    name: str
    perplexity: str
    positions: str
    shared: str


LOSSES: dict[Objective, Loss] = {
    "nelbo": Loss(
        short="NELBO",
        name="Bound on the negative log-likelihood (NELBO)",
        perplexity="perplexity, at most",
        positions="masked positions",
        shared="dense and pruned saw the same masks",
    ),
    "likelihood": Loss(
        short="NLL",
        name="Exact negative log-likelihood",
        perplexity="perplexity",
        positions="predicted positions",
        shared="dense and pruned predicted the same tokens",
    ),
}


def loss_of(report: Report) -> Loss:
    return LOSSES[report.quality.objective]
