"""Models whose sinks are where a test wants them: every query looks for one token."""

import torch

from core.models.decoder import Decoder

SINK_TOKEN = 7
ANSWER = 9
STRENGTH = 60.0
"""Of queries and of the sink's key, far above what the scaled product divides by."""


@torch.inference_mode()
def plant_sink(decoder: Decoder, *, token: int = SINK_TOKEN) -> None:
    """Make `token`, wherever it stands, receive nearly all attention in every block.

    For families with q biases (Qwen2, Dream). The first feature of the residual stream says whether a
    position holds the token, and no block writes to it. Queries are constant; keys read that feature
    into the pair of dimensions that rotary embeddings turn slowest.
    """
    embedding = decoder.embedding
    embedding[:, 0] = 0
    embedding[token, 0] = 100
    head, half = decoder.dimensions.head_dim, decoder.dimensions.head_dim // 2
    for block in range(len(decoder.blocks)):
        q, k, _, o, _, _, down = (m.linear for m in decoder.matrices(block)[:7])
        q.weight.zero_()
        q.bias.zero_()
        q.bias.view(-1, head)[:, half - 1] = STRENGTH**0.5
        k.weight.zero_()
        k.bias.zero_()
        k.weight.view(-1, head, k.in_features)[:, half - 1, 0] = STRENGTH**0.5
        o.weight[0] = 0
        down.weight[0] = 0


@torch.inference_mode()
def lean_on_sink(decoder: Decoder, *, answer: int = ANSWER) -> None:
    """Have the model of `plant_sink` name `answer` wherever it attends to the sink.

    Values say whether a position holds the sink token, by the first feature; attention writes that to
    the second, which nothing else does, and the head reads it as the answer.
    """
    decoder.embedding[:, 1] = 0
    head = decoder.dimensions.head_dim
    for block in range(len(decoder.blocks)):
        _, _, v, o, _, _, down = (m.linear for m in decoder.matrices(block)[:7])
        v.weight.zero_()
        v.bias.zero_()
        v.weight.view(-1, head, v.in_features)[:, 0, 0] = 1
        o.weight.zero_()
        o.weight.view(o.out_features, -1, head)[1, :, 0] = 1
        down.weight[1] = 0
    reader = decoder._model.lm_head.weight
    reader[:, 1] = 0
    reader[answer, 1] = 3
