"""The schemas of counts name the same statuses, in the order in which deliveries reach them."""

from __future__ import annotations

from service.models import COUNTED
from service.schemas.counts import CountsSchema, PointSchema


def test_counts_and_points_have_the_statuses_in_one_order() -> None:
    total, pending, *counted = CountsSchema().fields
    at, *told = PointSchema().fields
    assert (total, pending, at) == ("total", "pending", "at")
    assert counted == told == [str(status) for status in COUNTED]
