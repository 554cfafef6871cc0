"""A tiny sentence encoder with random weights, in a folder as the library transformers keeps it."""

from pathlib import Path

import pytest
import torch

WORDS = "a picture photo of the close - up zero one two three four five six seven eight nine digit x dog cat . ##s"


def encoder(folder: Path) -> Path:
    """Write it to `folder` and return that; skip the test without the library."""
    transformers = pytest.importorskip("transformers", reason="the extra `real` is not installed")
    tokenizers = pytest.importorskip("tokenizers")
    special = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    known = special | {word: k for k, word in enumerate([*WORDS.split(), *"0123456789"], len(special))}
    words = tokenizers.Tokenizer(tokenizers.models.WordPiece(known, unk_token="[UNK]"))
    words.normalizer = tokenizers.normalizers.BertNormalizer()
    words.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    words.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = transformers.BertConfig(vocab_size=len(known), max_position_embeddings=80, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    return folder
