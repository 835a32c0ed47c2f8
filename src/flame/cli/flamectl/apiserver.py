"""The API server as a client sees it: one request at a time, and one error for whatever comes of it but success."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import yaml
from msgspec import Struct

from flame.config.read import convert
from flame.errors import ConfigError, FlameError

CONFIG = "~/.flame/config.yaml"
CONNECT_S, ANSWER_S = 5.0, 30.0
"""How long a server may take to let us in, and to answer; upstream's own takes 10 s for some answers."""

NO_ANSWER = -1
"""Stands for the status code where there was no answer."""

T = TypeVar("T")


class Failed(FlameError):
    """A server said no, or could not be asked.

    Attributes:
        code: the HTTP status, or -1 if there was no answer.
    """

    def __init__(self, code: int, why: str) -> None:
        self.code = code
        super().__init__(why)


class _Apiserver(Struct):
    endpoint: str


class _Settings(Struct):
    """config.yaml, key by key."""

    apiserver: _Apiserver
    user: str


class Answer(NamedTuple):
    """What came back with a status of success."""

    code: int
    content: bytes

    def value(self, wanted: type[T]) -> T:
        """The JSON of the answer as a record.

        Raises:
            Failed: it is not JSON, or of another form: whoever answered is no API server.
        """
        try:
            return convert(json.loads(self.content), wanted, "answer")
        except (ValueError, RecursionError) as error:
            raise Failed(self.code, f"the answer is none of an API server's: {error}") from None

    def rows(self, one: type[T]) -> list[T]:
        """The JSON of the answer as a list of records; `null`, which stands for none, is an empty one.

        Raises:
            Failed: as from `value`.
        """
        return [] if self.content.strip() == b"null" else self.value(list[one])  # type: ignore[valid-type]


class Apiserver:
    """The server that the user's settings name. A context manager, which keeps its connection.

    Args:
        endpoint: its URL.
        user: on whose behalf it is asked.
        verified: whether its certificate is checked.

    Raises:
        ConfigError: the endpoint is no URL, the user no name, or httpx is not installed.
    """

    def __init__(self, endpoint: str, user: str, *, verified: bool = True) -> None:
        try:
            import httpx
        except ImportError as error:
            raise ConfigError("httpx", "is not installed", "pip install 'flame-fl[control]'") from error
        try:
            url = httpx.URL(endpoint)
        except httpx.InvalidURL as error:
            raise ConfigError("apiserver.endpoint", f"{endpoint!r} is no URL: {error}") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError("apiserver.endpoint", f"{endpoint!r} is no URL", "write http://HOST:PORT or https://HOST")
        if not is_name(user):
            raise ConfigError("user", f"{user!r} is no user's name")
        self.user = user
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        # Reading the system's authorities takes longer than a request; without TLS nobody asks for them.
        self._client = httpx.Client(base_url=url, verify=verified and url.scheme == "https", timeout=timeout)

    def __enter__(self) -> Apiserver:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._client.close()

    def ask(self, method: str, *path: str, everybody: bool = False, **content: Any) -> Answer:
        """Send one request and return the answer.

        Args:
            method: of HTTP.
            path: the parts of the route's path, after the user's.
            everybody: the path is not below the user's own.
            content: `json`, `params`, `data`, `files`, as httpx takes them.

        Raises:
            Failed: the status is none of success, or there was no answer.
        """
        import httpx

        parts = path if everybody else ("users", self.user, *path)
        try:
            answer = self._client.request(method, "/" + "/".join(quote(part, safe="") for part in parts), **content)
        except httpx.TimeoutException:
            raise Failed(NO_ANSWER, f"{self._client.base_url} does not answer") from None
        except httpx.ConnectError as error:
            why = str(error).partition("] ")[2] or str(error)  # without the number of the operating system's error
            raise Failed(NO_ANSWER, f"cannot connect to {self._client.base_url}: {why}") from None
        except httpx.HTTPError as error:
            raise Failed(NO_ANSWER, f"{self._client.base_url}: {error}") from None
        except (TypeError, ValueError) as error:
            raise Failed(NO_ANSWER, f"cannot be sent: {error}") from None
        if not answer.is_success:
            raise Failed(answer.status_code, _message(answer.content) or answer.reason_phrase)
        return Answer(answer.status_code, answer.content)

    def listed(self, one: type[T], limit: int, *path: str, everybody: bool = False) -> list[T]:
        """The first rows of a list, with a note if there are more.

        Args:
            one: what a row is.
            limit: at most so many; 0 for all.
            path: as for `ask`.
            everybody: as for `ask`.

        Raises:
            Failed: as from `ask` and `Answer.rows`.
        """
        asked = limit + 1 if limit > 0 else limit
        found = self.ask("GET", *path, everybody=everybody, params={"limit": asked}).rows(one)
        if 0 < limit < len(found):
            print(f"note: only the first {limit}; there are more: --limit 0 shows all", file=sys.stderr)
        return found[: limit or None]


def apiserver(config: Path | None, *, verified: bool) -> Apiserver:
    """The server that a settings file names: the given one, or the one in the user's home.

    Raises:
        ConfigError: the file cannot be read, or lacks something.
    """
    file = config or Path(os.path.expanduser(CONFIG))
    found = _settings(file)
    try:
        return Apiserver(found.apiserver.endpoint, found.user, verified=verified)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.path}", error.reason, error.fix) from None


def is_name(text: str) -> bool:
    """Whether a text can be one part of a path: it is not empty and leads nowhere else."""
    return bool(text) and text not in (".", "..") and "/" not in text


def _settings(file: Path) -> _Settings:
    fix = "write `apiserver: {endpoint: URL}` and `user: NAME` into it, or name another file with --config"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}", fix) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(file), f"is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, Mapping):
        raise ConfigError(str(file), "has no settings", fix)
    return convert(content, _Settings, str(file))


def _message(content: bytes) -> str:
    """Why the server refuses: a JSON text. Anything else comes from something in between, and is told as it is."""
    text = content.decode(errors="replace")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = text
    return (told if isinstance(told, str) else text).strip()
