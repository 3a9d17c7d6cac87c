"""Text files in, token streams out.

`prepare` makes one folder that everything after it reads:

    tokenizer.json                       byte-level BPE trained on the training text
    {general,stories,plays}.{train,val,test}.npy   uint16 token streams
    {validation,heldout}-stories.txt     plain UTF-8, a blank line between two stories
    {validation,heldout}-plays.txt       plain UTF-8
    heldout-prose.txt                    plain UTF-8, an excerpt of each general test book

Text is held out before anything is trained, the tokenizer included: whole books of the general corpus and whole
stories, chosen by SHA-256 so that the choice depends on the text alone, and the last plays of the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from random import Random

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

N_VOCAB = 4096
BOS, EOS = "<|bos|>", "<|eos|>"
BOS_ID, EOS_ID = 0, 1

# Between two documents stands `<|eos|><|bos|>`, but at one boundary in four a blank line, so that a plain text file
# in which stories follow one another looks like something the models know.
P_BLANK_LINE = 0.25

N_VAL_BOOKS, N_TEST_BOOKS = 2, 3
PROSE_BYTES = 96_000
TEST_SHARE, VAL_SHARE = 0.10, 0.08
STORY_SEPARATOR = "<|endoftext|>"
SPEECHES_PER_DOCUMENT = 30


def sha256_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_books(paths: list[Path], max_chars: int | None) -> dict[str, list[str]]:
    """Every file is one document, of which at most `max_chars` are used; file names decide which are held out."""
    ranked = sorted(paths, key=lambda path: sha256_fraction(path.name))
    if len(ranked) <= N_VAL_BOOKS + N_TEST_BOOKS:
        raise SystemExit(f"{len(ranked)} general files; {N_VAL_BOOKS + N_TEST_BOOKS} of them are held out: give more")
    n_held = N_VAL_BOOKS + N_TEST_BOOKS
    parts = {"test": ranked[:N_TEST_BOOKS], "val": ranked[N_TEST_BOOKS:n_held], "train": sorted(ranked[n_held:])}
    for part in ("test", "val"):
        print(f"general {part}: {', '.join(path.name for path in parts[part])}", flush=True)
    return {
        part: [path.read_text(encoding="utf-8").strip()[:max_chars] for path in files] for part, files in parts.items()
    }


def split_stories(path: Path) -> dict[str, list[str]]:
    """Stories between `<|endoftext|>` lines; a story's own hash decides where it goes. Equal stories count once."""
    stories = path.read_text(encoding="utf-8").split(STORY_SEPARATOR)
    if len(stories) > 1:
        stories.pop()  # a sample's last story is cut off
    stories = dict.fromkeys("\n".join(line.strip() for line in s.splitlines() if line.strip()) for s in stories)
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for story in filter(None, stories):
        at = sha256_fraction(story)
        parts["test" if at < TEST_SHARE else "val" if at < TEST_SHARE + VAL_SHARE else "train"].append(story)
    return parts


def split_plays(path: Path) -> dict[str, list[str]]:
    """Runs of speeches; the file's end is the test text, what stands before it the validation text."""
    speeches = path.read_text(encoding="utf-8").strip().split("\n\n")
    n_train = round(len(speeches) * (1 - TEST_SHARE - VAL_SHARE))
    n_val = round(len(speeches) * VAL_SHARE)
    parts = {
        "train": speeches[:n_train],
        "val": speeches[n_train : n_train + n_val],
        "test": speeches[n_train + n_val :],
    }
    return {
        part: ["\n\n".join(run[i : i + SPEECHES_PER_DOCUMENT]) for i in range(0, len(run), SPEECHES_PER_DOCUMENT)]
        for part, run in parts.items()
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


def prepare(
    general: list[Path],
    stories: Path,
    plays: Path | None,
    out: Path,
    max_book_chars: int | None = None,
    seed: int = 0,
) -> None:
    if (out / "data.json").exists():
        print(f"{out.name}: already prepared", flush=True)
        return
    out.mkdir(parents=True, exist_ok=True)
    corpora = {"general": split_books(general, max_book_chars), "stories": split_stories(stories)}
    tokenizer = train_tokenizer(corpora["general"]["train"] + corpora["stories"]["train"])
    tokenizer.save(str(out / "tokenizer.json"))
    if plays:
        corpora["plays"] = split_plays(plays)

    texts = {"heldout-prose": [excerpt(book, PROSE_BYTES // N_TEST_BOOKS) for book in corpora["general"]["test"]]}
    for name in corpora.keys() - {"general"}:
        texts[f"validation-{name}"], texts[f"heldout-{name}"] = corpora[name]["val"], corpora[name]["test"]
    for name, documents in texts.items():
        (out / f"{name}.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")

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
