"""`flame ca`: make an authority, and issue the certificates of a federation on several machines."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from flame.backend.directory import Seat
from flame.errors import ConfigError
from flame.lab.theme import plural

SubParsers = Any  # argparse gives its action no public generic name
Arguments = argparse.Namespace


class _Worker(NamedTuple):
    """One worker of a job, as its certificate will know it."""

    job: str
    end: str
    name: str
    role: str
    seats: tuple[Seat, ...]


def register(subparsers: SubParsers) -> None:
    """Adds `flame ca …` to the command line."""
    ca = subparsers.add_parser("ca", help="issue certificates for several machines", description=__doc__)
    commands = ca.add_subparsers(required=True, metavar="COMMAND")

    one = _command(commands, "init", _init, "make an authority")
    one.add_argument("--name", default="Flame development authority", metavar="NAME", help="default: %(default)s")
    _add_issuing(one, days=3650)

    one = _command(commands, "worker", _workers, "issue a certificate for each worker of a job")
    one.add_argument("job", type=Path, metavar="JOBDIR", help="the job's folder, as for `flame run`")
    one.add_argument("--schema", type=Path, metavar="FILE", help="another TAG than JOBDIR/schema.json")
    one.add_argument("--data", type=Path, metavar="FILE", help="another dataSpec than JOBDIR/dataSpec.json")
    one.add_argument(
        "--only",
        action="extend",
        nargs="+",
        default=[],
        metavar="WHICH",
        help="only these: a role, a worker's name such as trainer/3, or its task id",
    )
    _add_hosts(one, "the machine that they run on, as others call it (default: this machine, seen from itself)")
    _add_issuing(one, days=365)

    one = _command(commands, "service", _service, "issue the certificate of a service, such as a broker")
    one.add_argument("name", metavar="NAME", help="the service's name; its files are called so")
    _add_hosts(one, "where it is reached", required=True)
    _add_issuing(one, days=365)

    one = _command(commands, "show", _show, "say whose a certificate is", where=False)
    one.add_argument("file", type=Path, metavar="FILE", help="a certificate: a .crt file")


def _command(
    commands: SubParsers, name: str, run: Callable[[Arguments], int], what: str, *, where: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    if where:
        parser.add_argument("dir", type=Path, metavar="DIR", help="the authority's folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _add_issuing(parser: argparse.ArgumentParser, *, days: int) -> None:
    parser.add_argument(
        "--days", type=int, default=days, metavar="N", help="how long it is valid (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="put it in the place of one that is there")


def _add_hosts(parser: argparse.ArgumentParser, what: str, *, required: bool = False) -> None:
    parser.add_argument("--host", action="extend", nargs="+", required=required, metavar="NAME_OR_IP", help=what)


def _init(arguments: Arguments) -> int:
    from flame.backend.certificates import make_authority

    made = make_authority(arguments.dir, arguments.name, arguments.days, force=arguments.force)
    if arguments.json:
        _print_json({"ca": str(made)})
    else:
        print(f"{made}: for everybody\n{made.with_suffix('.key')}: for nobody else; keep it where nothing runs")
    return 0


def _workers(arguments: Arguments) -> int:
    from flame.backend.certificates import LOCAL, issue_worker
    from flame.backend.tls import credentials_of

    workers = _chosen(list(_expanded(arguments)), arguments.only)
    there = [one for one in workers if credentials_of(arguments.dir, one.job, one.end).cert.exists()]
    if there and not arguments.force:
        # Found before the first is issued: half of a job's certificates would be no use.
        fix = "use --force to put others in their place, or name the new workers with --only"
        told = f"{len(there)} of {plural(len(workers), 'worker')} already have a certificate"
        raise ConfigError(str(arguments.dir), told, fix)
    rows = []
    for job, end, name, role, seats in workers:
        made = issue_worker(
            arguments.dir, job, end, seats, arguments.host or LOCAL, arguments.days, force=arguments.force
        )
        rows.append({"job": job, "end": end, "name": name, "role": role, "cert": str(made.cert), "key": str(made.key)})
        if not arguments.json:
            print(f"{name}\t{made.cert}")
    if arguments.json:
        _print_json({"ca": str(made.ca), "workers": rows})
    return 0


def _service(arguments: Arguments) -> int:
    from flame.backend.certificates import issue_service

    made = issue_service(arguments.dir, arguments.name, arguments.host, arguments.days, force=arguments.force)
    if arguments.json:
        _print_json({"ca": str(made.ca), "name": arguments.name, "cert": str(made.cert), "key": str(made.key)})
    else:
        print(f"{arguments.name}\t{made.cert}")
    return 0


def _show(arguments: Arguments) -> int:
    from flame.backend.certificates import read

    found = read(arguments.file)
    whose = found.identity
    kind = "authority" if found.is_authority else "service" if whose.is_service else "worker"
    expired = found.not_after < datetime.now(UTC)
    seats = sorted(whose.seats)
    if arguments.json:
        told = {
            "file": str(arguments.file),
            "kind": kind,
            "name": found.name,
            "job": whose.job,
            "seats": [{"channel": one.channel, "group": one.group, "role": one.role} for one in seats],
            "hosts": found.hosts,
            "issuer": found.issuer,
            "notBefore": found.not_before.isoformat(),
            "notAfter": found.not_after.isoformat(),
            "expired": expired,
        }
        _print_json(told)
        return 0
    lines = [("job", _plain(whose.job))] * (kind == "worker")
    lines += [("seat", f"{_plain(one.role)} on {_plain(one.channel)}, group {_plain(one.group)}") for one in seats]
    lines += [("hosts", ", ".join(found.hosts) or "none"), ("issued", f"by {_plain(found.issuer)}")]
    lines += [("valid", f"{found.not_before:%Y-%m-%d %H:%M} to {found.not_after:%Y-%m-%d %H:%M} UTC")]
    print(f"{kind} {_plain(whose.end or found.name)}" + " (expired)" * expired)
    print("\n".join(f"  {what:<8}{text}" for what, text in lines))
    return 0


def _expanded(arguments: Arguments) -> Iterator[_Worker]:
    """Every worker of the job, as `flame run` would have them; their programs need not be there."""
    from flame.config.build import configs
    from flame.config.job import read_job
    from flame.runtime.launch import seats_of
    from flame.tag import expand

    with tempfile.TemporaryDirectory(prefix="flame-code-") as scratch:
        files = read_job(
            arguments.job,
            schema=arguments.schema,
            data_spec=arguments.data,
            unpack_to=Path(scratch),
            needs_code=False,
        )
    for note in files.notes:
        print(f"note: {note}", file=sys.stderr)
    for config in configs(files.tag, files.job, expand(files.tag, files.data, job_id=files.job.id)):
        yield _Worker(files.job.id, config.task_id, config.name, config.role, tuple(seats_of(config)))


def _chosen(workers: list[_Worker], only: list[str]) -> list[_Worker]:
    known = {name for one in workers for name in (one.role, one.name, one.end)}
    for name in only:
        if name not in known:
            some = ", ".join(sorted({one.role for one in workers}))
            raise ConfigError(f"--only {name}", "is no worker and no role of this job", f"there are: {some}")
    chosen = [one for one in workers if not only or not {one.role, one.name, one.end}.isdisjoint(only)]
    if not chosen:
        raise ConfigError("dataSpec", "the TAG expands to no workers", "list a dataset for each worker with data")
    return chosen


def _plain(text: str) -> str:
    """A name from a certificate, which anybody may have made, as it can be shown on a terminal."""
    return text if text.isprintable() else repr(text)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
