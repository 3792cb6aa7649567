"""Split the King James text into what examples are trained on, calibrated on and judged by.

Verses are grouped into blocks of 40 lines. Block b is held out if b % 20 == 7 (5% of the text,
spread over all books); the shipped calibration text is a sixth of what remains. Run it once:

    python examples/split_corpus.py kjv.txt        # Debian's package bible-kjv, one verse a line
"""

import sys
from pathlib import Path

BLOCK_LINES = 40
TEXTS = Path(__file__).parent.parent / "core/calibration/data/plain-text"


def is_held_out(block: int) -> bool:
    return block % 20 == 7


def is_calibration(block: int) -> bool:
    return block % 6 == 3 and not is_held_out(block)


def blocks(text: str) -> list[str]:
    """The text in consecutive pieces of `BLOCK_LINES` lines."""
    lines = text.splitlines(keepends=True)
    return ["".join(lines[i : i + BLOCK_LINES]) for i in range(0, len(lines), BLOCK_LINES)]


def training_text(text: str) -> str:
    """Everything that is not held out."""
    return "".join(piece for b, piece in enumerate(blocks(text)) if not is_held_out(b))


def main() -> None:
    pieces = blocks(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name, chosen in (("calibration", is_calibration), ("heldout", is_held_out)):
        out = TEXTS / f"{name}.txt"
        out.write_text("".join(p for b, p in enumerate(pieces) if chosen(b)), encoding="utf-8")
        print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
