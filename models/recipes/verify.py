"""Does llama.cpp compute what the trained model computes? Compares tokens and logits over one window of text."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from llama_cpp import GGML_TYPE_F32
from llama_cpp import Llama as LlamaCpp
from tokenizers import Tokenizer

from data import BOS_ID
from lora import adapt, factors
from model import Llama, Shape

N_CTX = 512
TOLERANCE = 1e-3


def trained(checkpoint: Path) -> Llama:
    content = torch.load(checkpoint, map_location="cpu")
    model, adapter = Llama(Shape(**content["shape"])), factors(content["model"])
    if adapter:
        adapt(model, min(next(iter(adapter.values())).shape))
    model.load_state_dict(content["model"])
    return model


def verify(checkpoint: Path, f32_gguf: Path, tokenizer_json: Path, text: str, adapter: Path | None = None) -> float:
    """The largest difference of any logit; raises where tokens or logits differ. With an adapter, the file is what the
    adapter belongs to."""
    runtime = LlamaCpp(
        str(f32_gguf),
        lora_path=str(adapter) if adapter else None,
        n_ctx=N_CTX,
        n_batch=N_CTX,
        logits_all=True,
        type_k=GGML_TYPE_F32,
        type_v=GGML_TYPE_F32,
        verbose=False,
    )
    expected = Tokenizer.from_file(str(tokenizer_json)).encode(text).ids
    got = runtime.tokenize(text.encode(), add_bos=True)
    if got != [BOS_ID, *expected]:
        raise SystemExit(f"{f32_gguf}: llama.cpp splits the text into other tokens")
    tokens = got[:N_CTX]
    runtime.eval(tokens)
    theirs = np.array(runtime.scores[: len(tokens)])

    with torch.no_grad():
        ours = trained(checkpoint)(torch.tensor([tokens]))[0].numpy()
    difference = float(np.abs(ours - theirs).max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"{f32_gguf}: logits differ by {difference:.2g}, more than {TOLERANCE:g}")
    return difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="model.pt")
    parser.add_argument("gguf", type=Path, help="the same model, exported as F32")
    parser.add_argument("--adapter", type=Path, help="the checkpoint's LoRA adapter, exported as F32")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--text", type=Path, required=True)
    arguments = parser.parse_args()
    text = arguments.text.read_text(encoding="utf-8")
    difference = verify(arguments.checkpoint, arguments.gguf, arguments.tokenizer, text, arguments.adapter)
    print(f"{arguments.gguf.name}: same tokens, logits within {difference:.1e}")


if __name__ == "__main__":
    main()
