"""The character vocabulary that both example models share."""

from collections.abc import Iterable

CHARACTERS = "\n !'(),-.:;?ABCDEFGHIJKLMNOPQRSTUVWYZabcdefghijklmnopqrstuvwxyz"
UNKNOWN, START, END, MASK = "<|unknown|>", "<|startoftext|>", "<|endoftext|>", "<|mask|>"
VOCABULARY = [*CHARACTERS, UNKNOWN, START, END, MASK]
IDS = {token: i for i, token in enumerate(VOCABULARY)}
BOS_ID, EOS_ID, MASK_ID = IDS[START], IDS[END], IDS[MASK]


def encode(text: str) -> list[int]:
    """One id per character; characters the King James text lacks become the unknown token."""
    unknown = IDS[UNKNOWN]
    return [IDS.get(c, unknown) for c in text]


def decode(ids: Iterable[int]) -> str:
    return "".join("·" if i == MASK_ID else VOCABULARY[i] for i in ids if i not in (BOS_ID, EOS_ID))
