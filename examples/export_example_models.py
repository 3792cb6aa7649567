"""Write the trained weights as checkpoints: the DLM in LLaDA's on-disk format, its twin in Llama's.

python examples/export_example_models.py --work /tmp/train
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from characters import BOS_ID, END, EOS_ID, MASK, MASK_ID, START, UNKNOWN, VOCABULARY
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from train_example_models import LENGTH

from core.examples import SHIPPED
from core.models.families import LLADA, Dimensions

DIMENSIONS = Dimensions(
    vocabulary=len(VOCABULARY), width=192, blocks=6, heads=6, kv_heads=6, ffn_width=512,
    context=LENGTH, norm_eps=1e-5, rope_theta=10000.0, tied=False, mask_token=MASK_ID,
)  # fmt: skip

LLADA_CONFIG: dict[str, Any] = {
    "activation_type": "silu", "alibi": False, "alibi_bias_max": 8.0,
    "architectures": ["LLaDAModelLM"], "attention_dropout": 0.0, "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True, "bias_for_layer_norm": False, "block_group_size": 1,
    "block_type": "llama", "bos_token_id": BOS_ID, "d_model": DIMENSIONS.width,
    "embedding_dropout": 0.0, "embedding_size": DIMENSIONS.vocabulary, "eos_token_id": EOS_ID,
    "flash_attention": False, "include_bias": False, "include_qkv_bias": False,
    "init_cutoff_factor": None, "init_device": "cpu", "init_fn": "mitchell", "init_std": 0.02,
    "input_emb_norm": False, "layer_norm_type": "rms", "layer_norm_with_affine": True,
    "mask_token_id": MASK_ID, "max_sequence_length": LENGTH,
    "mlp_hidden_size": DIMENSIONS.ffn_width, "mlp_ratio": 4, "model_type": "llada",
    "multi_query_attention": None, "n_heads": DIMENSIONS.heads, "n_kv_heads": DIMENSIONS.kv_heads,
    "n_layers": DIMENSIONS.blocks, "pad_token_id": EOS_ID, "precision": "fp32",
    "residual_dropout": 0.0, "rms_norm_eps": DIMENSIONS.norm_eps, "rope": True,
    "rope_full_precision": True, "rope_theta": DIMENSIONS.rope_theta, "scale_logits": False,
    "torch_dtype": "float32", "use_cache": False, "vocab_size": DIMENSIONS.vocabulary,
    "weight_tying": False,
}  # fmt: skip

LLAMA_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": BOS_ID, "eos_token_id": EOS_ID, "hidden_act": "silu",
    "hidden_size": DIMENSIONS.width, "initializer_range": 0.02,
    "intermediate_size": DIMENSIONS.ffn_width, "max_position_embeddings": LENGTH,
    "mlp_bias": False, "model_type": "llama", "num_attention_heads": DIMENSIONS.heads,
    "num_hidden_layers": DIMENSIONS.blocks, "num_key_value_heads": DIMENSIONS.kv_heads,
    "pad_token_id": EOS_ID, "rms_norm_eps": DIMENSIONS.norm_eps,
    "rope_theta": DIMENSIONS.rope_theta, "tie_word_embeddings": False, "torch_dtype": "float32",
    "use_cache": False, "vocab_size": DIMENSIONS.vocabulary,
}  # fmt: skip


def tokenizer() -> Tokenizer:
    """One token a character, and a start token before every text."""
    made = Tokenizer(
        models.WordLevel(vocab={t: i for i, t in enumerate(VOCABULARY)}, unk_token=UNKNOWN)
    )
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, BOS_ID)]
    )
    made.add_special_tokens([AddedToken(t, special=True) for t in (UNKNOWN, START, END, MASK)])
    return made


def export(name: str, weights: Path, config: dict[str, Any], names: dict[str, str]) -> None:
    folder = SHIPPED / name
    folder.mkdir(parents=True, exist_ok=True)
    trained = torch.load(weights, weights_only=True)
    tensors = {theirs: trained[ours].contiguous() for ours, theirs in names.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer().save(str(folder / "tokenizer.json"))
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": UNKNOWN, "mask_token": MASK}  # fmt: skip
    fast = special | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": LENGTH}
    (folder / "tokenizer_config.json").write_text(json.dumps(fast, indent=2) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    names = {ours: place.name for ours, place in LLADA.tensors(DIMENSIONS).items()}
    export("kjv-dlm", work / "dlm.weights", LLADA_CONFIG, names)
    export("kjv-ar", work / "ar.weights", LLAMA_CONFIG, {ours: ours for ours in names})


if __name__ == "__main__":
    main()
