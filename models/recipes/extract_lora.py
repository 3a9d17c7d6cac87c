"""A pair in two files → one file and a small LoRA adapter: what the tuning changed, as a product of two thin matrices.

For each matrix W of the blocks, the singular value decomposition of W(after) − W(before) is cut after the `rank`
largest values, which leaves the nearest matrix of that rank. llama.cpp computes W·x + scale · B·(A·x) with scale =
alpha / rank, and alpha is the rank here. Embedding, output and norms stay as they are before the tuning: where it
changed them much the adapter is not the expert, so measure it. Rounding looks like a change too: F16 files give better
adapters than quantised ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

import retype

FILE_TYPES = {name.lower(): retype.FILE_TYPES[name] for name in ("F32", "F16", "Q8_0")}
Q8_0_BLOCK = 32
# The length that a file declares may change in tuning, and changes no weight.
MAY_DIFFER = "context_length"


def value(reader: GGUFReader, key: str):
    field = reader.get_field(key)
    return field.contents() if field else None


def refuse_unlike(before: GGUFReader, after: GGUFReader) -> None:
    """Ends the program unless both files hold one architecture with tensors of one shape."""
    architecture = value(before, "general.architecture")
    own = {key for key in before.fields.keys() & after.fields.keys() if key.startswith(f"{architecture}.")}
    keys = ["general.architecture", *sorted(own - {f"{architecture}.{MAY_DIFFER}"})]
    old, new = (
        {key: value(reader, key) for key in keys} | {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
        for reader in (before, after)
    )
    for name in old | new:
        if old.get(name) != new.get(name):
            found = f"{name} is {old.get(name, 'missing')} before and {new.get(name, 'missing')} after"
            raise SystemExit(f"not one model before and after its tuning: {found}")


def factors(difference: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    """`[rank, n_in]` and `[n_out, rank]`, whose product B·A is nearest to the difference, and its squared norm."""
    u, s, v = np.linalg.svd(difference, full_matrices=False)
    # Half of each value to either side, so that both keep to a range that F16 and Q8_0 hold well.
    root = np.sqrt(s[:rank])
    return root[:, None] * v[:rank], u[:, :rank] * root, float((s[:rank] ** 2).sum())


def is_covered(tensor: gguf.ReaderTensor) -> bool:
    return tensor.name.startswith("blk.") and len(tensor.shape) == 2


def extract(before: Path, after: Path, rank: int, out: Path, file_type: str) -> None:
    old, new = retype.open_gguf(before), retype.open_gguf(after)
    refuse_unlike(old, new)
    quantization, ftype = FILE_TYPES[file_type]
    tuned = {tensor.name: tensor for tensor in new.tensors}

    writer = GGUFWriter(out, value(old, "general.architecture"))
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(f"{value(new, 'general.name') or after.stem}, adapter of rank {rank}")
    writer.add_description(f"What tuning changed in the blocks of {value(old, 'general.name') or before.stem}.")
    for key in ("general.author", "general.license"):
        if value(new, key):
            writer.add_string(key, value(new, key))
    writer.add_file_type(ftype)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(rank))

    kept, covered, left_out = 0.0, 0.0, 0.0
    for tensor in old.tensors:
        difference = retype.values(tuned[tensor.name]) - retype.values(tensor)
        squared = float((difference.astype(np.float64) ** 2).sum())
        if squared == 0:
            continue
        if not is_covered(tensor):
            left_out += squared
            continue
        if rank > min(difference.shape):
            raise SystemExit(f"{tensor.name} has no rank above {min(difference.shape)}")
        a, b, share = factors(difference, rank)
        kept, covered = kept + share, covered + squared
        print(f"{tensor.name:28} {share / squared:6.1%}")
        for half, matrix in (("lora_a", a), ("lora_b", b)):
            # A row that is no whole number of blocks cannot be Q8_0; llama.cpp's converter takes F16 there too.
            fits = quantization != GGMLQuantizationType.Q8_0 or matrix.shape[1] % Q8_0_BLOCK == 0
            kind = quantization if fits else GGMLQuantizationType.F16
            quantized = gguf.quants.quantize(np.ascontiguousarray(matrix, dtype=np.float32), kind)
            writer.add_tensor(f"{tensor.name}.{half}", quantized, raw_dtype=kind)
    if covered == 0:
        raise SystemExit("no matrix of the blocks differs: there is nothing to extract")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"rank {rank} keeps {kept / covered:.1%} of the squared difference in the blocks' matrices")
    print(f"{left_out / (covered + left_out):.1%} of all squared difference lies elsewhere and is left out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="the antiexpert, a GGUF file")
    parser.add_argument("--after", type=Path, required=True, help="the expert, tuned from it")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the adapter, for `lora = [...]` beside the antiexpert")
    parser.add_argument("--type", choices=FILE_TYPES, default="f16", help="q8_0 needs a rank that is a multiple of 32")
    arguments = parser.parse_args()
    if arguments.rank < 1:
        parser.error("a rank is 1 or more")
    extract(arguments.before, arguments.after, arguments.rank, arguments.out, arguments.type)


if __name__ == "__main__":
    main()
