"""Tiny random checkpoints in the published on-disk formats, made where a test needs one."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

CHARACTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,:;!?'()-\n"
SPECIAL = ["<unk>", "<start>", "<end>", "<mask>"]
VOCABULARY = len(CHARACTERS) + len(SPECIAL)
MASK_ID = VOCABULARY - 1


def llada_config(
    *, layers: int = 2, width: int = 32, heads: int = 2, ffn: int = 48
) -> dict[str, Any]:
    """A config.json with every key that LLaDA's own has."""
    return {
        "activation_type": "silu", "alibi": False, "alibi_bias_max": 8.0,
        "architectures": ["LLaDAModelLM"], "attention_dropout": 0.0,
        "attention_layer_norm": False, "attention_layer_norm_with_affine": True,
        "bias_for_layer_norm": False, "block_group_size": 1, "block_type": "llama",
        "d_model": width, "embedding_dropout": 0.0, "embedding_size": VOCABULARY,
        "eos_token_id": VOCABULARY - 2, "flash_attention": False, "include_bias": False,
        "include_qkv_bias": False, "init_cutoff_factor": None, "init_device": "cpu",
        "init_fn": "mitchell", "init_std": 0.02, "input_emb_norm": False,
        "layer_norm_type": "rms", "layer_norm_with_affine": True, "mask_token_id": MASK_ID,
        "max_sequence_length": 64, "mlp_hidden_size": ffn, "mlp_ratio": 4,
        "model_type": "llada", "multi_query_attention": None, "n_heads": heads,
        "n_kv_heads": heads, "n_layers": layers, "pad_token_id": VOCABULARY - 2,
        "precision": "amp_bf16", "residual_dropout": 0.0, "rms_norm_eps": 1e-5, "rope": True,
        "rope_full_precision": True, "rope_theta": 10000.0, "scale_logits": False,
        "torch_dtype": "float32", "transformers_version": "4.49.0", "use_cache": False,
        "vocab_size": VOCABULARY, "weight_tying": False,
    }  # fmt: skip


def llada_tensors(config: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    width, ffn, vocabulary = config["d_model"], config["mlp_hidden_size"], config["embedding_size"]
    kv = width // config["n_heads"] * config["n_kv_heads"]

    def matrix(rows: int, columns: int) -> Tensor:
        drawn: Tensor = torch.randn(rows, columns, generator=rng)
        return drawn.mul_(columns**-0.5)

    tensors = {
        "model.transformer.wte.weight": torch.randn(vocabulary, width, generator=rng),
        "model.transformer.ln_f.weight": torch.ones(width),
        "model.transformer.ff_out.weight": matrix(vocabulary, width),
    }
    for i in range(config["n_layers"]):
        at = f"model.transformer.blocks.{i}."
        tensors |= {
            at + "attn_norm.weight": 1 + 0.1 * torch.randn(width, generator=rng),
            at + "ff_norm.weight": 1 + 0.1 * torch.randn(width, generator=rng),
            at + "q_proj.weight": 2 * matrix(width, width),
            at + "k_proj.weight": 2 * matrix(kv, width),
            at + "v_proj.weight": matrix(kv, width),
            at + "attn_out.weight": matrix(width, width),
            at + "ff_proj.weight": matrix(ffn, width),
            at + "up_proj.weight": matrix(ffn, width),
            at + "ff_out.weight": matrix(width, ffn),
        }
    return tensors


def write_tokenizer(folder: Path) -> None:
    """A character tokenizer that puts a start token before every text."""
    vocabulary = {c: i for i, c in enumerate([*CHARACTERS, *SPECIAL])}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A", special_tokens=[("<start>", vocabulary["<start>"])]
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_checkpoint(
    folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], *, shards: int = 1
) -> Path:
    """A checkpoint with tokenizer in `folder`, in one file or in indexed shards."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    write_tokenizer(folder)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def tiny_llada(
    folder: Path,
    *,
    layers: int = 2,
    seed: int = 0,
    shards: int = 1,
    dtype: torch.dtype = torch.float32,
    **dimensions: int,
) -> Path:
    """A random LLaDA checkpoint with tokenizer in `folder`, in one file or in indexed shards."""
    config = llada_config(layers=layers, **dimensions)
    tensors = {name: t.to(dtype) for name, t in llada_tensors(config, seed).items()}
    return write_checkpoint(folder, config, tensors, shards=shards)
