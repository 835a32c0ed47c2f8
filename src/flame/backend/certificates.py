"""An authority for one federation: it issues the certificates that `flame.backend.tls` asks for.

```
DIR/                     for its user only
├── ca.crt               what everybody has to know
├── ca.key               what nobody else may have: whoever has it, can be anybody
├── NAME.crt, NAME.key   a service's
└── JOB/
    └── END.crt, END.key a worker's
```

Keys are on the curve P-256 (FIPS 186-5), certificates follow RFC 5280. Only issuing needs the package `cryptography`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from flame.backend.credentials import Credentials
from flame.backend.directory import Seat
from flame.backend.tls import AUTHORITY, Identity, credentials_of, files_of, identity_of, place_uris
from flame.errors import ChannelError, ConfigError

#: The hosts that a worker's certificate is for unless others are given: this machine, seen from itself.
LOCAL = ("localhost", "127.0.0.1", "::1")

#: X.509's limit on a subject's name, in bytes.
_LONGEST_NAME = 64
_MOST_DAYS = 36_500
#: How far the clock of whoever is shown a certificate may lag behind the authority's.
_SKEW = timedelta(minutes=5)
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)(\*\.)?({_LABEL}\.)*(?!\d+$){_LABEL}")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says.

    Attributes:
        name: its subject: a worker's task id, or the name of a service or of an authority.
        issuer: the name of the authority that issued it.
        is_authority: whether it may issue others; its identity is then like a service's.
        identity: whose it is.
        hosts: the host names and addresses that it is for.
        not_before, not_after: since when, and until when, it is valid.
    """

    name: str
    issuer: str
    is_authority: bool
    identity: Identity
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime


class _Pair(NamedTuple):
    """A certificate and its key, as PEM."""

    cert: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is to be certified: an authority has no hosts and no URIs."""

    name: str
    days: int
    hosts: Sequence[str] = ()
    uris: Sequence[str] = ()


def make_authority(folder: Path, name: str, days: int = 3650, *, force: bool = False) -> Path:
    """Make an authority in a folder, and the folder if it is missing; returns its certificate, which all have to know.

    With `force` it takes another one's place: whatever that one has issued is then worth nothing.

    Raises:
        ConfigError: there is one already, the folder is open to others, or it cannot be written.
    """
    return _store(files_of(folder, AUTHORITY), _certify(_Subject(name, days), None), force=force).cert


def issue_worker(
    folder: Path,
    job: str,
    end: str,
    seats: Iterable[Seat],
    hosts: Sequence[str] = LOCAL,
    days: int = 365,
    *,
    force: bool = False,
) -> Credentials:
    """Issue a worker's certificate for these seats and no others; returns the three files that its machine needs.

    Args:
        folder: the authority's.
        job: the job's id.
        end: the worker's task id, at most 64 bytes.
        seats: the worker's.
        hosts: the names and addresses of the machine that the worker runs on, as others call it.
        days: how long it is valid, though no longer than the authority is.
        force: whether to put it in another one's place.

    Raises:
        ConfigError: there is one already, there is no authority in the folder, or an argument is wrong.
    """
    subject = _Subject(end, days, hosts, place_uris(job, end, seats))
    return _store(credentials_of(folder, job, end), _certify(subject, _authority(folder)), force=force)


def issue_service(
    folder: Path, name: str, hosts: Sequence[str], days: int = 365, *, force: bool = False
) -> Credentials:
    """Issue a service's certificate, such as a broker's, for the hosts it is reached at; otherwise as `issue_worker`.

    Raises:
        ConfigError: there is one already, there is no authority in the folder, or an argument is wrong.
    """
    if name == AUTHORITY:
        raise ConfigError("service", f"{name!r} is the authority's own name", "choose another")
    if not hosts:
        raise ConfigError("hosts", "there are none", "name the host at which the service is reached")
    return _store(files_of(folder, name), _certify(_Subject(name, days, hosts), _authority(folder)), force=force)


def read(path: Path) -> Certificate:
    """Read a certificate's file.

    Raises:
        ConfigError: there is none, it holds no certificate, or one whose URIs are malformed.
    """
    _require_cryptography()
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    content = _content(path)
    try:
        found = x509.load_pem_x509_certificate(content)
        extensions = [one.value for one in found.extensions]
        subject, issuer = (who.get_attributes_for_oid(NameOID.COMMON_NAME) for who in (found.subject, found.issuer))
    except (ValueError, x509.DuplicateExtension) as error:
        raise ConfigError(str(path), "is no certificate in PEM form", "give a .crt file") from error
    names = [name for one in extensions if isinstance(one, x509.SubjectAlternativeName) for name in one]
    try:
        whose = identity_of(name.value for name in names if isinstance(name, x509.UniformResourceIdentifier))
    except ChannelError as error:
        raise ConfigError(str(path), str(error)) from error
    return Certificate(
        name=str(subject[0].value) if subject else "",
        issuer=str(issuer[0].value) if issuer else "",
        is_authority=any(one.ca for one in extensions if isinstance(one, x509.BasicConstraints)),
        identity=whose,
        hosts=tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)),
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
    )


def _authority(folder: Path) -> _Pair:
    """The authority in a folder, if it is fit to issue anything."""
    _require_cryptography()
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    files = files_of(folder, AUTHORITY)
    if not files.key.exists():
        raise ConfigError(str(folder), f"has no {files.key.name}", f"make an authority: flame ca init {folder}")
    pair = _Pair(_content(files.cert), _content(files.key))
    try:
        cert = x509.load_pem_x509_certificate(pair.cert)
        key = serialization.load_pem_private_key(pair.key, None)
    except (ValueError, TypeError) as error:  # a TypeError is about a passphrase
        raise ConfigError(str(files.key), f"or {files.cert.name} cannot be used: {error}") from error
    if key.public_key() != cert.public_key():
        raise ConfigError(str(files.key), f"does not belong to {files.cert}")
    if cert.not_valid_after_utc <= datetime.now(UTC):
        fix = "make another with `flame ca init --force`, and issue everything again"
        raise ConfigError(str(files.cert), f"expired on {cert.not_valid_after_utc:%Y-%m-%d}", fix)
    return pair


def _certify(subject: _Subject, authority: _Pair | None) -> _Pair:
    """Make a key and a certificate for it; without an authority, the certificate of a new one."""
    _require_cryptography()
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    _check(subject)
    is_root = authority is None
    now = datetime.now(UTC)
    until = now + timedelta(days=subject.days)
    key = signer = ec.generate_private_key(ec.SECP256R1())
    name = issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.name)])
    if authority is not None:
        above = x509.load_pem_x509_certificate(authority.cert)
        loaded = serialization.load_pem_private_key(authority.key, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ConfigError("ca.key", "is not on an elliptic curve", "use an authority of `flame ca init`")
        signer, issuer, until = loaded, above.subject, min(until, above.not_valid_after_utc)
    alternative: list[x509.GeneralName] = [
        x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host) for host in map(_host, subject.hosts)
    ]
    alternative += map(x509.UniformResourceIdentifier, subject.uris)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), True),
        # The first use is to sign handshakes, the sixth and seventh are to issue and to revoke.
        (x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ]
    if not is_root:
        # Whoever listens also connects: a worker is the server of some of its peers and the client of others.
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        extensions.append((x509.ExtendedKeyUsage(both), False))
        extensions.append((x509.SubjectAlternativeName(alternative), False))
    builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number(), now - _SKEW, until)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return _Pair(
        builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _require_cryptography() -> None:
    if find_spec("cryptography") is None:
        raise ConfigError("certificates", "the package cryptography is missing", "pip install 'flame-fl[tls]'")


def _check(subject: _Subject) -> None:
    """Refuse what cannot be certified, in words that say why."""
    size = len(subject.name.encode(errors="replace"))
    if not 0 < size <= _LONGEST_NAME or not subject.name.isprintable():
        fix = f"give 1 to {_LONGEST_NAME} bytes of printable text"
        raise ConfigError("name", f"a certificate cannot be for {subject.name!r}", fix)
    if not 0 < subject.days <= _MOST_DAYS:
        raise ConfigError("days", f"is {subject.days}", f"give 1 to {_MOST_DAYS}")


def _host(text: str) -> str | ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        if not _HOST.fullmatch(text):
            fix = "give it as others call it, without a scheme or a port"
            raise ConfigError("host", f"{text!r} is neither a host's name nor an address", fix) from None
        return text


def _store(files: Credentials, pair: _Pair, *, force: bool) -> Credentials:
    """Put a certificate and its key where they belong."""
    for path in (files.cert, files.key):
        if path.exists() and not force:
            raise ConfigError(str(path), "is there already", "use --force to put another in its place")
    try:
        for folder in (files.ca.parent, files.key.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o077:
                raise ConfigError(str(folder), "is open to other users", f"chmod 700 {folder}")
        _write(files.key, pair.key, 0o600)
        _write(files.cert, pair.cert, 0o644)
    except OSError as error:
        raise ConfigError(error.filename or str(files.key), f"cannot be written: {error.strerror}") from error
    return files


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it is there whole or not at all, and never open to more than `mode` says."""
    handle, part = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(part, path)
    except OSError:
        os.unlink(part)
        raise


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
