"""What the service computes. Nothing here knows of the host: `python -m unittest` runs it anywhere."""

from dataclasses import dataclass

WORDS_PER_MINUTE = 200


@dataclass
class Found:
    """What a text is made of."""

    words: int
    longest: str
    reading_seconds: float


def measure(text: str, words_per_minute: int | None = None) -> Found:
    """Counts the words of a text; a ValueError carries the error that the caller gets."""
    words = text.split()
    if not words:
        raise ValueError("`text` has no words")
    if words_per_minute is None:
        words_per_minute = WORDS_PER_MINUTE
    if words_per_minute == 0:
        raise ValueError("`words_per_minute` is 0: nobody would finish")
    return Found(len(words), max(words, key=len), len(words) * 60 / words_per_minute)
