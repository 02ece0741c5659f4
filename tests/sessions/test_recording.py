"""What was said in a live session becomes a file: whole, in order, once, and gone when it should be."""

import io
import wave
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import numpy as np
import pytest

from octavia_stream.accounts.removal import Removal
from octavia_stream.accounts.standing import Grant
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.audit.stored import orphans
from octavia_stream.errors import Conflict, NotFound
from octavia_stream.languages import Language
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.runtime import Runtime
from octavia_stream.sessions.recorder import Recorder, recording_prefix
from octavia_stream.sessions.recording import Recordings, expire
from octavia_stream.sessions.session import LiveSession
from octavia_stream.storage.objects import ObjectStore
from octavia_stream.testing import tone
from octavia_stream.uploads.upload import Upload

pytestmark = pytest.mark.services

RECORDED = LiveOptions(targets=(LiveTarget(Language("pt")),), record=True)


class Clock:
    """Says what it is told to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def spoken(session: LiveSession, objects: ObjectStore) -> None:
    """Ana speaks for 12 s from 5 s on; Rui for 3 s, beginning 4 s after her; then she again, from 20 s on."""
    clock = Clock((session.id.int >> 80) / 1000)
    began = clock.now
    recorder = Recorder(session.id, objects, clock)
    for second in range(12):
        clock.now = began + 6 + second
        recorder.push("ana", second * ASR_RATE_HZ, tone(1.0, ASR_RATE_HZ, 200.0, 0.2).samples)
        if 4 <= second < 7:
            recorder.push("rui", (second - 4) * ASR_RATE_HZ, tone(1.0, ASR_RATE_HZ, 200.0, 0.2).samples)
    clock.now = began + 21
    # Her connection was lost; the room counts on from what it has heard.
    recorder.push("ana", 13 * ASR_RATE_HZ, tone(1.0, ASR_RATE_HZ, 200.0, 0.2).samples)
    recorder.finish()
    await recorder.run()


async def session_of(runtime: Runtime, options: LiveOptions = RECORDED, *, over: bool = True) -> LiveSession:
    owner = (await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "correct horse battery")).id
    session, _ = await runtime.live.create(owner, options, Grant(owner))
    await spoken(session, runtime.objects)
    if over:
        await runtime.live.end_now(session.id, "closed")
    return await runtime.live.get(session.id)


async def heard(runtime: Runtime, upload: Upload) -> tuple[int, np.ndarray]:
    with wave.open(io.BytesIO(await runtime.objects.get(upload.key))) as file:
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")


async def parts(runtime: Runtime, session_id: UUID) -> int:
    return len([one async for one in runtime.objects.list(recording_prefix(session_id))])


async def test_all_speakers_are_in_it_at_their_times(runtime: Runtime) -> None:
    session = await session_of(runtime)
    upload = await Recordings(runtime).upload(session, session.owner_id)
    rate_hz, samples = await heard(runtime, upload)
    loud = np.abs(samples[: 16 * rate_hz].reshape(-1, rate_hz).astype(int)).max(axis=1)

    assert (rate_hz, len(samples)) == (ASR_RATE_HZ, 16 * ASR_RATE_HZ)
    alone, together = round(0.2 * 32767), round(0.4 * 32767)
    assert loud.tolist() == pytest.approx([alone] * 4 + [together] * 3 + [alone] * 5 + [0] * 3 + [alone], abs=2)
    assert msgspec.to_builtins(upload.media_info)["duration_s"] == pytest.approx(16.0)


async def test_however_often_it_is_asked_for_there_is_one(runtime: Runtime) -> None:
    session = await session_of(runtime)
    first = await Recordings(runtime).upload(session, session.owner_id)
    again = await Recordings(runtime).upload(session, session.owner_id)

    assert again.id == first.id
    assert len(await runtime.uploads.list_uploads(session.owner_id, 10)) == 1
    await Removal(runtime.pool, runtime.jobs, runtime.objects).remove_objects()
    assert await parts(runtime, session.id) == 0


async def test_one_that_goes_on_or_was_not_recorded_has_none(runtime: Runtime) -> None:
    going_on = await session_of(runtime, over=False)
    with pytest.raises(Conflict, match="goes on"):
        await Recordings(runtime).upload(going_on, going_on.owner_id)
    silent = await session_of(runtime, msgspec.structs.replace(RECORDED, record=False))
    with pytest.raises(NotFound, match="not recorded"):
        await Recordings(runtime).upload(silent, silent.owner_id)


async def test_its_parts_go_with_their_time_or_their_owner_and_are_no_orphans_before(runtime: Runtime) -> None:
    session, other = await session_of(runtime), await session_of(runtime)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert not [one async for one in orphans(runtime.pool, runtime.objects, soon) if str(session.id) in one.key]

    await runtime.pool.execute("update live_session set ended_at = now() - interval '3 days' where id = $1", session.id)
    await expire(runtime.pool, 2)
    removal = Removal(runtime.pool, runtime.jobs, runtime.objects)
    await removal.remove_account(other.owner_id)
    await removal.remove_objects()

    assert [await parts(runtime, one.id) for one in (session, other)] == [0, 0]
    with pytest.raises(NotFound, match="gone"):
        await Recordings(runtime).upload(session, session.owner_id)
