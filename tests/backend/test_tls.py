"""TLS: real handshakes over loopback. Who is let in, as whom, and who is not."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.backend.certificates import issue_service, issue_worker, make_authority, read
from flame.backend.credentials import Credentials
from flame.backend.directory import Seat
from flame.backend.tls import Identity, admits, client_context, identity, identity_of, server_context
from flame.errors import ChannelError, ConfigError

PATIENCE_S = 20.0
JOB, END = "job one", "a" * 40
SEAT = Seat("param", "eu/west", "trainer", END)
OTHER = Seat("global", "default", "trainer", END)
NAMES = st.text(max_size=8) | st.text("/?&=%#:@. \u00e9\u65e5", max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"), "test authority").parent


@pytest.fixture(scope="module")
def service(folder: Path) -> Credentials:
    return issue_service(folder, "broker", ["localhost", "127.0.0.1"])


@pytest.fixture(scope="module")
def worker(folder: Path) -> Credentials:
    return issue_worker(folder, JOB, END, [SEAT, OTHER])


def meet(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> tuple[Any, Any]:
    """Let two contexts meet; returns what each learned of its peer, or the error that it got instead."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(PATIENCE_S)
        served = pool.submit(_talk, lambda: listener.accept()[0], server, {"server_side": True})
        address = listener.getsockname()
        learned = _talk(lambda: socket.create_connection(address), client, {"server_hostname": host})
        return served.result(PATIENCE_S), learned


def _talk(connect: Any, context: ssl.SSLContext, how: dict[str, Any]) -> Any:
    try:
        with connect() as raw:
            raw.settimeout(PATIENCE_S)
            with context.wrap_socket(raw, **how) as sock:
                sock.sendall(b"!")
                if sock.recv(1) != b"!":
                    raise ConnectionError("closed")
                return sock.getpeercert()
    except OSError as error:
        return error


def forged(
    folder: Path,
    issuer: Credentials | None = None,
    *,
    until: timedelta = timedelta(days=1),
    uris: tuple[str, ...] = (),
    is_authority: bool = False,
    ca: Path | None = None,
) -> Credentials:
    """A certificate for localhost that `flame ca` would not issue; signed by its own key if there is no issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = above = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged")])
    signer: Any = key
    if issuer is not None:
        above = x509.load_pem_x509_certificate(issuer.cert.read_bytes()).subject
        signer = serialization.load_pem_private_key(issuer.key.read_bytes(), None)
    names = [x509.DNSName("localhost"), *map(x509.UniformResourceIdentifier, uris)]
    last = datetime.now(UTC) + until
    builder = x509.CertificateBuilder(above, name, key.public_key(), 7, last - timedelta(days=9), last)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    files = Credentials(ca or folder / "forged.crt", folder / "forged.crt", folder / "forged.key")
    files.cert.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return files


def intruder(kind: str, folder: Path, worker: Credentials, top: Path) -> Credentials:
    """Somebody who has the authority's certificate, and one that is not as it should be."""
    authority = Credentials(folder / "ca.crt", folder / "ca.crt", folder / "ca.key")
    if kind == "other authority":
        other = make_authority(top / "other", "test authority").parent
        files = issue_service(other, "broker", ["localhost"])
        return Credentials(authority.ca, files.cert, files.key)
    how: dict[str, Any] = {
        "expired": {"issuer": authority, "until": -timedelta(hours=1)},
        "self-signed": {},
        "issued by a worker": {"issuer": worker},
    }[kind]
    return forged(top, ca=authority.ca, **how)


INTRUDERS = {
    "other authority": "unable to get local issuer certificate",
    "expired": "certificate has expired",
    "self-signed": "self.signed certificate",
    "issued by a worker": "unable to get local issuer certificate|invalid CA certificate",
}


def test_both_sides_learn_who_the_other_is(service: Credentials, worker: Credentials) -> None:
    for host in ("localhost", "127.0.0.1"):
        of_client, of_server = meet(server_context(service), client_context(worker), host)
        assert identity(of_client) == Identity(JOB, END, frozenset({SEAT, OTHER}))
        assert identity(of_server) == Identity("", "", frozenset()) and identity(of_server).is_service


def test_workers_meet_each_other_and_strict_checks_are_passed(worker: Credentials) -> None:
    server, client = server_context(worker), client_context(worker)
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert [identity(learned).end for learned in meet(server, client, "::1")] == [END, END]


@pytest.mark.parametrize("kind", INTRUDERS)
def test_a_false_server_is_refused(
    kind: str, folder: Path, service: Credentials, worker: Credentials, tmp_path: Path
) -> None:
    false = intruder(kind, folder, worker, tmp_path)
    of_client, of_server = meet(server_context(false), client_context(worker))
    assert isinstance(of_client, OSError) and isinstance(of_server, ssl.SSLCertVerificationError)
    with pytest.raises(ssl.SSLError, match=INTRUDERS[kind]):
        raise of_server


@pytest.mark.parametrize("kind", INTRUDERS)
def test_a_false_client_is_refused(
    kind: str, folder: Path, service: Credentials, worker: Credentials, tmp_path: Path
) -> None:
    false = intruder(kind, folder, worker, tmp_path)
    of_client, of_server = meet(server_context(service), client_context(false))
    assert isinstance(of_server, OSError) and isinstance(of_client, ssl.SSLCertVerificationError)
    with pytest.raises(ssl.SSLError, match=INTRUDERS[kind]):
        raise of_client


def test_a_client_without_a_certificate_is_refused(service: Credentials) -> None:
    bare = ssl.create_default_context(cafile=service.ca)
    of_client, of_server = meet(server_context(service), bare)
    assert isinstance(of_server, OSError)
    assert of_client.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


def test_a_wrong_host_name_is_refused_unless_names_are_not_asked_for(service: Credentials, worker: Credentials) -> None:
    _, of_server = meet(server_context(service), client_context(worker), "elsewhere.example.org")
    with pytest.raises(ssl.SSLError, match="Hostname mismatch"):
        raise of_server
    lenient = client_context(worker, check_hostname=False)
    _, of_server = meet(server_context(service), lenient, "elsewhere.example.org")
    assert identity(of_server).is_service


def test_the_name_of_a_subject_is_not_taken_for_a_host(folder: Path, worker: Credentials) -> None:
    called_so = issue_worker(folder, JOB, "localhost", [], hosts=["127.0.0.1"])
    _, of_server = meet(server_context(called_so), client_context(worker), "localhost")
    with pytest.raises(ssl.SSLError, match="Hostname mismatch"):
        raise of_server


def test_older_versions_are_refused(service: Credentials, worker: Credentials) -> None:
    old = ssl.create_default_context(cafile=service.ca)
    old.load_cert_chain(worker.cert, worker.key)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert all(isinstance(learned, ssl.SSLError) for learned in meet(server_context(service), old))


def test_no_session_is_resumed(service: Credentials) -> None:
    assert server_context(service).num_tickets == 0


@settings(max_examples=25, deadline=None)
@given(
    job=NAMES.filter(bool),
    end=st.text(min_size=1, max_size=8).filter(str.isprintable),
    rows=st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=4),
    more=st.tuples(NAMES, NAMES, NAMES),
)
def test_a_certificate_admits_exactly_its_seats(
    folder: Path, service: Credentials, job: str, end: str, rows: list[Any], more: Any
) -> None:
    seats = [Seat(*row, end) for row in rows]
    files = issue_worker(folder, job, end, seats, force=True)
    of_client, _ = meet(server_context(service), client_context(files))
    who = identity(of_client)
    assert who == Identity(job, end, frozenset(seats)) == read(files.cert).identity
    assert admits(who, job, seats) == ""
    assert bool(admits(who, job, [*seats, Seat(*more, end)])) == (Seat(*more, end) not in seats)
    for seat in seats:
        assert admits(who, job, [seat]) == ""
        assert admits(who, job, [seat._replace(end=f"{end}!")]) and admits(who, f"{job}!", [seat])


def test_a_refusal_says_why() -> None:
    who = Identity(JOB, END, frozenset({SEAT}))
    assert admits(who, "job two", [SEAT]) == "the certificate is for job 'job one', not 'job two'"
    assert admits(who, JOB, [OTHER]) == "the certificate has no seat for role 'trainer' in 'global', group 'default'"
    assert "not b's" in admits(who, JOB, [SEAT._replace(end="b")])
    assert "service's" in admits(Identity("", "", frozenset()), JOB, [])


@pytest.mark.parametrize("shown", [None, {}])
def test_who_shows_nothing_is_not_a_service(shown: dict[str, object] | None) -> None:
    with pytest.raises(ChannelError, match="no certificate that could be verified"):
        identity(shown)


MALFORMED = (
    ("flame://job/end?role=a&channel=b", "not the place"),
    ("flame://job/end?role=a&channel=b&group=c&group=d", "not the place"),
    ("flame://job", "not the place"),
    ("flame:///end", "not the place"),
    ("flame:job/end", "not the place"),
    ("flame://job/end?role=%FF&channel=b&group=c", "not the place"),
    ("FLAME://job/end", "not the place"),
    ("flame://job/e%6Ed", "not spelled"),
    ("flame://job/end?role=a+b&channel=b&group=c", "not spelled"),
    ("flame://job/end?role=a/b&channel=b&group=c", "not spelled"),
)


@pytest.mark.parametrize(("uri", "told"), MALFORMED)
def test_a_malformed_place_is_refused(uri: str, told: str) -> None:
    with pytest.raises(ChannelError, match=told):
        identity_of(["https://example.org", uri])


def test_a_certificate_is_one_workers(folder: Path, service: Credentials, tmp_path: Path) -> None:
    authority = Credentials(folder / "ca.crt", folder / "ca.crt", folder / "ca.key")
    two = forged(tmp_path, authority, uris=("flame://job/a", "flame://job/b", "urn:x"), ca=authority.ca)
    of_client, _ = meet(server_context(service), client_context(two))
    with pytest.raises(ChannelError, match="2 workers"):
        identity(of_client)
    assert identity_of(["spiffe://a/b", "urn:x"]).is_service


def test_wrong_files_are_refused_by_name(service: Credentials, worker: Credentials, tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    secret = serialization.load_pem_private_key(worker.key.read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    (tmp_path / "secret").write_bytes(secret.private_bytes(serialization.Encoding.PEM, *form))
    ca, cert, key = worker.ca, worker.cert, worker.key
    for files, blamed, told in (
        ((tmp_path / "none", cert, key), tmp_path / "none", "is not there"),
        ((ca, tmp_path, key), tmp_path, "cannot be read: Is a directory"),
        ((tmp_path / "junk", cert, key), tmp_path / "junk", "no certificate in PEM form"),
        ((cert, cert, key), cert, "not an authority's"),
        ((ca, tmp_path / "junk", key), tmp_path / "junk", "no certificate in PEM form"),
        ((ca, cert, tmp_path / "junk"), tmp_path / "junk", "is damaged"),
        ((ca, cert, service.key), service.key, "does not belong to"),
        ((ca, cert, tmp_path / "secret"), tmp_path / "secret", "has a passphrase"),
    ):
        for context in (client_context, server_context):
            with pytest.raises(ConfigError, match=told) as caught:
                context(Credentials(*files))
            assert caught.value.path == str(blamed) and (caught.value.fix or told == "is damaged")


def test_nothing_but_issuing_needs_cryptography(tmp_path: Path) -> None:
    # Python takes a module that is None for one that is not installed.
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "import flame, flame.backend.tls, flame.backend.certificates\n"
        "assert 'ssl' in sys.modules\n"
        "from flame.cli import main; sys.exit(main(['ca', 'init', 'nowhere']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "pip install 'flame-fl[tls]'" in done.stderr
    assert list(tmp_path.iterdir()) == []
