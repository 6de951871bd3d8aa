"""A secret is a type: it prints as ****, and only what needs the text asks for it."""

from __future__ import annotations


class Secret:
    """A text that must never be shown.  ``reveal()`` is called where it leaves for its user.

    Equal by value, hashed by value, ``****`` in every other respect: repr, str, format; pickles
    are refused.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "****"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("****", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is never pickled")
