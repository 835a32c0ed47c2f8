"""Which samples several parties have in common, found from digests of their ids. No I/O.

A digest is keyed with a salt, so that those of two jobs have nothing in common and nobody without the salt can try out
ids. Whoever has it can: ids that can be guessed are hidden from onlookers, and not from the party that aligns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.errors import RunError

SIZE = 16
Digests = NDArray[np.uint8]
Rows = NDArray[np.int64]


def digests(ids: Iterable[Any], salt: str, owner: str) -> Digests:
    """The digest of each id, uint8 of shape (ids, 16); a number and the text that it is written as are the same id.

    Args:
        ids: texts or whole numbers.
        salt: the same for all parties.
        owner: whose ids these are, for errors.

    Raises:
        RunError: there are none, one is there twice, or one is neither a text nor a whole number.
    """
    import hashlib  # it brings OpenSSL, 3.5 MB that most workers never need

    first: dict[str, int] = {}
    for number, given in enumerate(ids):
        plain = given.item() if isinstance(given, np.generic) else given
        if not isinstance(plain, str | int) or isinstance(plain, bool):
            kind = type(plain).__name__
            raise RunError(f"{owner}: ids[{number}] is a {kind} ({plain!r:.40}); an id is a text or a whole number")
        if first.setdefault(str(plain), number) != number:
            raise RunError(f"{owner}: ids[{first[str(plain)]}] and ids[{number}] are both {plain!r:.40}")
    if not first:
        raise RunError(f"{owner} has no ids: load_data sets self.ids, one for each sample")
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    made = [hashlib.blake2b(text.encode(), key=key, digest_size=SIZE).digest() for text in first]
    return np.frombuffer(b"".join(made), np.uint8).reshape(-1, SIZE).copy()


def common(parties: Mapping[str, Digests]) -> list[bytes]:
    """The digests that all parties have, sorted: an order that hangs on no party's files.

    Raises:
        RunError: there are none; it says how many samples each party has.
    """
    rows = [_rows_of(name, some) for name, some in parties.items()]
    shared = set(rows[0]).intersection(*rows[1:])
    if not shared:
        counts = ", ".join(f"{name} has {len(some)}" for name, some in parties.items())
        raise RunError(f"no sample is known to all: {counts}; do they name them alike, with the same salt?")
    return sorted(shared)


def positions(name: str, theirs: Digests, aligned: Sequence[bytes]) -> Rows:
    """Where a party has each aligned sample: int64 of shape (aligned,).

    Raises:
        RunError: it lacks some.
    """
    at = _rows_of(name, theirs)
    missing = sum(digest not in at for digest in aligned)
    if missing:
        raise RunError(f"{name} lacks {missing} of the {len(aligned)} samples that were aligned with it")
    return np.array([at[digest] for digest in aligned], np.int64)


def _rows_of(name: str, some: object) -> dict[bytes, int]:
    """A party's digests, each with its row.

    Raises:
        RunError: they are no digests, or one is there twice.
    """
    if not isinstance(some, np.ndarray) or some.dtype != np.uint8 or some.ndim != 2 or some.shape[1] != SIZE:
        raise RunError(f"{name} sent something else than {SIZE} bytes for each of its ids")
    rows = {row.tobytes(): number for number, row in enumerate(some)}
    if len(rows) != len(some):
        raise RunError(f"{name} has {len(some) - len(rows)} ids more than once")
    return rows
