"""Small numbers for values, so that a state is a short tuple of them; and what was worked out once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

V = TypeVar("V", bound=Hashable)


class Numbers(Generic[V]):
    """Each value has the number of its coming."""

    def __init__(self) -> None:
        self._values: list[V] = []
        self._numbers: dict[V, int] = {}

    def of(self, value: V) -> int:
        """The number of a value, a new one if it is new."""
        number = self._numbers.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number

    def __getitem__(self, number: int) -> V:
        return self._values[number]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[V]:
        return iter(self._values)


class Memo(dict):
    """What was worked out once, by what it was worked out from."""

    def __init__(self, work_out: Callable[..., Any]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, key: tuple[int, ...]) -> Any:
        found = self[key] = self._work_out(*key)
        return found
