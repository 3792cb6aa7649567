"""Models whose sinks are where a test wants them: every query looks for one token."""

import torch

from core.models.decoder import Decoder

SINK_TOKEN = 7
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
