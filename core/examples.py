"""The example models that come with the package, so that everything can be tried without a download."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import ModelNotFound

SHIPPED: Final = Path(__file__).parent / "models" / "shipped"


@dataclass(frozen=True, slots=True)
class Example:
    """One shipped checkpoint, under the name that `example:NAME` refers to."""

    name: str
    description: str

    @property
    def source(self) -> str:
        return f"example:{self.name}"

    @property
    def folder(self) -> Path:
        return SHIPPED / self.name


EXAMPLES: Final = (
    Example(
        "kjv-dlm",
        "Masked diffusion character model of the King James text in LLaDA's format, "
        "2.7 M parameters, 6 blocks.",
    ),
    Example(
        "kjv-ar",
        "The same size, text and tokenizer as kjv-dlm, trained autoregressively, in Llama's "
        "format: the contrast that shows what diffusion does to attention sinks.",
    ),
)


def folder_of(name: str) -> Path:
    """The checkpoint folder of the example `name`.

    Raises:
        ModelNotFound: there is no such example, or this installation came without its files.
    """
    example = next((e for e in EXAMPLES if e.name == name), None)
    if example is None:
        names = ", ".join(e.source for e in EXAMPLES)
        raise ModelNotFound(f"there is no example model {name!r}.", remedy=f"There are: {names}.")
    if not (example.folder / "config.json").is_file():
        raise ModelNotFound(
            f"{example.source} is missing from this installation ({example.folder}).",
            remedy="Install the package again.",
        )
    return example.folder
