"""Perplexity beside transformers, which computes in float32 with the very weights of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from server import PATIENCE

from conftest import Report
from program import THREADS, prose, run, serving

N_CTX = 1024
# In nats a token. llama.cpp rounds activations to 8 bits before each product with a quantised matrix.
BOUND = 0.02


@pytest.mark.parametrize("name", ["smollm2", "gemma", "small", "large"])
def test_beside_transformers(name: str, request: pytest.FixtureRequest, tmp_path: Path, report: Report) -> None:
    model: Path = request.getfixturevalue(name)
    text = tmp_path / "text.txt"
    text.write_text(prose(6000))
    measured = run("perplexity", "-m", model, "-f", text, "-c", str(N_CTX), "--chunks", "1", "--json", *THREADS).json
    assert measured["n_tokens"] == N_CTX - 1
    ours = measured["results"][0]["nats_per_token"]
    theirs = reference(model, window(model, text.read_text()))
    report(
        f"{model.stem}, {N_CTX - 1} tokens of prose",
        f"{ours:.4f} nats/token, transformers in float32 {theirs:.4f}, gap {ours - theirs:+.4f}",
    )
    assert abs(ours - theirs) < BOUND


def window(model: Path, text: str) -> list[int]:
    """The tokens of the first window, as the server has them: BOS in front where the model wants one."""
    with serving("-m", model, "-c", "64", "-np", "1") as server:
        body = {"content": text, "add_special": True}
        reply = requests.post(f"{server.url}/tokenize", json=body, timeout=PATIENCE)
        reply.raise_for_status()
        tokens: list[int] = reply.json()["tokens"]
        return tokens[:N_CTX]


def reference(path: Path, tokens: list[int]) -> float:
    """Mean loss of all tokens behind the first, in nats."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    with torch.inference_mode():
        logits = model(torch.tensor([tokens])).logits[0, :-1]
        wanted = torch.tensor(tokens[1:])
        # Rows of 262,144 in float32 take a gigabyte for 1,024 tokens; not twice.
        losses = [torch.nn.functional.cross_entropy(row, one) for row, one in zip(logits, wanted, strict=True)]
        return float(torch.stack(losses).double().mean())
