"""From words to tokens: phrases as Grounding DINO was trained on them, and which tokens belong to which phrase.

The network reads one caption, "a dog. the red ball.": lower case, every phrase ended by a full stop. The phrases do
not see each other in the text encoder (attention is cut at the stops), so several can be asked at once.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PromptError, WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END, STOP, QUESTION = 101, 102, 1012, 1029
"""Places of [CLS], [SEP], "." and "?" in the vocabulary: the network has them built in (they delimit phrases)."""

LONGEST_TEXT = 10_000
MOST_PHRASES = 200
_DELIMITERS = re.compile(r"(?<!\d)\.|\.(?!\d)|[?。．｡]")
_VOCABULARY_LIMIT = 16 << 20


def phrases_of(text: str | Sequence[str]) -> list[str]:
    """The phrases in some words, or in several: lower case, split at full stops and question marks, without doubles.

    "A Dog. the red  ball" -> ["a dog", "the red ball"]. Control characters count as blanks; a point between digits
    does not end a phrase (the network would take it for one, so it becomes a blank).
    Raises PromptError when there is no word, for what is no text, and for more than 10,000 characters or 200 phrases.
    """
    texts = [text] if isinstance(text, str) else list(text) if isinstance(text, Sequence) else [text]
    for item in texts:
        if not isinstance(item, str):
            raise PromptError(f"words were given as {type(item).__name__}; expected text that names the object")
    length = sum(map(len, texts))
    if length > LONGEST_TEXT:
        raise PromptError(f"the text has {length} characters; expected a few words, at most {LONGEST_TEXT}")
    phrases = list(dict.fromkeys(phrase for item in texts for phrase in _split(item)))
    if not phrases:
        raise PromptError(f"{_shown(' '.join(texts))} holds no words; expected words that name the object")
    if len(phrases) > MOST_PHRASES:
        raise PromptError(f"there are {len(phrases)} phrases; at most {MOST_PHRASES} are looked for at once")
    return phrases


def _split(text: str) -> Iterator[str]:
    # "Cc": control characters, "Cs": lone surrogates, which no encoder takes. Joiners ("Cf") belong to words.
    plain = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in text.lower())
    for part in _DELIMITERS.split(plain):
        phrase = " ".join(part.replace(".", " ").split())
        if any(not unicodedata.category(letter).startswith(("P", "Z", "C")) for letter in phrase):
            yield phrase


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


@dataclass(frozen=True)
class Caption:
    """One text for the network. ids: its tokens; spans: for each phrase its first token and the one after its last."""

    ids: tuple[int, ...]
    phrases: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


class Vocabulary:
    """BERT's WordPiece tokens over a given vocabulary, by the `tokenizers` package that comes with transformers."""

    def __init__(self, tokens: Mapping[str, int], *, source: str = "the vocabulary") -> None:
        """tokens: place of each word piece; source: what to call it in errors.

        Raises WeightsError when the tokens that the network has built in are not where it wants them.
        """
        wanted = {"[CLS]": START, "[SEP]": END, ".": STOP, "?": QUESTION}
        wrong = [token for token, place in wanted.items() if tokens.get(token) != place]
        if wrong or "[UNK]" not in tokens:
            raise WeightsError(f"{source} is not the vocabulary of a Grounding DINO: {', '.join(wrong) or '[UNK]'} is "
                               "missing or not in its place; expected vocab.txt of BERT base, uncased")
        self.size = max(tokens.values()) + 1
        self._unknown = tokens["[UNK]"]
        self._tokenizer = _word_piece(dict(tokens))

    def captions(self, phrases: Sequence[str], longest: int) -> list[Caption]:
        """As few captions of at most `longest` tokens as hold all phrases, in their order.

        Raises PromptError for a phrase that is longer than that by itself or that holds no word the network knows.
        """
        captions: list[list[tuple[str, list[int]]]] = []
        room = 0
        for phrase in phrases:
            ids = self._tokens(phrase, longest - 3)
            if len(ids) + 1 > room:
                captions.append([])
                room = longest - 2  # [CLS] at the start, [SEP] at the end
            captions[-1].append((phrase, ids))
            room -= len(ids) + 1
        return [_caption(parts) for parts in captions]

    def _tokens(self, phrase: str, longest: int) -> list[int]:
        ids: list[int] = list(self._tokenizer.encode(phrase, add_special_tokens=False).ids)
        ids = [token for token in ids if token not in (START, END, STOP, QUESTION)]
        if not any(token != self._unknown for token in ids):
            raise PromptError(f"{_shown(phrase)} holds no word that the network knows; use (English) words")
        if len(ids) > longest:
            raise PromptError(f"{_shown(phrase)} is {len(ids)} word pieces long; the network reads at most {longest}; "
                              "use fewer words")
        return ids


def _caption(parts: Sequence[tuple[str, list[int]]]) -> Caption:
    ids, spans = [START], []
    for _, tokens in parts:
        spans.append((len(ids), len(ids) + len(tokens)))
        ids += [*tokens, STOP]
    return Caption((*ids, END), tuple(phrase for phrase, _ in parts), tuple(spans))


def _word_piece(tokens: dict[str, int]) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(tokens, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def read_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary beside the weights: vocab.txt (one token a line), or the one inside tokenizer.json.

    Raises WeightsError when neither is there, or it is not a Grounding DINO's.
    """
    for name, parse in (("vocab.txt", _lines), ("tokenizer.json", _json)):
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > _VOCABULARY_LIMIT:
            raise WeightsError(f"{path} is far too large for a vocabulary")
        try:
            tokens = parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{path} cannot be read as a vocabulary: {error}") from None
        return Vocabulary(tokens, source=str(path))
    raise WeightsError(f"{folder} holds no vocab.txt (nor tokenizer.json), which belongs beside the weights; get both "
                       "with: matting-anything weights fetch grounding-dino-tiny")


def _lines(text: str) -> dict[str, int]:
    # Not splitlines(): the vocabulary has lines of odd blanks (U+2028 …) that are tokens.
    return {line.rstrip("\r"): place for place, line in enumerate(text.rstrip("\n").split("\n"))}


def _json(text: str) -> dict[str, int]:
    model: Any = json.loads(text)["model"]
    if model.get("type", "WordPiece") != "WordPiece":
        raise ValueError(f"it is of the kind {model['type']}, expected WordPiece")
    return {str(token): int(place) for token, place in model["vocab"].items()}
