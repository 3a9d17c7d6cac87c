"""Text files in, token streams out.

`prepare` makes one folder that everything after it reads, `prepare_domain` the same for one text alone:

    tokenizer.json                       byte-level BPE trained on the training text
    {general,stories,plays}.{train,val,test}.npy   uint16 token streams
    {validation,heldout}-{stories,plays}.txt       plain UTF-8, a blank line between two stories
    heldout-prose.txt                    plain UTF-8, an excerpt of each general test book

Text is held out before anything is trained, the tokenizer included: whole books of the general corpus and whole
stories, chosen by SHA-256 so that the choice depends on the text alone, and the last plays of the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from heldout import SEPARATOR, read_text, sha256_fraction, split_blocks, split_documents, stories_of, write_heldout

N_VOCAB = 4096
BOS, EOS = "<|bos|>", "<|eos|>"
BOS_ID, EOS_ID = 0, 1

# Between two documents stands `<|eos|><|bos|>`, but at one boundary in four a blank line, so that a plain text file
# in which stories follow one another looks like something the models know.
P_BLANK_LINE = 0.25

N_VAL_BOOKS, N_TEST_BOOKS = 2, 3
PROSE_BYTES = 96_000
# What `prepare_domain` asks for. The validation text has to fill a window of 512 tokens, of eight bytes at most.
MIN_BYTES = {"train": 50_000, "val": 5_000, "test": 1}


def split_books(paths: list[Path], max_chars: int | None) -> dict[str, list[str]]:
    """Every file is one document, of which at most `max_chars` are used; file names decide which are held out."""
    ranked = sorted(paths, key=lambda path: sha256_fraction(path.name))
    n_held = N_VAL_BOOKS + N_TEST_BOOKS
    if len(ranked) <= n_held:
        raise SystemExit(f"{len(ranked)} general files, expected at least {n_held + 1}: {n_held} of them are held out")
    parts = {"test": ranked[:N_TEST_BOOKS], "val": ranked[N_TEST_BOOKS:n_held], "train": sorted(ranked[n_held:])}
    for part in ("test", "val"):
        print(f"general {part}: {', '.join(path.name for path in parts[part])}", flush=True)
    return {
        part: [path.read_text(encoding="utf-8").strip()[:max_chars] for path in files] for part, files in parts.items()
    }


def excerpt(book: str, n_bytes: int) -> str:
    """Whole paragraphs from the middle of a book, about `n_bytes` of them."""
    paragraphs = book.split("\n\n")
    start = len(paragraphs) // 2
    taken, size = [], 0
    for paragraph in paragraphs[start:]:
        if size >= n_bytes:
            break
        taken.append(paragraph)
        size += len(paragraph.encode()) + 2
    return "\n\n".join(taken)


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """GPT-2's scheme: bytes, GPT-2's word pattern, merges. llama.cpp calls it model `gpt2`, pre `gpt-2`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        (line for text in texts for line in text.splitlines(keepends=True)),
        trainers.BpeTrainer(
            vocab_size=N_VOCAB,
            special_tokens=[BOS, EOS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def tokenizer_of(tokens: list[str], merges: list[str]) -> Tokenizer:
    """The same tokenizer from a GGUF file's lists."""
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(merge.split(" ")) for merge in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def encode_stream(tokenizer: Tokenizer, documents: list[str], seed: int) -> np.ndarray:
    """All documents one after the other, in a random order."""
    random = Random(seed)
    documents = random.sample(documents, len(documents))
    blank = tokenizer.encode("\n\n").ids
    stream: list[int] = []
    for encoding in tokenizer.encode_batch(documents):
        if stream:
            stream += blank if random.random() < P_BLANK_LINE else [EOS_ID, BOS_ID]
        stream += encoding.ids
    return np.array(stream + [EOS_ID], dtype=np.uint16)


def write_streams(corpora: dict[str, dict[str, list[str]]], tokenizer: Tokenizer, out: Path, seed: int) -> None:
    """Token streams of every part of every corpus, and `data.json`, whose presence says that all is there."""
    sizes = {}
    for name, parts in corpora.items():
        for part, documents in parts.items():
            stream = encode_stream(tokenizer, documents, seed)
            np.save(out / f"{name}.{part}.npy", stream)
            sizes[f"{name}.{part}"] = {
                "documents": len(documents),
                "bytes": sum(len(text.encode()) for text in documents),
                "tokens": len(stream),
            }
    (out / "data.json").write_text(json.dumps(sizes, indent=2) + "\n")
    for name, size in sizes.items():
        print(f"{name}: {size['documents']} documents, {size['bytes']:,} bytes, {size['tokens']:,} tokens", flush=True)


def is_prepared(out: Path) -> bool:
    prepared = (out / "data.json").exists()
    if prepared:
        print(f"{out.name}: already prepared", flush=True)
    return prepared


def prepare(
    general: list[Path],
    stories: Path,
    plays: Path | None,
    out: Path,
    max_book_chars: int | None = None,
    seed: int = 0,
) -> None:
    if is_prepared(out):
        return
    out.mkdir(parents=True, exist_ok=True)
    corpora = {
        "general": split_books(general, max_book_chars),
        "stories": stories_of(stories),
    }
    tokenizer = train_tokenizer(corpora["general"]["train"] + corpora["stories"]["train"])
    tokenizer.save(str(out / "tokenizer.json"))
    if plays:
        corpora["plays"] = split_blocks(read_text(plays))

    prose = [excerpt(book, PROSE_BYTES // N_TEST_BOOKS) for book in corpora["general"]["test"]]
    (out / "heldout-prose.txt").write_text("\n\n".join(prose) + "\n", encoding="utf-8")
    for name in corpora.keys() - {"general"}:
        write_heldout(name, corpora[name], out)
    write_streams(corpora, tokenizer, out, seed)


def prepare_domain(path: Path, name: str, tokenizer: Tokenizer, out: Path, seed: int = 0) -> None:
    """The same for one text and an existing tokenizer."""
    if is_prepared(out):
        return
    text = read_text(path)
    if SEPARATOR in text:
        parts = split_documents([document.strip() for document in text.split(SEPARATOR)])
    else:
        parts = split_blocks(text)
    for part, least in MIN_BYTES.items():
        n_bytes = sum(len(document.encode()) for document in parts[part])
        if n_bytes < least:
            raise SystemExit(
                f"{path}: too little text, or not enough documents to hold some of them out: part `{part}` gets "
                f"{n_bytes:,} bytes, expected at least {least:,}\n"
                f"hint: more text, with {SEPARATOR} behind each document, or with blank lines where it is one text"
            )
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    write_heldout(name, parts, out)
    write_streams({name: parts}, tokenizer, out, seed)
