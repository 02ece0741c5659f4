"""The three deployments on a real Ray node, with engines that cost nothing."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from ray import serve
from ray.serve import RunTarget

from deployments import handles
from deployments.app import deployment
from deployments.asr import Asr
from deployments.mt import Mt
from deployments.tts import Tts
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.config import ThreadedReplicaSettings
from octavia_stream.errors import EngineUnavailable, Overloaded, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.testing import (
    NO_LANGUAGE,
    Call,
    Journal,
    ScriptedSynthesizer,
    ScriptedTranscriber,
    ScriptedTranslator,
    silence,
)
from octavia_stream.tts.voice import Voice

pytestmark = pytest.mark.ray

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

EN, PT = Language("en"), Language("pt")
VOICE = Voice("scripted/ana", PT, "female", "scripted")
LONG_S = 30.0
LIMITS = ThreadedReplicaSettings(
    concurrent_calls=1, num_cpus=0.1, max_ongoing_requests=8, max_queued_requests=16, batch_wait_ms=100
)
NARROW = LIMITS.model_copy(update={"max_ongoing_requests": 2, "max_queued_requests": 2})
IMPATIENT = LIMITS.model_copy(update={"stuck_after_s": 1.0})


@pytest.fixture(scope="session")
def journals(ray_home: Path) -> Callable[[str], Journal]:
    return lambda name: Journal(ray_home / f"{name}.jsonl")


@pytest.fixture(scope="session")
async def applications(ray_head: str, journals: Callable[[str], Journal]) -> AsyncIterator[None]:
    """One application per behaviour; all of them start at once."""
    made = {
        "asr": (Asr, LIMITS, partial(ScriptedTranscriber, 0.2, journals("asr").path)),
        "mt": (Mt, LIMITS, partial(ScriptedTranslator, 0.2, journals("mt").path)),
        "tts": (Tts, NARROW, partial(ScriptedSynthesizer, 1.0, journals("tts").path, fail_on="break")),
        "slow": (Tts, LIMITS, partial(ScriptedSynthesizer, LONG_S, journals("slow").path)),
        "stuck": (Tts, IMPATIENT, partial(ScriptedSynthesizer, LONG_S, journals("stuck").path)),
    }
    targets = [
        RunTarget(deployment(shell, "Stage", limits, shutdown_s=1.0).bind(make, limits), name, route_prefix=None)
        for name, (shell, limits, make) in made.items()
    ]
    await asyncio.to_thread(serve.run_many, targets)
    yield
    await serve.shutdown_async()  # type: ignore[no-untyped-call]


def handle(application: str) -> handles.Handle:
    return serve.get_deployment_handle("Stage", application)


async def pid_of(application: str) -> int:
    async with asyncio.timeout(60):
        answer: int = await handles.call(handle(application).options(method_name="pid"), 60.0, "test")
    return answer


def calls(journal: Journal, item: str) -> list[Call]:
    return [call for call in journal.read() if item in call.items]


async def test_chunks_of_different_callers_share_one_call_of_the_model(
    applications: None, journals: Callable[[str], Journal]
) -> None:
    transcriber = handles.HandleTranscriber(handle("asr"), 60.0)
    chunks = [silence(1.0, offset=place * ASR_RATE_HZ) for place in range(6)]

    transcripts = await asyncio.gather(*(transcriber.transcribe(chunk, EN) for chunk in chunks))

    assert [transcript.words[0].start for transcript in transcripts] == [chunk.offset for chunk in chunks]
    assert max(len(call.items) for call in journals("asr").read()) > 1


async def test_a_refused_chunk_does_not_fail_its_neighbours(applications: None) -> None:
    transcriber = handles.HandleTranscriber(handle("asr"), 60.0)
    languages = [EN, NO_LANGUAGE, EN]

    outcomes = await asyncio.gather(
        *(transcriber.transcribe(silence(1.0), language) for language in languages), return_exceptions=True
    )

    assert [type(outcome).__name__ for outcome in outcomes] == ["Transcript", "UnsupportedLanguage", "Transcript"]


async def test_an_error_of_ours_arrives_as_it_was_raised(applications: None) -> None:
    """Ray raises a class of its own making; whoever catches must not need to know."""
    translator = handles.HandleTranslator(handle("mt"), 60.0)

    with pytest.raises(UnsupportedLanguage) as caught:
        await translator.translate(["fox"], EN, NO_LANGUAGE)

    assert type(caught.value) is UnsupportedLanguage
    assert str(caught.value) == "Nothing translates 'zxx'."


async def test_sentences_of_one_pair_share_one_call_and_come_back_in_order(
    applications: None, journals: Callable[[str], Journal]
) -> None:
    translator = handles.HandleTranslator(handle("mt"), 60.0)
    asked = [(["a1", "a2"], PT), (["b1"], Language("es")), (["c1", "c2", "c3"], PT)]

    answers = await asyncio.gather(*(translator.translate(sentences, EN, target) for sentences, target in asked))

    assert [[translation.best.text for translation in answer] for answer in answers] == [
        [f"{target}: {sentence}" for sentence in sentences] for sentences, target in asked
    ]
    assert calls(journals("mt"), "a1") == calls(journals("mt"), "c3")


async def test_speech_crosses_the_border_unharmed(applications: None) -> None:
    speech = await handles.HandleSynthesizer(handle("tts"), 60.0).synthesize("uma raposa", VOICE)

    assert speech.rate_hz == 24_000
    assert speech.length == round(len("uma raposa") / VOICE.characters_per_second * 24_000)
    assert speech.samples.max() > 0.09


async def test_a_full_queue_is_said_at_once(applications: None) -> None:
    synthesizer = handles.HandleSynthesizer(handle("tts"), 60.0)

    outcomes = await asyncio.gather(
        *(synthesizer.synthesize(f"crowd {place}", VOICE) for place in range(10)), return_exceptions=True
    )

    kinds = [type(outcome) for outcome in outcomes]
    assert Overloaded in kinds
    assert all(not isinstance(outcome, BaseException) or type(outcome) is Overloaded for outcome in outcomes)


async def test_a_cancelled_call_is_never_made(
    applications: None, journals: Callable[[str], Journal], eventually: Eventually
) -> None:
    """The second call waits in the replica for the engine's one thread when its caller gives up."""
    synthesizer = handles.HandleSynthesizer(handle("tts"), 60.0)
    first = asyncio.create_task(synthesizer.synthesize("kept", VOICE))
    await eventually(called(journals("tts"), "kept"))
    second = asyncio.create_task(synthesizer.synthesize("dropped", VOICE))
    await asyncio.sleep(0.1)
    second.cancel()

    await first
    await synthesizer.synthesize("afterwards", VOICE)

    assert second.cancelled()
    assert len(calls(journals("tts"), "afterwards")) == 1
    assert calls(journals("tts"), "dropped") == []


async def test_an_engine_that_keeps_breaking_is_replaced(applications: None, eventually: Eventually) -> None:
    synthesizer = handles.HandleSynthesizer(handle("tts"), 60.0)
    before = await pid_of("tts")
    for _ in range(3):
        with pytest.raises(EngineUnavailable, match="broke on this call"):
            await synthesizer.synthesize("break", VOICE)

    await eventually(replaced("tts", before))

    assert (await synthesizer.synthesize("well again", VOICE)).length > 0


async def test_a_late_answer_is_given_up(applications: None) -> None:
    with pytest.raises(EngineUnavailable, match="did not answer within 1 s"):
        await handles.HandleSynthesizer(handle("slow"), 1.0).synthesize("late", VOICE)


async def test_a_killed_replica_fails_its_calls_and_comes_back(
    applications: None, eventually: Eventually, journals: Callable[[str], Journal]
) -> None:
    before = await pid_of("slow")
    call = asyncio.create_task(handles.HandleSynthesizer(handle("slow"), 60.0).synthesize("lost", VOICE))
    started_at = time.monotonic()
    await eventually(called(journals("slow"), "lost"))

    os.kill(before, signal.SIGKILL)
    with pytest.raises(EngineUnavailable):
        await call

    assert time.monotonic() - started_at < LONG_S, "the caller learned of it before the engine could have answered"
    await eventually(replaced("slow", before))
    assert len(calls(journals("slow"), "lost")) <= 1, "nobody but the caller may retry"


async def test_a_replica_whose_engine_hangs_is_replaced(applications: None, eventually: Eventually) -> None:
    before = await pid_of("stuck")

    with pytest.raises(EngineUnavailable):
        await handles.HandleSynthesizer(handle("stuck"), 60.0).synthesize("endless", VOICE)

    await eventually(replaced("stuck", before))


def called(journal: Journal, text: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return bool(calls(journal, text))

    return holds


def replaced(application: str, before: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        try:
            return await pid_of(application) != before
        except EngineUnavailable:
            return False

    return holds
