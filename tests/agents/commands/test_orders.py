"""Orders: what is said when the broker does not."""

from __future__ import annotations

import pytest

from tidegate.agents.commands import orders
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import Unreachable


def test_an_order_without_acknowledgement_may_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is no refusal: the record may be there and be obeyed, so nothing else is claimed,
    and how to find out is said."""
    monkeypatch.setattr(orders, "write_acknowledged", lambda *_: "no answer within 10 s")
    order = orders.new_order("ranker", "PROMOTE", "ada", "why not")
    with pytest.raises(Unreachable) as caught:
        orders.write_order(Settings(), order)
    said = str(caught.value)
    assert "Nothing was changed" not in said
    assert f"not known whether the order {order.control_id} was written" in said
    assert "`tidegate events ranker`" in said
