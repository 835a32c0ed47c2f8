"""Designs: a TAG and the programs of its roles, under a name that its user has chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from flame.control.code import split
from flame.control.records import Design, DesignInfo
from flame.control.store import DesignRow, JobRow, Store
from flame.errors import ConfigError, NotFound, Refused
from flame.tag import read


class Designs:
    """The designs of all users."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, user: str, info: DesignInfo) -> None:
        """A new design, without schema and code.

        Raises:
            Refused: the user has one of that id.
            ConfigError: the id can be no part of a path, so that nobody could ask for the design.
        """
        if "/" in info.id or info.id in (".", ".."):
            raise ConfigError("id", f"{info.id!r} can be no part of a path", "leave out the slashes")
        with self._store.transaction() as session:
            if session.get(DesignRow, (user, info.id)) is not None:
                raise Refused(f"duplicate key error: design id {info.id} exists")
            session.add(DesignRow(user_id=user, id=info.id, name=info.name, description=info.description))

    def all(self, user: str) -> list[DesignInfo]:
        """The user's designs, by id."""
        with self._store.transaction() as session:
            rows = session.scalars(select(DesignRow).where(DesignRow.user_id == user).order_by(DesignRow.id))
            return [_info(row) for row in rows]

    def get(self, user: str, design: str) -> Design:
        """One design with its schema."""
        with self._store.transaction() as session:
            row = found(session, user, design)
            return Design(**msgspec.structs.asdict(_info(row)), schema=_schema(row))

    def update(self, user: str, design: str, info: DesignInfo) -> None:
        """Another name and description; the id and the owner stay.

        Raises:
            Refused: the body is of another design.
        """
        if info.id != design:
            raise Refused(f"design id {design} cannot become {info.id!r}: create another design")
        with self._store.transaction() as session:
            row = found(session, user, design)
            row.name, row.description = info.name, info.description

    def delete(self, user: str, design: str, *, force: bool) -> None:
        """Away with a design; jobs that were made from it keep what they need of it.

        Raises:
            Refused: jobs were made from it, and it is not forced.
        """
        with self._store.transaction() as session:
            row = found(session, user, design)
            mine = (JobRow.user_id == user, JobRow.design_id == design)
            count = session.scalar(select(func.count()).select_from(JobRow).where(*mine))
            if count and not force:
                raise Refused(f"design used in job: design id: {design} | jobs count {count}")
            session.delete(row)

    def set_schema(self, user: str, design: str, content: Mapping[str, Any]) -> None:
        """Check a schema and keep it as the design's next revision.

        Raises:
            TagError: it breaks invariants; all of them are told.
        """
        tag = read(content)
        with self._store.transaction() as session:
            row = found(session, user, design)
            row.schema_revision += 1
            row.schema = {**tag.to_dict(), "revision": row.schema_revision}

    def schema(self, user: str, design: str) -> dict[str, Any]:
        """The design's schema.

        Raises:
            NotFound: it has none.
        """
        with self._store.transaction() as session:
            return schema_of(found(session, user, design))

    def delete_schema(self, user: str, design: str) -> None:
        """Away with the schema; the next one goes on counting."""
        with self._store.transaction() as session:
            row = found(session, user, design)
            schema_of(row)
            row.schema = None

    def set_code(self, user: str, design: str, archive: bytes) -> None:
        """Check an archive of role code and keep it as the design's next revision.

        Raises:
            ConfigError: it cannot be unpacked, or not safely.
        """
        split(archive)
        with self._store.transaction() as session:
            row = found(session, user, design)
            row.code_revision += 1
            row.code = archive

    def code(self, user: str, design: str) -> bytes:
        """The archive, byte for byte as it came."""
        with self._store.transaction() as session:
            return code_of(found(session, user, design))

    def delete_code(self, user: str, design: str) -> None:
        """Away with the code; the next one goes on counting."""
        with self._store.transaction() as session:
            row = found(session, user, design)
            code_of(row)
            row.code = None

    def code_revision(self, user: str, design: str) -> int:
        """How often the code has been replaced."""
        with self._store.transaction() as session:
            row = found(session, user, design)
            code_of(row)
            return row.code_revision


def found(session: Session, user: str, design: str) -> DesignRow:
    """A design's row.

    Raises:
        NotFound: the user has no such design.
    """
    row = session.get(DesignRow, (user, design))
    if row is None:
        raise NotFound(f"design id {design} not found")
    return row


def schema_of(row: DesignRow) -> dict[str, Any]:
    """A design's schema, or NotFound."""
    if row.schema is None:
        raise NotFound(f"no design schema found: design id {row.id}")
    return row.schema


def code_of(row: DesignRow) -> bytes:
    """A design's code, or NotFound."""
    if row.code is None:
        raise NotFound(f"no design code found: design id {row.id}")
    return row.code


def _info(row: DesignRow) -> DesignInfo:
    return DesignInfo(id=row.id, user_id=row.user_id, name=row.name, description=row.description)


def _schema(row: DesignRow) -> dict[str, Any]:
    return row.schema or {"revision": 0, "name": "", "roles": [], "channels": []}
