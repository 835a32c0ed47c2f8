"""TLS between machines: who may connect, and as whom.

A federation has an authority of its own, and everybody has a certificate of it: both ends of a connection show theirs.
A worker's certificate says which worker it is, and each of its seats, as URIs among the subject's alternative names:

    flame://JOB/END?role=ROLE&channel=CHANNEL&group=GROUP

with every part percent-encoded, and without a query for a worker that has no seat. A certificate that has no such URI
belongs to a service, such as a broker.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote

from flame.backend.credentials import Credentials
from flame.backend.directory import Seat
from flame.errors import ChannelError, ConfigError

#: How an authority's own files are called.
AUTHORITY = "ca"

_SCHEME = "flame:"
_URI = re.compile(r"flame://([^/?]+)/([^/?]+)(?:\?role=([^&]*)&channel=([^&]*)&group=([^&]*))?")
_AGAIN = "issue it again with `flame ca`"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose certificate it is.

    Attributes:
        job: the worker's job, or "" for a service.
        end: the worker's task id, or "" for a service.
        seats: every seat that the worker may take.
    """

    job: str
    end: str
    seats: frozenset[Seat]

    @property
    def is_service(self) -> bool:
        """Whether it is nobody's place in a job."""
        return not self.end


def client_context(credentials: Credentials, *, check_hostname: bool = True) -> ssl.SSLContext:
    """The context of a connection's client: TLS 1.3, with a certificate of its own.

    A server that refuses the client's certificate says so only after the client's handshake: it is the first `recv`
    that raises.

    Args:
        credentials: the client's files.
        check_hostname: whether the server's certificate has to be for the host name that was asked for.

    Raises:
        ConfigError: a file is missing, cannot be read, or does not belong to the others.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, credentials)
    context.check_hostname = check_hostname
    return context


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """The context of a connection's server: TLS 1.3, and clients without a certificate are refused.

    Raises:
        ConfigError: a file is missing, cannot be read, or does not belong to the others.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would not look at the certificate's dates again.
    context.num_tickets = 0
    return context


def credentials_of(folder: Path, job: str, end: str) -> Credentials:
    """Where a worker's files are in the folder of `flame ca`, whether they are there or not.

    Raises:
        ConfigError: a name is not text.
    """
    own = files_of(folder / _file_name(job), end)
    return Credentials(files_of(folder, AUTHORITY).cert, own.cert, own.key)


def files_of(folder: Path, name: str) -> Credentials:
    """Where the files of a service are in the folder of `flame ca`, whether they are there or not.

    Raises:
        ConfigError: the name is not text.
    """
    stem = _file_name(name)
    return Credentials(folder / f"{AUTHORITY}.crt", folder / f"{stem}.crt", folder / f"{stem}.key")


def place_uris(job: str, end: str, seats: Iterable[Seat]) -> list[str]:
    """A worker's place in its job, as the URIs of its certificate, in a fixed order.

    Raises:
        ConfigError: the job or the worker has no name, a seat is another worker's, or a name is not text.
    """
    for what, text in (("job", job), ("end", end)):
        if not text:
            raise ConfigError(what, "is empty", "a certificate is for one worker of one job")
    taken = sorted(set(seats))
    for seat in taken:
        if seat.end != end:
            raise ConfigError("seats", f"{seat} is not a seat of {end}")
    try:
        return [_uri(job, end, seat) for seat in taken] or [_uri(job, end, None)]
    except UnicodeEncodeError as error:
        raise ConfigError("seats", f"{error.object!r} is not text: {error.reason}") from error


def identity(certificate: Mapping[str, object] | None) -> Identity:
    """Whose certificate it is that the peer of a connection has shown.

    Args:
        certificate: what `getpeercert()` returned after the handshake.

    Raises:
        ChannelError: the peer has shown none, it was not verified, or what it says is malformed.
    """
    if not certificate:
        # This is what an unverified certificate looks like; it must not pass for a service's.
        raise ChannelError("the peer has shown no certificate that could be verified")
    return identity_of(_uris_in(certificate))


def identity_of(uris: Iterable[str]) -> Identity:
    """The identity that the URIs of a certificate spell; those of other schemes are passed over.

    Raises:
        ChannelError: one is malformed, or they belong to several workers.
    """
    places = [_place(uri) for uri in uris if uri.lower().startswith(_SCHEME)]
    owners = {(job, end) for job, end, _ in places}
    if len(owners) > 1:
        raise ChannelError(f"a certificate that is {len(owners)} workers' is nobody's")
    for job, end in owners:
        return Identity(job, end, frozenset(seat for _, _, seat in places if seat is not None))
    return Identity("", "", frozenset())


def admits(who: Identity, job: str, seats: Iterable[Seat]) -> str:
    """Why somebody may not take these seats of a job, in words; "" if it may.

    Args:
        who: whose certificate it is. A service has no place in any job.
        job: the job's id.
        seats: the seats that are claimed.
    """
    if who.is_service:
        return "the certificate is a service's: it has no seat in any job"
    if who.job != job:
        return f"the certificate is for job {who.job!r}, not {job!r}"
    for seat in seats:
        if seat.end != who.end:
            return f"the certificate is {who.end}'s, not {seat.end}'s"
        if seat not in who.seats:
            return f"the certificate has no seat for role {seat.role!r} in {seat.channel!r}, group {seat.group!r}"
    return ""


def _context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    for path in (credentials.ca, credentials.cert, credentials.key):
        _look_at(path)
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Where a certificate has no host names, its subject's name must not be taken for one: a worker's is its task id.
    context.hostname_checks_common_name = False
    _load_authority(context, credentials.ca)
    _load_own(context, credentials)
    return context


def _look_at(path: Path) -> None:
    """Find out what is wrong with a file; the errors of TLS do not say with which one."""
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise ConfigError(str(path), "is not there", "make it with `flame ca`, or give another path") from None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", "let this user read it") from error


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    fix = "give the authority's ca.crt"
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise ConfigError(str(path), "is no certificate in PEM form", fix) from error
    if not context.get_ca_certs():
        raise ConfigError(str(path), "is a certificate, but not an authority's", fix)


def _load_own(context: ssl.SSLContext, credentials: Credentials) -> None:
    key = str(credentials.key)

    def ask() -> NoReturn:
        # Otherwise the passphrase would be asked for at the terminal, where nobody may be sitting.
        raise ConfigError(key, "has a passphrase", "give a key without one, in a file that only its user may read")

    try:
        context.load_cert_chain(credentials.cert, credentials.key, password=ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(key, f"does not belong to {credentials.cert}", _AGAIN) from error
        if b"-----BEGIN CERTIFICATE-----" not in credentials.cert.read_bytes():
            raise ConfigError(str(credentials.cert), "is no certificate in PEM form", _AGAIN) from error
        raise ConfigError(key, f"or {credentials.cert} is damaged: {error.reason or 'not PEM'}", _AGAIN) from error


def _file_name(name: str) -> str:
    """A name as that of a file, which leads nowhere else; different names stay different."""
    try:
        quoted = quote(name, safe=" ")
    except UnicodeEncodeError as error:
        raise ConfigError("name", f"{name!r} is not text: {error.reason}") from error
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") else quoted


def _uri(job: str, end: str, seat: Seat | None) -> str:
    place = f"flame://{_quoted(job)}/{_quoted(end)}"
    if seat is None:
        return place
    return f"{place}?role={_quoted(seat.role)}&channel={_quoted(seat.channel)}&group={_quoted(seat.group)}"


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _place(uri: str) -> tuple[str, str, Seat | None]:
    """What one URI says.

    Raises:
        ChannelError: it is not spelled as `_uri` would: two spellings of one name are an invitation to confuse them.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise ChannelError(f"{uri!r} is not the place of a worker")
    try:
        job, end, role, channel, group = (unquote(part or "", errors="strict") for part in found.groups())
    except UnicodeDecodeError as error:
        raise ChannelError(f"{uri!r} is not the place of a worker: {error.reason}") from error
    seat = None if found[3] is None else Seat(channel, group, role, end)
    if _uri(job, end, seat) != uri:
        raise ChannelError(f"{uri!r} is not spelled as {_uri(job, end, seat)!r}")
    return job, end, seat


def _uris_in(certificate: Mapping[str, object]) -> Iterator[str]:
    names = certificate.get("subjectAltName", ())
    for kind, value in names if isinstance(names, tuple) else ():
        if kind == "URI":
            yield value
