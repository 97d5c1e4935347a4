"""Accuracy of models that recognize text or speech, by jiwer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, Self

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.store.accuracies.metric import LABELS, AccuracyMetric, Outputs
from edge_runtime.tensors import Array

ALPHABET: Final = "alphabet"


class ErrorRate(AccuracyMetric):
    """max(0, 1 - error rate): insertions, deletions and substitutions over all units of the labels."""

    arrays = (LABELS, ALPHABET)
    wanted = (
        "labels [N]: the text of each input; for outputs of numbers also alphabet [classes]: the text of "
        "each class, empty for the blank"
    )
    outputs = (
        "one output with a text for each input, or, if there is an alphabet, with scores [N, steps, classes] "
        "for a CTC decoder or whole numbers of tokens [N, steps]"
    )

    def __init__(self, alphabet: Sequence[str] = ()) -> None:
        """alphabet: the text of each class or token."""
        self._alphabet = alphabet

    @abstractmethod
    def rate(self, right: list[str], found: list[str]) -> float:
        """The error rate, which can exceed 1."""

    def read(self, arrays: Mapping[str, Array], count: int) -> tuple[Self, Array | None]:
        labels, alphabet = arrays.get(LABELS), arrays.get(ALPHABET)
        if labels is None or labels.shape != (count,) or labels.dtype.kind != "U":
            raise self.refusal(LABELS, labels, count)
        if not any(text.strip() for text in labels):
            raise BadRequest("validation: labels are all empty: give the text of each input")
        if alphabet is None:
            return self, labels
        if alphabet.ndim != 1 or alphabet.dtype.kind != "U":
            raise self.refusal(ALPHABET, alphabet, count)
        return type(self)([str(text) for text in alphabet]), labels

    def takes(self, outputs: Outputs, labels: Array | None = None) -> bool:
        if len(outputs) != 1:
            return False
        (output,) = outputs
        match output.dtype.kind:
            case "f":
                return output.ndim == 3 and output.shape[2] == len(self._alphabet)
            case "i" | "u":
                return output.ndim == 2 and bool(self._alphabet)
            case _:
                return all(isinstance(_only(row), str) for row in output)

    def accuracy(self, outputs: Outputs, labels: Array) -> float:
        return self._compared([str(text) for text in labels], self._texts(outputs))

    def agreement(self, outputs: Outputs, others: Outputs) -> float:
        return self._compared(self._texts(others), self._texts(outputs))

    def _compared(self, right: list[str], found: list[str]) -> float:
        if not any(text.strip() for text in right):  # which has no units to relate errors to
            return float(right == found)
        return max(0.0, 1 - self.rate(right, found))

    def _texts(self, outputs: Outputs) -> list[str]:
        (output,) = outputs
        match output.dtype.kind:
            case "f":
                return [self._spelled(step for step, _ in groupby(row.argmax(1).tolist())) for row in output]
            case "i" | "u":
                return [self._spelled(row.tolist()) for row in output]
            case _:
                return [str(_only(row)) for row in output]

    def _spelled(self, numbers: Iterable[int]) -> str:
        size = len(self._alphabet)
        return "".join(self._alphabet[number] for number in numbers if 0 <= number < size)


def _only(row: object) -> object:
    """The text of a row that is one, or an array of one."""
    return row.flat[0] if isinstance(row, np.ndarray) and row.size == 1 else row


class WordErrorRate(ErrorRate):
    """By words between spaces."""

    name = "WordErrorRate"

    def rate(self, right: list[str], found: list[str]) -> float:
        import jiwer

        return float(jiwer.wer(right, found))


class CharacterErrorRate(ErrorRate):
    """By characters, spaces included."""

    name = "CharacterErrorRate"

    def rate(self, right: list[str], found: list[str]) -> float:
        import jiwer

        return float(jiwer.cer(right, found))


WORD_ERROR_RATE: Final = WordErrorRate()
CHARACTER_ERROR_RATE: Final = CharacterErrorRate()
