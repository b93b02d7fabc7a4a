"""How the worker groups what it takes."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from streams.apply import Record
from streams.worker import batches, by_partition


@given(st.lists(st.integers(0, 30) | st.none(), max_size=40), st.integers(1, 50))
def test_batches_keep_order_and_bound(sizes: list[int | None], limit: int):
    records = [Record(offset, None if size is None else b"x" * size) for offset, size in enumerate(sizes)]
    found = list(batches(records, limit=limit))
    assert [record for batch in found for record in batch] == records
    for batch in found:
        assert batch
        assert len(batch) == 1 or sum(len(record.value or b"") for record in batch) <= limit


def event(partition: int, offset: int) -> SimpleNamespace:
    return SimpleNamespace(
        message=SimpleNamespace(partition=partition, offset=offset, value=b"%d" % offset, timestamp=7.9)
    )


def test_events_are_grouped_by_partition_in_their_order():
    taken = [event(0, 5), event(1, 2), event(0, 6)]
    assert by_partition(taken) == {0: [Record(5, b"5", 7), Record(6, b"6", 7)], 1: [Record(2, b"2", 7)]}
