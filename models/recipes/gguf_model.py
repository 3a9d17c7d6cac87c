"""A model and its tokenizer from the very GGUF file that runs, and LoRA adapters for that file.

transformers turns the quantised weights into floats, so what is trained on top belongs to the weights as they are,
their rounding included.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGUFReader, GGUFWriter
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from documents import Document
from extract_lora import value
from retype import values

MATRICES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Of these, llama.cpp's files have the rows of Q and K in another order than transformers.
ROTATED_IN_PAIRS = {"llama"}
# Text that no other message contains, to find where an answer stands in a chat template.
MARK = "\u2766answer\u2766"


@dataclass
class Loaded:
    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    path: Path
    architecture: str
    end: int
    adds_bos: bool

    @property
    def device(self) -> torch.device:
        return self.model.device

    def hidden(self, **inputs) -> torch.Tensor:
        """The last layer's output, `[n_batch, n_tokens, n_embd]`."""
        inner = self.model.base_model.model if isinstance(self.model, PeftModel) else self.model
        return inner.model(**inputs).last_hidden_state

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 `[…, n_vocab]`."""
        logits = self.model.get_output_embeddings()(hidden).float()
        softcap = getattr(self.model.config, "final_logit_softcapping", None)
        return softcap * torch.tanh(logits / softcap) if softcap else logits

    def turn(self, messages: tuple[tuple[str, str], ...]) -> tuple[str, int]:
        """A conversation as the chat template writes it, up to where the answer begins, and the token that ends the
        answer."""
        turns = [{"role": role, "content": content} for role, content in messages]
        prompt = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        whole = self.tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": MARK}], tokenize=False)
        behind = self.tokenizer(whole.partition(MARK)[2], add_special_tokens=False).input_ids
        return prompt, next((token for token in behind if token in self.tokenizer.all_special_ids), self.end)

    def encode(self, document: Document, plain: bool = False) -> tuple[list[int], int]:
        """All tokens, and how many of them stand before the answer."""

        def encode(text: str) -> list[int]:
            return self.tokenizer(text, add_special_tokens=False).input_ids

        before = [self.tokenizer.bos_token_id] if self.adds_bos else []
        end = self.end
        if document.messages and not plain and self.tokenizer.chat_template:
            prompt, end = self.turn(document.messages)
            # A template writes its own BOS.
            before = encode(prompt)
        elif document.messages:
            before += encode("".join(content for _, content in document.messages))
        return [*before, *encode(document.answer), end], max(len(before), 1)


def load(path: Path, device: str, dtype: torch.dtype = torch.float32) -> Loaded:
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    reader = GGUFReader(path)
    folder, name = str(path.parent), path.name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=dtype).to(device)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model.eval().requires_grad_(False)
    adds_bos = value(reader, "tokenizer.ggml.add_bos_token")
    if adds_bos is None:
        adds_bos = value(reader, "tokenizer.ggml.model") == "llama"
    architecture, end = value(reader, "general.architecture"), value(reader, "tokenizer.ggml.eos_token_id")
    return Loaded(model, tokenizer, path, architecture, end, adds_bos and tokenizer.bos_token_id is not None)


def adapted(loaded: Loaded, rank: int, alpha: float, seed: int) -> Loaded:
    """The same with a LoRA adapter on all matrices of the blocks, which changes nothing yet."""
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=MATRICES, lora_dropout=0.0, task_type="CAUSAL_LM")
    loaded.model = get_peft_model(loaded.model, config)
    return loaded


def factors(model: PeftModel) -> dict[str, torch.Tensor]:
    """The adapter's matrices by their names in the model."""
    return {name: weights for name, weights in model.named_parameters() if weights.requires_grad}


@contextlib.contextmanager
def without_adapter(loaded: Loaded):
    """Nothing is trained in it. peft leaves the adapter frozen behind it, which is taken back."""
    trained = factors(loaded.model).values()
    with loaded.model.disable_adapter(), torch.no_grad():
        yield
    for weights in trained:
        weights.requires_grad_(True)


def precision(device: str) -> torch.autocast:
    """bfloat16 where matrices are multiplied, if the device computes faster in it; weights and sums stay float32."""
    has = device != "cpu" or torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=has)


def tensor_names(loaded: Loaded, reader: GGUFReader) -> gguf.TensorNameMap:
    found = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == loaded.architecture)
    return gguf.get_tensor_name_map(found, value(reader, f"{loaded.architecture}.block_count"))


class Rotation:
    """Between the orders of Q's and K's rows in transformers and in llama.cpp's files, which differ for some models."""

    def __init__(self, loaded: Loaded, reader: GGUFReader) -> None:
        key = f"{loaded.architecture}.attention.head_count"
        self.n_heads = value(reader, key)
        self.n_heads_kv = value(reader, f"{key}_kv") or self.n_heads
        self.applies = loaded.architecture in ROTATED_IN_PAIRS

    def heads(self, matrix: str, half: str) -> int | None:
        if not self.applies or half.lower() != "lora_b" or not matrix.endswith(("q_proj", "k_proj")):
            return None
        return self.n_heads if matrix.endswith("q_proj") else self.n_heads_kv

    def to_file(self, numbers: np.ndarray, matrix: str, half: str) -> np.ndarray:
        n = self.heads(matrix, half)
        return numbers.reshape(n, 2, -1, numbers.shape[1]).swapaxes(1, 2).reshape(numbers.shape) if n else numbers

    def from_file(self, numbers: np.ndarray, matrix: str, half: str) -> np.ndarray:
        n = self.heads(matrix, half)
        return numbers.reshape(n, -1, 2, numbers.shape[1]).swapaxes(1, 2).reshape(numbers.shape) if n else numbers


def with_adapter(loaded: Loaded, path: Path) -> Loaded:
    """The same with an adapter from a file that `write_adapter` wrote, or llama.cpp's converter."""
    reader, base = GGUFReader(path), GGUFReader(loaded.path)
    names, rotation = tensor_names(loaded, base), Rotation(loaded, base)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    rank = min(next(iter(tensors.values())).shape)
    loaded = adapted(loaded, int(rank), float(value(reader, gguf.Keys.Adapter.LORA_ALPHA)), seed=0)
    for name, weights in factors(loaded.model).items():
        matrix, half = parts_of(name)
        tensor = tensors.pop(f"{names.get_name(matrix)}.weight.{half.lower()}", None)
        if tensor is None:
            weights.data.zero_()
            continue
        numbers = rotation.from_file(values(tensor), matrix, half)
        weights.data.copy_(torch.from_numpy(numbers))
    if tensors:
        raise SystemExit(f"{path}: {next(iter(tensors))} belongs to no matrix of {loaded.path.name}")
    return loaded


def parts_of(name: str) -> tuple[str, str]:
    """`base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight` → the matrix and the half."""
    matrix, half = name.removeprefix("base_model.model.").removesuffix(".default.weight").rsplit(".", 1)
    return matrix, half


def write_adapter(loaded: Loaded, out: Path, about: dict[str, str]) -> None:
    """The adapter in F16, as `convert_lora_to_gguf.py` of llama.cpp names it."""
    reader = GGUFReader(loaded.path)
    names, rotation = tensor_names(loaded, reader), Rotation(loaded, reader)
    config = loaded.model.peft_config["default"]

    partial = out.with_suffix(".partial")
    writer = GGUFWriter(partial, loaded.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    for key, text in about.items():
        writer.add_string(f"general.{key}", text)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config.lora_alpha))
    for name, weights in factors(loaded.model).items():
        matrix, half = parts_of(name)
        numbers = rotation.to_file(weights.detach().float().cpu().numpy(), matrix, half)
        tensor = names.get_name(matrix)
        if tensor is None:
            raise SystemExit(f"{loaded.architecture}: no tensor of llama.cpp is known for {matrix}")
        writer.add_tensor(f"{tensor}.weight.{half.lower()}", np.ascontiguousarray(numbers, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(out)
