"""A trio of small models → the same functions in models of honest size, to measure speed with real acceptance rates.

What a larger model costs can be measured with random weights; how many drafted tokens its steered text accepts cannot.
A grown model has both: the cost of its size, and token for token the text of the small one. It grows in five ways,
none of which changes a logit beyond rounding:

- width: all matrices are padded with zeros, so the new dimensions of the residual stream stay zero. They thin out its
  mean square by d_old/d_new, so the norms' epsilon is multiplied by that, and their weights by its square root;
- heads: their rows of Q, K, V and their columns of the output projection are zero;
- heads that are f times as large: the same. Pair i of Q and K becomes pair f·i, which is rotated as it was. Scores are
  divided by the root of the size, so Q is multiplied by the root of f, which is exact where f is a power of 4;
- FFN: the same with the new neurons;
- depth: added layers have random weights, but write zeros: attention output and FFN down projection.

Blocks of 32 weights, which Q4_0 and Q8_0 round together, hold either old weights or new ones, never both: the grown
model is rounded as the small one would be. `--verify` holds the two against each other.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, Keys

import retype
from data import BOS_ID, tokenizer_of
from forward import Hyperparameters, logits

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = {kind: retype.FILE_TYPES[kind] for kind in ("Q4_0", "Q8_0")}
BLOCK = 32
SEED = 5
STAMP = "proxytune.grown_from"

VOCAB, EMBD, HEADS, FF = "vocabulary", "width", "heads", "FFN"
LAYER = {
    "attn_norm": (EMBD,),
    "attn_q": (HEADS, EMBD),
    "attn_k": (HEADS, EMBD),
    "attn_v": (HEADS, EMBD),
    "attn_output": (EMBD, HEADS),
    "ffn_norm": (EMBD,),
    "ffn_gate": (FF, EMBD),
    "ffn_up": (FF, EMBD),
    "ffn_down": (EMBD, FF),
}
AXES = LAYER | {"token_embd": (VOCAB, EMBD), "output": (VOCAB, EMBD), "output_norm": (EMBD,)}
WRITES_TO_THE_STREAM = ("attn_output", "ffn_down")
ROTATED = ("attn_q", "attn_k")

N_VERIFIED = 256
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Shape:
    n_embd: int
    n_layer: int
    n_head: int
    n_ff: int
    head_dim: int

    def __str__(self) -> str:
        heads = f"{self.n_head} heads of {self.head_dim}"
        return f"width {self.n_embd}, {self.n_layer} layers, {heads}, FFN {self.n_ff}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def part(tensor: str) -> str:
    """`blk.3.attn_q.weight` → `attn_q`."""
    return tensor.removesuffix(".weight").split(".")[-1]


def type_in_file(tensor: str, kind: GGMLQuantizationType) -> GGMLQuantizationType:
    """Vectors stay in F32, and what faces the vocabulary in 8 bits, as llama.cpp's quantiser keeps it above 4 too."""
    if len(AXES[part(tensor)]) == 1:
        return GGMLQuantizationType.F32
    return GGMLQuantizationType.Q8_0 if VOCAB in AXES[part(tensor)] else kind


class Small:
    """A model as it is, with its weights in float32."""

    def __init__(self, path: Path) -> None:
        self.reader = retype.open_gguf(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.hyperparameters = h = Hyperparameters.read(self.reader)
        n_ff = self.reader.get_field("llama.feed_forward_length").contents()
        self.shape = Shape(h.n_embd, h.n_layer, h.n_head, n_ff, h.head_dim)
        unknown = [name for name in self.tensors if AXES.get(part(name)) is None or not name.endswith(".weight")]
        if unknown or h.n_head != h.n_head_kv:
            raise SystemExit(f"{path} is not of the recipes' architecture: {unknown or 'K and V have fewer heads'}")
        for axis, n in ((EMBD, h.n_embd), (HEADS, h.n_head * h.head_dim), (FF, n_ff)):
            if n % BLOCK:
                raise SystemExit(f"{path}: its {axis} of {n} is no multiple of {BLOCK}, so that blocks would mix")

    def weight(self, name: str) -> np.ndarray:
        return retype.values(self.tensors[name])

    def rounded(self, kind: GGMLQuantizationType) -> Callable[[str], np.ndarray]:
        """Its weights as a file of that kind holds them."""

        def weight(name: str) -> np.ndarray:
            to = type_in_file(name, kind)
            return np.asarray(gguf.quants.dequantize(gguf.quants.quantize(self.weight(name), to), to), np.float32)

        return weight


class Grown:
    """The same model in another shape."""

    def __init__(self, small: Small, shape: Shape) -> None:
        old = small.shape
        for now, then in zip(astuple(shape), astuple(old), strict=True):
            if now < then:
                raise SystemExit(f"a model of {old} does not become one of {shape}: it only grows")
        self.small, self.shape = small, shape
        self.thinned = old.n_embd / shape.n_embd
        if shape.head_dim % old.head_dim:
            raise SystemExit(f"heads of {shape.head_dim} are no multiple of {old.head_dim}")
        n_heads = shape.n_head * shape.head_dim
        self.sizes = {VOCAB: small.tensors["token_embd.weight"].data.shape[0], EMBD: shape.n_embd, HEADS: n_heads}
        self.sizes[FF] = shape.n_ff
        for axis in (EMBD, HEADS, FF):
            if self.sizes[axis] % BLOCK:
                raise SystemExit(f"{axis}: {self.sizes[axis]} is no multiple of {BLOCK}")

    def dims(self, tensor: str) -> tuple[int, ...]:
        return tuple(self.sizes[axis] for axis in AXES[part(tensor)])

    def old(self, name: str) -> np.ndarray:
        """A tensor of the small model, padded."""
        weight = self.small.weight(name)
        if weight.ndim == 1:
            weight = weight * np.float32(self.thinned**0.5)
        if part(name) == "attn_q":
            weight = weight * np.float32((self.shape.head_dim / self.small.shape.head_dim) ** 0.5)
        for i, (axis, new) in enumerate(zip(AXES[part(name)], self.dims(name), strict=True)):
            if axis == HEADS:
                weight = self.larger_heads(weight, i, spreads=part(name) in ROTATED)
            weight = np.pad(weight, [(0, new - n if i == j else 0) for j, n in enumerate(weight.shape)])
        return weight

    def larger_heads(self, weight: np.ndarray, axis: int, *, spreads: bool) -> np.ndarray:
        """The heads along an axis of a matrix with zeros behind them, or between their pairs."""
        then, now = self.small.shape.head_dim, self.shape.head_dim
        at = np.arange(then)
        if spreads:
            at = at % 2 + at // 2 * 2 * (now // then)
        heads = np.moveaxis(weight, axis, 0).reshape(-1, then, weight.shape[1 - axis])
        larger = np.zeros((len(heads), now, heads.shape[2]), dtype=weight.dtype)
        larger[:, at] = heads
        return np.moveaxis(larger.reshape(-1, heads.shape[2]), 0, axis)

    def added(self, name: str, random: np.random.Generator) -> np.ndarray:
        """A tensor of a layer that the small model does not have."""
        dims = self.dims(name)
        if len(dims) == 1:
            return np.full(dims, self.thinned**0.5, dtype=np.float32)
        if name in WRITES_TO_THE_STREAM:
            return np.zeros(dims, dtype=np.float32)
        # Of normed input this makes values of about one.
        return random.standard_normal(dims, dtype=np.float32) / np.float32(self.small.shape.n_embd**0.5)

    def metadata(self) -> dict[str, object]:
        h, arch, head_dim = self.small.hyperparameters, "llama", self.shape.head_dim
        name = self.small.reader.get_field(Keys.General.NAME)
        return {
            Keys.General.NAME: f"{name.contents()}, grown" if name else "grown",
            Keys.General.DESCRIPTION: f"The function of a model of {self.small.shape}, at a size that costs more.",
            Keys.LLM.EMBEDDING_LENGTH.format(arch=arch): self.shape.n_embd,
            Keys.LLM.BLOCK_COUNT.format(arch=arch): self.shape.n_layer,
            Keys.LLM.FEED_FORWARD_LENGTH.format(arch=arch): self.shape.n_ff,
            Keys.Attention.HEAD_COUNT.format(arch=arch): self.shape.n_head,
            Keys.Attention.HEAD_COUNT_KV.format(arch=arch): self.shape.n_head,
            Keys.Attention.KEY_LENGTH.format(arch=arch): head_dim,
            Keys.Attention.VALUE_LENGTH.format(arch=arch): head_dim,
            Keys.Attention.LAYERNORM_RMS_EPS.format(arch=arch): h.norm_eps * self.thinned,
            Keys.Rope.DIMENSION_COUNT.format(arch=arch): head_dim,
        }

    def write(self, out: Path, kind: str, stamp: str) -> int:
        """The number of parameters. The file is there when it is complete."""
        quantization, ftype = KINDS[kind]
        unfinished = out.with_name(out.name + ".part")
        writer = GGUFWriter(unfinished, "llama")
        changed = self.metadata() | {Keys.General.FILE_TYPE: int(ftype), STAMP: stamp}
        types = {Keys.Attention.LAYERNORM_RMS_EPS.format(arch="llama"): GGUFValueType.FLOAT32}
        for key, content in changed.items():
            default = GGUFValueType.STRING if isinstance(content, str) else GGUFValueType.UINT32
            writer.add_key_value(key, content, types.get(key, default))
        retype.copy_metadata(self.small.reader, writer, changed)

        n_parameters = 0

        def add(name: str, data: np.ndarray) -> None:
            nonlocal n_parameters
            n_parameters += int(np.prod(self.dims(name)))
            writer.add_tensor(name, data, raw_dtype=type_in_file(name, quantization))

        for name in self.small.tensors:
            add(name, gguf.quants.quantize(self.old(name), type_in_file(name, quantization)))
        # All added layers are alike: the weights are drawn and rounded once.
        random = np.random.default_rng(SEED)
        layer = {
            name: gguf.quants.quantize(self.added(name, random), type_in_file(name, quantization)) for name in LAYER
        }
        for i in range(self.small.shape.n_layer, self.shape.n_layer):
            for name, data in layer.items():
                add(f"blk.{i}.{name}.weight", data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(unfinished, out)
        return n_parameters


def stamp_of(source: Path, shape: Shape, kind: str) -> str:
    """Another one where the file would come out differently."""
    hashed = hashlib.sha256(source.read_bytes())
    for script in (__file__, retype.__file__):
        hashed.update(Path(script).read_bytes())
    hashed.update(repr((shape, kind)).encode())
    return hashed.hexdigest()


def is_up_to_date(path: Path, stamp: str) -> bool:
    if not path.is_file():
        return False
    try:
        field = GGUFReader(path).get_field(STAMP)
    except (OSError, ValueError):
        return False
    return field is not None and field.contents() == stamp


def grow(source: Path, out: Path, shape: Shape, kind: str) -> None:
    stamp = stamp_of(source, shape, kind)
    if is_up_to_date(out, stamp):
        say(f"{out.name}: up to date")
        return
    small = Small(source)
    say(f"{out.name}: from {small.shape} to {shape}, {kind} …")
    n = Grown(small, shape).write(out, kind, stamp)
    say(f"{out.name}: {n / 1e9:.2f} B parameters, {out.stat().st_size / 1e6:.0f} MB")


def write_recipe(source: Path, out: Path, base: str) -> None:
    """The small trio's recipe with another base."""
    text = source.read_text(encoding="utf-8")
    pairs = [(pair.get("expert"), pair.get("antiexpert")) for pair in tomllib.loads(text).get("pair", [])]
    if pairs != [("expert.gguf", "antiexpert.gguf")]:
        raise SystemExit(f"{source}: expected one pair of expert.gguf and antiexpert.gguf, got {pairs}")
    description = "The function of a small trio at a size that costs more: for measuring, not for use."
    for key, content in (("description", description), ("base", base)):
        text, n = re.subn(rf'^{key} = ".*"$', f'{key} = "{content}"', text, flags=re.MULTILINE)
        if n != 1:
            raise SystemExit(f"{source}: expected one line `{key} = …`, got {n}")
    unfinished = out.with_name(out.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, out)


def verify(source: Path, out: Path, kind: str, text: str) -> None:
    """Ends the program where the file does not compute what the small model, rounded like it, computes."""
    small, grown = Small(source), Small(out)
    tokenizer = tokenizer_of(*(small.reader.get_field(f"tokenizer.ggml.{x}").contents() for x in ("tokens", "merges")))
    tokens = np.array([BOS_ID, *tokenizer.encode(text).ids[: N_VERIFIED - 1]])
    as_it_is = logits(small.weight, small.hyperparameters, tokens)
    rounded = logits(small.rounded(KINDS[kind][0]), small.hyperparameters, tokens)
    ours = logits(grown.weight, grown.hyperparameters, tokens)
    difference = float(np.abs(ours - rounded).max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"{out.name}: logits differ by {difference:.2g}, more than {TOLERANCE:g}")
    same = (as_it_is.argmax(1) == ours.argmax(1)).mean()
    p, q = (x - np.logaddexp.reduce(x, axis=1, keepdims=True) for x in (as_it_is, ours))
    divergence = (np.exp(p) * (p - q)).sum(1).mean()
    say(
        f"{out.name}: logits of the small model rounded to {kind} within {difference:.1e} over {len(tokens)} tokens; "
        f"beside the small model as it is: same best token {same:.1%}, divergence {max(divergence, 0):.4f} nats"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    names = {"nargs": 4, "type": int, "metavar": ("WIDTH", "LAYERS", "HEADS", "FFN")}
    parser.add_argument(
        "--trio",
        type=Path,
        default=REPOSITORY / "models/demo",
        help="folder with base.gguf, expert.gguf, antiexpert.gguf and recipe.toml",
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "target/grown")
    parser.add_argument("--base", default=[2048, 22, 64, 5632], help="shape of the base", **names)
    parser.add_argument("--pair", default=[768, 16, 24, 2048], help="shape of expert and antiexpert", **names)
    parser.add_argument("--head-dim", default=32, type=int, help="size of the heads")
    parser.add_argument("--pair-type", choices=KINDS, default="Q4_0", help="the base is written in both")
    parser.add_argument("--verify", action="store_true", help="compare logits with the small models' over --text")
    parser.add_argument("--text", type=Path, default=REPOSITORY / "models/demo/heldout-prose.txt")
    arguments = parser.parse_args()
    trio, out = arguments.trio, arguments.out
    out.mkdir(parents=True, exist_ok=True)

    base, pair = (Shape(*shape, arguments.head_dim) for shape in (arguments.base, arguments.pair))
    files = [(trio / "base.gguf", out / f"base-{kind}.gguf", base, kind) for kind in KINDS]
    for role in ("expert", "antiexpert"):
        files.append((trio / f"{role}.gguf", out / f"{role}.gguf", pair, arguments.pair_type))
    for file in files:
        grow(*file)
    for kind, recipe in (("Q4_0", "recipe.toml"), ("Q8_0", "recipe-Q8_0.toml")):
        write_recipe(trio / "recipe.toml", out / recipe, f"base-{kind}.gguf")
    if arguments.verify:
        text = arguments.text.read_text(encoding="utf-8")
        for source, grown, _, kind in files:
            verify(source, grown, kind, text)


if __name__ == "__main__":
    main()
