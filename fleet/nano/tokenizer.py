"""The fleet's one tokenizer: byte-level BPE trained on the tasks, every digit a token of its own.

A chat is `<|user|>…<|assistant|>…<|end|>`, with `<|system|>…` before it where there is a system prompt. The template
is in tokenizer_config.json, so transformers' `apply_chat_template` writes the same tokens.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

VOCABULARY = 1024
PAD, SYSTEM, USER, ASSISTANT, END = SPECIALS = (
    "<|pad|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)
ROLES = {"system": SYSTEM, "developer": SYSTEM, "user": USER, "assistant": ASSISTANT}
TOKENIZER, TOKENIZER_CONFIG, GENERATION_CONFIG = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
)

# A digit; a sign with the spaces around it before a digit; a word with its space; other signs; white space.
_PIECES = r" ?[^\s\p{L}\d]+ ?(?=\d)|\d| ?\p{L}+| ?[^\s\p{L}\d]+|\s+(?!\S)|\s+"

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] in ('system', 'developer') -%}{{ '<|system|>' + message['content'] }}"
    "{%- elif message['role'] == 'assistant' -%}{{ '<|assistant|>' + message['content'] + '<|end|>' }}"
    "{%- else -%}{{ '<|user|>' + message['content'] }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A tokenizer for texts like these."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIALS),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, window: int) -> None:
    """Write what transformers' AutoTokenizer reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / TOKENIZER))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": window,
        "bos_token": USER,
        "eos_token": END,
        "pad_token": PAD,
        "additional_special_tokens": [SYSTEM, USER, ASSISTANT],
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    _write(folder / TOKENIZER_CONFIG, config)
    ids = special_ids(tokenizer)
    _write(folder / GENERATION_CONFIG, {f"{name}_token_id": ids[name] for name in ("bos", "eos", "pad")})


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a folder."""
    return Tokenizer.from_file(str(folder / TOKENIZER))


def special_ids(tokenizer: Tokenizer) -> Mapping[str, int]:
    """The ids of bos, eos and pad."""
    return {name: _id(tokenizer, token) for name, token in (("bos", USER), ("eos", END), ("pad", PAD))}


def _id(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"the tokenizer has no {token}")
    return number


class Chat:
    """Turns a chat into ids, as the template does; text that spells a special token stays text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._ids = {token: _id(tokenizer, token) for token in SPECIALS}
        self._plain = Tokenizer.from_str(tokenizer.to_str())
        self._plain.encode_special_tokens = True
        self.end = self._ids[END]

    def encode(self, turns: Sequence[tuple[str, str]]) -> list[int]:
        """(role, text) of every turn -> ids, ending where the assistant begins to speak."""
        ids: list[int] = []
        for role, text in turns:
            token = ROLES.get(role, USER)
            ids += [self._ids[token], *self.text(text)]
            if token == ASSISTANT:
                ids.append(self.end)
        return [*ids, self._ids[ASSISTANT]]

    def text(self, text: str) -> list[int]:
        """Ids of plain text."""
        return self._plain.encode(text, add_special_tokens=False).ids


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
