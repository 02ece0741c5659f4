"""The jitter buffer, with a clock that the tests turn."""

import random

from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.webrtc.jitter_buffer import LONGEST_LEAP, PATIENCE_S, Gap, JitterBuffer, Packet, Piece, Sound

FRAME = 960
FRAME_S = 0.02


def packet(number: int, first: int = 1000, begin: int = 5000, source: int = 7) -> Packet:
    """The n-th of 20 ms; its payload says which it is."""
    sequence, timestamp = (first + number) % 2**16, (begin + number * FRAME) % 2**32
    return Packet(sequence, timestamp, str(number).encode(), FRAME, source)


def play(buffer: JitterBuffer, arrivals: list[tuple[float, Packet]]) -> list[Piece]:
    """Push packets at their moments, ask in between when the buffer wants it, and flush."""
    pieces: list[Piece] = []
    for moment, came in sorted(arrivals, key=lambda arrival: arrival[0]):
        while (deadline := buffer.deadline) is not None and deadline <= moment:
            pieces += buffer.due(deadline)
        pieces += buffer.push(came, moment)
    return pieces + buffer.flush()


def numbers(pieces: list[Piece]) -> list[int]:
    return [int(piece.payload) for piece in pieces if isinstance(piece, Sound)]


def length(pieces: list[Piece]) -> int:
    return sum(piece.samples - (piece.skip if isinstance(piece, Sound) else 0) for piece in pieces)


def test_packets_in_order_go_out_at_once_after_the_first() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0), 0.0)
    buffer.due(PATIENCE_S)

    for number in range(1, 20):
        assert numbers(buffer.push(packet(number), PATIENCE_S + number * FRAME_S)) == [number]
    assert buffer.deadline is None


def test_a_missing_packet_is_waited_for_and_then_a_gap() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0), 0.0)
    buffer.due(1.0)

    assert buffer.push(packet(2), 1.02) == []
    assert buffer.due(1.02 + PATIENCE_S / 2) == []
    assert buffer.due(1.02 + PATIENCE_S) == [Gap(FRAME, lost=True), Sound(b"2", FRAME)]
    assert buffer.counts.lost == 1


def test_a_late_packet_is_dropped_and_counted() -> None:
    buffer = JitterBuffer()
    pieces = play(buffer, [(0.0, packet(0)), (0.04, packet(2)), (0.06, packet(3)), (0.5, packet(1))])

    assert numbers(pieces) == [0, 2, 3]
    assert buffer.counts.late == 1


def test_silence_that_was_never_sent_is_not_lost_and_not_waited_for() -> None:
    """DTX: the next number, a later timestamp."""
    buffer = JitterBuffer()
    buffer.push(packet(0), 0.0)
    buffer.due(1.0)
    later = Packet(1001, 5000 + 20 * FRAME, b"20", FRAME, 7)

    assert buffer.push(later, 1.4) == [Gap(19 * FRAME, lost=False), Sound(b"20", FRAME)]


def test_numbers_and_timestamps_may_wrap() -> None:
    arrivals = [(n * FRAME_S, packet(n, first=2**16 - 3, begin=2**32 - 2 * FRAME)) for n in range(10)]
    buffer = JitterBuffer()

    assert numbers(play(buffer, arrivals)) == list(range(10))
    assert buffer.counts.lost == 0


def test_another_source_goes_on_after_the_time_that_passed() -> None:
    buffer = JitterBuffer()
    before = [(n * FRAME_S, packet(n)) for n in range(5)]
    after = [(2.0 + n * FRAME_S, packet(n, first=9, begin=77, source=8)) for n in range(5)]
    pieces = play(buffer, before + after)

    assert numbers(pieces) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert abs(length(pieces) - round((2.0 + 5 * FRAME_S) * 48_000)) <= FRAME
    assert buffer.counts.timelines == 2


def test_a_leap_of_hours_is_no_gap_of_hours() -> None:
    buffer = JitterBuffer()
    pieces = play(
        buffer, [(0.0, packet(0)), (0.02, packet(1)), (0.04, packet(2, begin=2**31)), (0.06, packet(3, begin=2**31))]
    )

    assert numbers(pieces) == [0, 1, 2, 3]
    assert length(pieces) <= 5 * FRAME


def test_frames_that_overlap_what_went_out_are_cut() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0), 0.0)
    buffer.due(1.0)

    assert buffer.push(Packet(1001, 5000 + FRAME // 2, b"1", FRAME, 7), 1.0) == [Sound(b"1", FRAME, FRAME // 2)]


def test_what_waits_is_bounded() -> None:
    buffer = JitterBuffer(capacity=8)
    buffer.push(packet(0), 0.0)
    buffer.due(1.0)
    pieces = [piece for number in range(2, 12) for piece in buffer.push(packet(number), 1.0)]

    assert numbers(pieces) == list(range(2, 12))


@given(
    count=st.integers(1, 80),
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.05, 0.2, 0.6]),
    first=st.integers(0, 2**16 - 1),
    begin=st.integers(0, 2**32 - 1),
)
def test_the_timeline_is_the_senders_whatever_is_lost_doubled_or_late(
    count: int, seed: int, loss: float, first: int, begin: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    sent = [packet(number, first, begin) for number in range(count)]
    kept = [(n * FRAME_S, each) for n, each in enumerate(sent) if n in (0, count - 1) or chance.random() >= loss]
    doubled = [(moment + chance.random() * 0.3, each) for moment, each in kept if chance.random() < 0.2]
    buffer = JitterBuffer()
    pieces = play(buffer, kept + doubled)

    heard = numbers(pieces)
    assert heard == sorted(set(heard))
    assert heard == [int(each.payload) for _, each in kept]
    assert length(pieces) == count * FRAME
    assert buffer.counts.lost == count - len(kept)


@given(count=st.integers(2, 60), seed=st.integers(0, 2**32))
def test_packets_that_overtake_each_other_within_the_patience_lose_nothing(count: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    delayed = [(n * FRAME_S + chance.random() * PATIENCE_S * 0.95, packet(n)) for n in range(count)]
    pieces = play(JitterBuffer(), delayed)

    assert numbers(pieces) == list(range(count))


@given(
    st.lists(
        st.tuples(
            st.floats(0, 100),
            st.builds(
                Packet,
                st.integers(0, 2**16 - 1),
                st.integers(0, 2**32 - 1),
                st.just(b"0"),
                st.sampled_from([120, 480, FRAME, 5760]),
                st.integers(0, 2),
            ),
        ),
        max_size=30,
    )
)
def test_whatever_comes_the_buffer_neither_fails_nor_stalls_nor_makes_up_hours(
    arrivals: list[tuple[float, Packet]],
) -> None:
    buffer = JitterBuffer()
    pieces = play(buffer, arrivals)

    assert buffer.deadline is None
    assert all(piece.samples > 0 for piece in pieces)
    assert all(piece.samples <= LONGEST_LEAP + 5760 for piece in pieces)
    sounds = sum(isinstance(piece, Sound) for piece in pieces)
    assert sounds + buffer.counts.late == len(arrivals)
