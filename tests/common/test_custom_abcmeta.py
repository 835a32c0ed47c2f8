"""Attributes that a subclass must set."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import pytest

from flame.common.custom_abcmeta import ABCMeta, abstract_attribute


class Base(metaclass=ABCMeta):
    @abstract_attribute
    def model(self) -> Any:
        """What is trained."""

    @abstract_attribute
    def config(self) -> Any:
        """Its settings."""

    @abstractmethod
    def train(self) -> None: ...


class Role(Base):
    def __init__(self, *names: str) -> None:
        for name in names:
            setattr(self, name, None)

    def train(self) -> None:
        pass


class WithModel(Role):
    model = "shared"


def test_none_will_do() -> None:
    assert Role("config", "model").config is None


def test_unset_attributes_are_named_in_order() -> None:
    text = r"^Can't instantiate abstract class Role with abstract attributes: config, model$"
    with pytest.raises(NotImplementedError, match=text):
        Role()
    with pytest.raises(NotImplementedError, match=r"attributes: model$"):
        Role("config")


def test_an_attribute_of_the_subclass_counts() -> None:
    assert WithModel("config").model == "shared"
    with pytest.raises(NotImplementedError, match=r"class WithModel with abstract attributes: config$"):
        WithModel()


def test_a_property_of_the_subclass_counts_even_if_it_fails_so_early() -> None:
    class Late(Role):
        @property
        def model(self) -> Any:
            raise AttributeError("not yet")

    Late("config")


def test_abstract_methods_still_count() -> None:
    with pytest.raises(TypeError, match="train"):
        Base()  # type: ignore[abstract]
