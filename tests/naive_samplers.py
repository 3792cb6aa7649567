"""The published samplers as plain loops: one sequence, every position, whole probabilities, no batches.

Shares no code with `core.calibration.samplers`. Greedy, so that there is no noise to agree on.
"""

import math

import torch

from core.models.decoder import Decoder

Rows = list[list[float]]


@torch.inference_mode()
def logits(decoder: Decoder, ids: list[int]) -> Rows:
    """What predicts each position, the mask token ruled out."""
    found: Rows = decoder.head(decoder.features(torch.tensor([ids])))[0].double().tolist()
    mask = decoder.dimensions.mask_token
    if mask is not None:
        for row in found:
            row[mask] = -math.inf
    return [found[0], *found[:-1]] if decoder.family.shifted else found


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    parts = [math.exp(value - top) for value in row]
    return [part / sum(parts) for part in parts]


def argmax(row: list[float]) -> int:
    return row.index(max(row))


def llada(
    decoder: Decoder,
    prompt: list[int],
    length: int,
    steps: int,
    blocks: list[tuple[int, int]],
    guidance: float = 0.0,
) -> list[list[int]]:
    """Every state; `blocks` as (begin, end) of positions."""
    mask = decoder.dimensions.mask_token
    assert mask is not None
    ids = prompt + [mask] * length
    states = [ids[:]]
    for begin, end in blocks:
        each = steps // len(blocks)
        for step in range(each):
            count = (end - begin) // each + (1 if step < (end - begin) % each else 0)
            rows = logits(decoder, ids)
            if guidance:
                bare = logits(decoder, [mask] * len(prompt) + ids[len(prompt) :])
                rows = [
                    [
                        -math.inf if token == mask else u + (guidance + 1) * (c - u)
                        for token, (c, u) in enumerate(zip(row, other, strict=True))
                    ]
                    for row, other in zip(rows, bare, strict=True)
                ]
            sure = {}
            for i in range(begin, end):
                if ids[i] == mask:
                    token = argmax(rows[i])
                    sure[i] = (softmax(rows[i])[token], token)
            order = sorted(sure, key=lambda i: (-sure[i][0], i))
            for i in order[:count]:
                ids[i] = sure[i][1]
            states.append(ids[:])
    return states


def dream(
    decoder: Decoder,
    prompt: list[int],
    length: int,
    steps: int,
    eps: float,
    algorithm: str,
    top_p: float | None = None,
    top_k: int | None = None,
) -> list[list[int]]:
    mask = decoder.dimensions.mask_token
    assert mask is not None
    ids = prompt + [mask] * length
    states = [ids[:]]
    times = torch.linspace(1, eps, steps + 1, dtype=torch.float64).tolist()
    for step in range(steps):
        rows = logits(decoder, ids)
        sure = {}
        for i, token in enumerate(ids):
            if token == mask:
                shares = softmax(kept(rows[i], top_p, top_k))
                sure[i] = (confidence(shares, algorithm), argmax(rows[i]))
        count = int(len(sure) * (1 - times[step + 1] / times[step]))
        if step == steps - 1:
            count = len(sure)
        for i in sorted(sure, key=lambda i: (-sure[i][0], i))[:count]:
            ids[i] = sure[i][1]
        states.append(ids[:])
    return states


def confidence(shares: list[float], algorithm: str) -> float:
    ordered = sorted(shares, reverse=True)
    if algorithm == "topk-margin":
        return ordered[0] - ordered[1]
    if algorithm == "entropy":
        return sum(p * math.log(p) for p in shares if p > 0)
    assert algorithm == "maskgit-plus"
    return ordered[0]


def kept(row: list[float], top_p: float | None, top_k: int | None) -> list[float]:
    """The nucleus first, of what remains the likeliest."""
    if top_p is not None:
        shares, total, nucleus = softmax(row), 0.0, set()
        for token in sorted(range(len(row)), key=lambda t: -row[t]):
            if total > top_p:
                break
            nucleus.add(token)
            total += shares[token]
        row = [value if token in nucleus else -math.inf for token, value in enumerate(row)]
    if top_k is not None:
        lowest = sorted(row, reverse=True)[top_k - 1]
        row = [value if value >= lowest else -math.inf for value in row]
    return row


def decode(decoder: Decoder, prompt: list[int], length: int) -> list[int]:
    ids = prompt[:]
    for _ in range(length):
        last: list[float] = logits(decoder, [*ids, 0])[len(ids)]
        ids.append(argmax(last))
    return ids
