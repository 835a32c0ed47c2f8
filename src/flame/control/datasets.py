"""Datasets: addresses, and where the tasks that read them run."""

from __future__ import annotations

import secrets

from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from flame.control.computes import place
from flame.control.records import Dataset
from flame.control.store import DatasetRow, Store
from flame.errors import NotFound, Refused

_FIELDS = ("id", "user_id", "name", "description", "url", "data_format", "realm", "compute_id", "is_public")


class Datasets:
    """The datasets of all users."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, user: str, dataset: Dataset) -> str:
        """Register a dataset; its new id.

        Raises:
            Refused: the user has registered that address before, or there is no compute for its realm.
        """
        dataset_id = secrets.token_hex(12)
        with self._store.transaction() as session:
            _put(session, user, dataset_id, dataset)
        return dataset_id

    def update(self, user: str, dataset_id: str, dataset: Dataset) -> None:
        """Describe a dataset anew; its id and owner stay, and its compute is found again."""
        with self._store.transaction() as session:
            _found(session, user, dataset_id)
            _put(session, user, dataset_id, dataset)

    def all(self, user: str | None) -> list[Dataset]:
        """A user's datasets; of None, all that are public."""
        which = DatasetRow.is_public if user is None else DatasetRow.user_id == user
        with self._store.transaction() as session:
            rows = session.scalars(select(DatasetRow).where(which).order_by(DatasetRow.id))
            return [Dataset(**{name: getattr(row, name) for name in _FIELDS}) for row in rows]

    def delete(self, user: str, dataset_id: str) -> None:
        """Away with a dataset; jobs that were made with it go on."""
        with self._store.transaction() as session:
            session.delete(_found(session, user, dataset_id))


def _put(session: Session, user: str, dataset_id: str, dataset: Dataset) -> None:
    same_url = select(DatasetRow.id).where(DatasetRow.user_id == user, DatasetRow.url == dataset.url)
    if session.scalar(same_url) not in (None, dataset_id):
        raise Refused(f"duplicate key error: url {dataset.url} is registered")
    realm, compute = place(session, dataset.realm, public=dataset.is_public)
    told = replace(dataset, id=dataset_id, user_id=user, realm=realm, compute_id=compute)
    session.merge(DatasetRow(**{name: getattr(told, name) for name in _FIELDS}))


def _found(session: Session, user: str, dataset_id: str) -> DatasetRow:
    row = session.get(DatasetRow, dataset_id)
    if row is None or row.user_id != user:
        raise NotFound(f"dataset id {dataset_id} not found")
    return row


def usable(session: Session, user: str, dataset_id: str) -> DatasetRow:
    """A dataset that a user's job may read: their own, or a public one.

    Raises:
        NotFound: there is none.
    """
    row = session.get(DatasetRow, dataset_id)
    if row is None or (row.user_id != user and not row.is_public):
        raise NotFound(f"dataset {dataset_id} - no document found")
    return row
