"""Calls of live sessions go before those of jobs in a replica. The shell is used without Ray."""

import asyncio
from pathlib import Path

from deployments.app import deployment_options
from deployments.capacity import LIVE_CALLS, stage_servers
from deployments.tts import Tts
from octavia_stream.config import ServeSettings, ThreadedReplicaSettings
from octavia_stream.languages import Language
from octavia_stream.testing import Journal, ScriptedSynthesizer
from octavia_stream.tts.voice import Voice

VOICE = Voice("scripted/ana", Language("pt"), "female", "scripted")
LIMITS = ThreadedReplicaSettings(max_ongoing_requests=4, concurrent_calls=1)


async def test_a_live_phrase_is_spoken_after_the_sentence_under_way(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    shell = Tts(lambda: ScriptedSynthesizer(0.1, journal), LIMITS)
    jobs = [asyncio.create_task(shell.synthesize(f"job {number}", VOICE)) for number in range(4)]
    async with asyncio.timeout(30):
        while not order(journal):  # noqa: ASYNC110  (the engine has a thread of its own)
            await asyncio.sleep(0.005)
    await shell.synthesize("live", VOICE, live=True)
    await asyncio.gather(*jobs)

    # A job's call may have ended, and the next have begun, just before the live one came.
    assert order(journal).index("live") < 4
    assert sorted(order(journal)) == ["job 0", "job 1", "job 2", "job 3", "live"]


def test_a_replica_takes_live_calls_beside_all_that_jobs_may_send() -> None:
    servers = stage_servers(ServeSettings(tts=LIMITS), calls=LIVE_CALLS)

    assert deployment_options(LIMITS, 1.0, LIVE_CALLS)["max_ongoing_requests"] == 4 + LIVE_CALLS
    assert servers["synthesize"].gate.slots == LIVE_CALLS
    assert stage_servers(ServeSettings(tts=LIMITS))["synthesize"].gate.slots == 4


def order(journal: Path) -> list[str]:
    return [item for call in Journal(journal).read() for item in call.items]
