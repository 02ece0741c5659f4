"""Ids that sort by time."""

from uuid import RFC_4122, UUID

from octavia_stream.database.uuid7 import uuid7


def test_ids_sort_in_the_order_they_were_made() -> None:
    made: list[UUID] = []
    while len(made) < 200:
        one = uuid7()
        if not made or one.int >> 64 != made[-1].int >> 64:  # ids of one quarter of a microsecond are equals
            made.append(one)
    assert sorted(made) == made
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
    assert len(set(made)) == len(made)
