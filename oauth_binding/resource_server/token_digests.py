"""A set of ``jti`` values that takes little memory: some 16 bytes for each, where a dict takes 200."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from typing import Final

#: Those that expire within the same interval of this many seconds are forgotten together.
SPAN: Final = 900

#: How many are kept unsorted at least, in a form that takes more memory.
_MIN_RECENT: Final = 4096


class TokenDigests:
    """Which tokens there are, by digests of 64 bits, until they expire.

    A token that is not in the set is taken for one that is with a probability of their number divided by
    2**64: with a million of them, one in 18,000,000,000,000. Other threads may ask while one adds.
    """

    def __init__(self) -> None:
        self._spans: dict[int, _Digests] = {}

    def __contains__(self, jti: str) -> bool:
        digest = _digest(jti)
        return any(digest in digests for digests in list(self._spans.values()))

    def __len__(self) -> int:
        return sum(map(len, list(self._spans.values())))

    def add(self, tokens: dict[str, float]) -> None:
        """Add tokens.

        :param tokens: the ``exp`` of each by its ``jti``.
        """
        for jti, expires in tokens.items():
            span = int(expires // SPAN)
            digests = self._spans.get(span)
            if digests is None:
                digests = self._spans[span] = _Digests()
            digests.add(_digest(jti))

    def forget(self, as_of: float) -> None:
        """Forget the tokens that have expired, though not necessarily at once.

        :param as_of: the present time, in seconds since the epoch.
        """
        for span in [span for span in self._spans if (span + 1) * SPAN <= as_of]:
            del self._spans[span]


class _Digests:
    """Numbers of 64 bits: most of them sorted, eight bytes each, and what was added since."""

    def __init__(self) -> None:
        self._sorted = array("Q")
        self._recent: set[int] = set()

    def __contains__(self, digest: int) -> bool:
        # In this order, because digests move from the second to the first.
        if digest in self._recent:
            return True
        numbers = self._sorted
        index = bisect_left(numbers, digest)
        return index < len(numbers) and numbers[index] == digest

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def add(self, digest: int) -> None:
        if digest in self:
            return
        self._recent.add(digest)
        if len(self._recent) > max(_MIN_RECENT, len(self._sorted) // 8):
            self._sorted = array("Q", sorted((*self._sorted, *self._recent)))
            self._recent = set()


def _digest(jti: str) -> int:
    return int.from_bytes(hashlib.blake2b(jti.encode(), digest_size=8).digest())
