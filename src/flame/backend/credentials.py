"""What a worker shows to be let in: the files of TLS, and that it knows the job's token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flame.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files with which one end of a connection shows who it is, and knows who the others are; all are PEM.

    Attributes:
        ca: the authority's certificate.
        cert: this end's certificate.
        key: the private key that belongs to it, without a passphrase.
    """

    ca: Path
    cert: Path
    key: Path


def read_token(path: Path) -> bytes:
    """What is in a token's file, less the white space around it.

    Raises:
        ConfigError: it cannot be read, or is too short to be a secret.
    """
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    if len(token) < 16:
        fix = "put at least 16 random bytes there, such as the output of `openssl rand -hex 32`"
        raise ConfigError(str(path), "is too short for a token", fix)
    return token


def proof(token: bytes, job: str, end: str, mine: bytes, yours: bytes, turn: int = 0) -> bytes:
    """What shows that whoever calls itself `end` knows the token; b"" without a token.

    Both sides' numbers are random and new, and each turn counts once, so that a proof that was overheard is worth
    nothing afterwards.
    """
    if not token:
        return b""
    import hashlib  # they bring OpenSSL, 3.5 MB that whoever has no token does without
    import hmac

    words = (job.encode(), end.encode(), mine, yours, str(turn).encode())
    text = b"".join(len(word).to_bytes(4, "big") + word for word in words)
    return hmac.new(token, text, hashlib.sha256).digest()


def same(given: bytes, right: bytes) -> bool:
    """Whether a proof is the right one; how long it takes tells nothing of where they differ."""
    if not (given and right):
        return given == right
    import hmac

    return hmac.compare_digest(given, right)
