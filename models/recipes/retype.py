"""A GGUF file with its matrices in another type, rounded as these scripts round: every matrix alike, vectors in F32."""

from __future__ import annotations

import argparse
from collections.abc import Container
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, Keys, LlamaFileType, ReaderTensor

FILE_TYPES = {
    "F32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "Q5_0": (GGMLQuantizationType.Q5_0, LlamaFileType.MOSTLY_Q5_0),
    "Q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}


def open_gguf(path: Path) -> GGUFReader:
    try:
        return GGUFReader(path)
    except (OSError, ValueError, IndexError) as error:
        raise SystemExit(f"{path} is no GGUF file that can be read: {error}") from None


def values(tensor: ReaderTensor) -> np.ndarray:
    """In float32."""
    return np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)


def dequantised(reader: GGUFReader) -> dict[str, np.ndarray]:
    return {tensor.name: values(tensor) for tensor in reader.tensors}


def copy_metadata(reader: GGUFReader, writer: GGUFWriter, changed: Container[str]) -> None:
    """All fields but the `changed` ones, which the caller writes, and the architecture, which a writer starts with."""
    for key, field in reader.fields.items():
        if key not in changed and not key.startswith("GGUF.") and key != Keys.General.ARCHITECTURE:
            sub_type = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type)


def write_tensors(writer: GGUFWriter, tensors: dict[str, np.ndarray], file_type: str) -> None:
    """Quantises the matrices and closes the file. Norms stay F32."""
    for name, tensor in tensors.items():
        kind = FILE_TYPES[file_type][0] if tensor.ndim == 2 else GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def retype(source: Path, out: Path, file_type: str) -> None:
    reader = open_gguf(source)
    writer = GGUFWriter(out, reader.get_field(Keys.General.ARCHITECTURE).contents())
    writer.add_file_type(FILE_TYPES[file_type][1])
    copy_metadata(reader, writer, {Keys.General.FILE_TYPE})
    write_tensors(writer, dequantised(reader), file_type)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="GGUF file")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("type", choices=FILE_TYPES)
    arguments = parser.parse_args()
    if arguments.out.exists():
        raise SystemExit(f"{arguments.out} already exists")
    if not arguments.out.absolute().parent.is_dir():
        raise SystemExit(f"{arguments.out.parent} is no folder")
    retype(arguments.source, arguments.out, arguments.type)


if __name__ == "__main__":
    main()
