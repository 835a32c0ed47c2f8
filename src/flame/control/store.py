"""What the control plane knows, in tables: SQLite in a file or in memory, or PostgreSQL.

It belongs to one server at a time, which locks it. All changes of a request are one transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, Enum, ForeignKey, LargeBinary, Text, UniqueConstraint, create_engine, event, text
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, deferred, mapped_column
from sqlalchemy.pool import StaticPool

from flame.control.records import NEVER, JobState, TaskState
from flame.errors import ConfigError

LAYOUT = "2"
"""Counted up when the tables change: a store of another layout is refused."""

LOCK = 0x666C616D65
"""What a server holds of a PostgreSQL database."""

FIX = "write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
IN_USE = "another server has it open"


class Base(DeclarativeBase):
    """What the tables have in common."""

    type_annotation_map: ClassVar = {
        dict[str, Any]: JSON,
        str: Text,
        bytes: LargeBinary,
        StrEnum: Enum(StrEnum, native_enum=False, length=16, values_callable=list),
    }


class DesignRow(Base):
    """A design with its schema and its code, each counted up when it is replaced."""

    __tablename__ = "design"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str]
    schema: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    schema_revision: Mapped[int] = mapped_column(default=0)
    code: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    code_revision: Mapped[int] = mapped_column(default=0)


class DatasetRow(Base):
    """A dataset; a user has an address only once."""

    __tablename__ = "dataset"
    __table_args__ = (UniqueConstraint("user_id", "url"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    description: Mapped[str]
    url: Mapped[str]
    data_format: Mapped[str]
    realm: Mapped[str]
    compute_id: Mapped[str]
    is_public: Mapped[bool]


class JobRow(Base):
    """A job: `body` is what its user asked for."""

    __tablename__ = "job"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    design_id: Mapped[str]
    body: Mapped[dict[str, Any]]
    state: Mapped[JobState] = mapped_column(default=JobState.READY)
    max_run_time: Mapped[int]
    created_at: Mapped[str]
    started_at: Mapped[str] = mapped_column(default=NEVER)
    updated_at: Mapped[str] = mapped_column(default=NEVER)
    ended_at: Mapped[str] = mapped_column(default=NEVER)


class TaskRow(Base):
    """A task, with all that its worker needs to know."""

    __tablename__ = "task"
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    role: Mapped[str]
    compute_id: Mapped[str] = mapped_column(index=True)
    group_association: Mapped[dict[str, Any]]
    config: Mapped[dict[str, Any]] = deferred(mapped_column(JSON))
    key: Mapped[str]
    state: Mapped[TaskState] = mapped_column(default=TaskState.READY)
    log: Mapped[str] = mapped_column(default="")
    timestamp: Mapped[str] = mapped_column(default=NEVER)


class ProgramRow(Base):
    """A role's code, as the job was made with it: an archive whose one folder is the role."""

    __tablename__ = "program"
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    archive: Mapped[bytes]


class ComputeRow(Base):
    """A place where tasks run."""

    __tablename__ = "compute"
    id: Mapped[str] = mapped_column(primary_key=True)
    region: Mapped[str]
    admin_id: Mapped[str]
    api_key: Mapped[str]
    registered_at: Mapped[str]


class DeploymentRow(Base):
    """What a deployer has said of a job's agents."""

    __tablename__ = "deployment"
    compute_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    states: Mapped[dict[str, Any]]


class SettingRow(Base):
    """What the server itself has to remember."""

    __tablename__ = "setting"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Store:
    """The tables behind a URL, such as `sqlite:///flame.db`; `sqlite://` is memory.

    Raises:
        ConfigError: the URL is none, or what it leads to cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._lock = threading.RLock()
        try:
            where = make_url(url)
            self._engine = _engine(where)
            self._held = _hold(self._engine)
            Base.metadata.create_all(self._engine)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise ConfigError("--store", str(error), FIX) from None
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip()
            fix = IN_USE if "locked" in reason else "check where it is, and who may write there"
            raise ConfigError("--store", f"{where} cannot be opened: {reason}", fix) from error
        found = self.setting("layout", LAYOUT)
        if found != LAYOUT:
            raise ConfigError("--store", f"{where} is of layout {found}, not {LAYOUT}", "begin with another one")

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Everything that is done with the session is done, or nothing if an error is raised."""
        with self._lock, Session(self._engine) as session, session.begin():
            yield session

    def setting(self, key: str, otherwise: str) -> str:
        """What is remembered under a key; `otherwise`, which is remembered from now on, if nothing is."""
        with self.transaction() as session:
            row = session.get(SettingRow, key)
            if row is None:
                row = SettingRow(key=key, value=otherwise)
                session.add(row)
            return row.value

    def remember(self, key: str, value: str) -> None:
        """Remember something under a key."""
        with self.transaction() as session:
            session.merge(SettingRow(key=key, value=value))

    def close(self) -> None:
        """Let go of it."""
        if self._held is not None:
            self._held.close()
        self._engine.dispose()


def _engine(url: URL) -> Engine:
    """A way to the tables.

    Raises:
        ConfigError: it is a kind of database that the tables were never tried in.
    """
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True)
    if url.get_backend_name() != "sqlite":
        raise ConfigError("--store", f"{url.get_backend_name()} is not supported", FIX)
    # One connection, used by one thread at a time: the file stays locked, and memory stays the same memory.
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": 1.0})
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: Any, record: object) -> None:
    for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _hold(engine: Engine) -> Connection | None:
    """A connection whose lock says that the database is in use; a SQLite file is locked as it is.

    Raises:
        ConfigError: another server has that lock.
    """
    if engine.dialect.name != "postgresql":
        return None
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}):
        connection.close()
        raise ConfigError("--store", f"{engine.url} is in use", IN_USE)
    return connection
