"""A trained model → a GGUF file that llama.cpp reads."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from tokenizers import Tokenizer
from torch import Tensor

from data import BOS, BOS_ID, EOS, EOS_ID
from lora import SCALE, factors
from model import HEAD_DIM, NORM_EPS, ROPE_BASE, Shape

FILE_TYPES = {
    "F32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "Q5_0": (GGMLQuantizationType.Q5_0, LlamaFileType.MOSTLY_Q5_0),
    "Q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
ARCHITECTURE, LICENSE, AUTHOR = "llama", "cc0-1.0", "proxytune"


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


def describe(writer: GGUFWriter, file_type: str, name: str, description: str) -> None:
    writer.add_name(name)
    writer.add_description(description)
    writer.add_author(AUTHOR)
    writer.add_license(LICENSE)
    writer.add_file_type(FILE_TYPES[file_type][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def write_tensors(writer: GGUFWriter, tensors: dict[str, Tensor], file_type: str) -> None:
    """Quantises the matrices and closes the file. Norms stay F32."""
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        kind = FILE_TYPES[file_type][0] if values.ndim == 2 else GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def export(checkpoint: Path, tokenizer: Path, out: Path, file_type: str, name: str, description: str) -> None:
    content = torch.load(checkpoint, map_location="cpu")
    shape = Shape(**content["shape"])
    writer = GGUFWriter(out, ARCHITECTURE)
    describe(writer, file_type, name, description)
    writer.add_languages(["en"])
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
    write_tensors(writer, content["model"], file_type)


def export_adapter(checkpoint: Path, out: Path, file_type: str, name: str, description: str) -> None:
    """The LoRA adapter of a run with a rank. Q8_0 and smaller need a rank that is a multiple of 32."""
    tensors = factors(torch.load(checkpoint, map_location="cpu")["model"])
    rank = next(len(tensor) for tensor_name, tensor in tensors.items() if tensor_name.endswith("lora_a"))
    writer = GGUFWriter(out, ARCHITECTURE)
    writer.add_type(gguf.GGUFType.ADAPTER)
    describe(writer, file_type, name, description)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, SCALE * rank)
    write_tensors(writer, tensors, file_type)
