"""Orders, updates and values, there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_values import same, values, weights

from flame.errors import EncodeError
from flame.wire.keys import MessageType
from flame.wire.message import Order, Update, Value, read

numbers = st.integers(0, 2**40)
extras = st.dictionaries(st.sampled_from(["fedprox", "oort", "scaffold"]), values, max_size=2)
orders = st.builds(Order, numbers, st.none() | weights, st.booleans(), extras)
updates = st.builds(Update, st.none() | weights, numbers, numbers, extras)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(orders | updates | st.builds(Value, values))
def test_there_and_back(record):
    payload = record.to_payload(keys=MessageType)
    for back in (read(payload, keys=MessageType), type(record).from_payload(payload, keys=MessageType)):
        assert type(back) is type(record)
        for field in record.__struct_fields__:
            assert same(getattr(back, field), getattr(record, field))


@pytest.mark.parametrize("record", [Order(1), Update(None, 0, 1), Value(1)], ids=str)
def test_a_record_cannot_be_changed(record):
    with pytest.raises(AttributeError):
        record.round = 2
    with pytest.raises(AttributeError):
        record.more = 2


def test_extras_are_not_shared_by_default():
    assert Order(1).extras == {} and Order(1).extras is not Order(2).extras


def test_what_may_not_be_sent_is_named_by_its_field():
    with pytest.raises(EncodeError, match=r"^extras\['stats'\]\[3\]: a builtins.set may not be sent"):
        Order(1, None, False, {"stats": [1, 2, 3, {4}]}).to_payload()
    with pytest.raises(EncodeError, match=r"^value\['model'\]: a builtins.object may not be sent"):
        Value({"model": object()}).to_payload()


def test_what_a_receiver_would_refuse_is_refused_by_the_sender():
    for record in (Order(-1), Update(None, -1, 0), Update(None, np.int64(3), 1), Order(1, None, 1)):
        with pytest.raises(EncodeError, match="may not stand here"):
            record.to_payload()
