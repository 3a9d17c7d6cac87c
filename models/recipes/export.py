"""A trained model → a GGUF file that llama.cpp reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGUFWriter, TokenType
from tokenizers import Tokenizer
from torch import Tensor

from data import BOS, BOS_ID, EOS, EOS_ID
from lora import SCALE, factors
from model import HEAD_DIM, NORM_EPS, ROPE_BASE, Shape
from retype import FILE_TYPES, write_tensors

ARCHITECTURE = "llama"


@dataclass(frozen=True)
class About:
    """What a file says of itself."""

    name: str
    description: str
    author: str | None = None
    license: str | None = None
    language: str | None = None


def write_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    content = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].get)
    assert tokens[BOS_ID] == BOS and tokens[EOS_ID] == EOS
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if t in (BOS, EOS) else TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in content["merges"]])
    writer.add_bos_token_id(BOS_ID)
    writer.add_eos_token_id(EOS_ID)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def describe(writer: GGUFWriter, file_type: str, about: About) -> None:
    writer.add_name(about.name)
    writer.add_description(about.description)
    if about.author:
        writer.add_author(about.author)
    if about.license:
        writer.add_license(about.license)
    if about.language:
        writer.add_languages([about.language])
    writer.add_file_type(FILE_TYPES[file_type][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}


def export(checkpoint: Path, tokenizer: Path, out: Path, file_type: str, about: About) -> None:
    content = torch.load(checkpoint, map_location="cpu")
    shape = Shape(**content["shape"])
    writer = GGUFWriter(out, ARCHITECTURE)
    describe(writer, file_type, about)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(NORM_EPS)
    write_tokenizer(writer, Tokenizer.from_file(str(tokenizer)))
    write_tensors(writer, arrays(content["model"]), file_type)


def export_adapter(checkpoint: Path, out: Path, file_type: str, about: About) -> None:
    """The LoRA adapter of a run with a rank. Q8_0 and smaller need a rank that is a multiple of 32."""
    tensors = factors(torch.load(checkpoint, map_location="cpu")["model"])
    rank = next(len(tensor) for tensor_name, tensor in tensors.items() if tensor_name.endswith("lora_a"))
    writer = GGUFWriter(out, ARCHITECTURE)
    writer.add_type(gguf.GGUFType.ADAPTER)
    describe(writer, file_type, about)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, SCALE * rank)
    write_tensors(writer, arrays(tensors), file_type)
