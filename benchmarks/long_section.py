"""A long talk through the server, against the same engines flat out and against the script that a user would write."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import recording
from benchmarks.calls import Call, CallJournal, SynthesizeCall, cpu_s
from benchmarks.figure import Figure, Goal, Section, at_least, at_most, ratio
from benchmarks.flat_out import FlatOut, run_flat_out
from benchmarks.long_talk import LongTalk, long_talk, repeated
from benchmarks.machine import cores
from benchmarks.sequential import Timing
from benchmarks.served import ServedDub, Server, serving
from benchmarks.speed import run_sequential
from benchmarks.talk import DATA
from octavia_stream.config import Settings
from octavia_stream.dubbing.batch import SPEECH_STAGES
from octavia_stream.languages import Language

USUAL_MINUTES = 30.0
OPEN_DUBBING_CPU_S = 2.03
"""CPU seconds that open-dubbing takes for a second of media with the same models, as it was measured for the design."""
LESS_BY = 10
MOST_WARM_UPS = 4


@dataclass(frozen=True, slots=True)
class Regime:
    """A direction, and with it a voice: what a voice costs decides what a dub costs."""

    name: str
    spoken: Language
    target: Language
    voice_decides: bool
    """Whether nearly all of the work is speaking: only then is the rest held to be small beside the models."""

    def when(self, goal: Goal, *, voice_decides: bool) -> Goal | None:
        return goal if self.voice_decides == voice_decides else None


KOKORO = Regime("Kokoro, English into Portuguese", Language("en"), Language("pt"), voice_decides=True)
HIBARI = Regime("hibari, Portuguese into English", Language("pt"), Language("en"), voice_decides=False)
REGIMES = (KOKORO, HIBARI)


async def measure_long(regime: Regime, minutes: float, settings: Settings, directory: Path) -> Section:
    """One talk in one regime."""
    talk = await long_talk(directory, regime.spoken, minutes)
    async with recorded(settings, regime) as (server, journal):
        served = await server.dub(talk.path, directory, server.role, target=regime.target, duration_s=talk.duration_s)
    calls = journal.read()
    journal.clear()
    # The server is down: nobody needs this loop, and nothing else should run.
    flat_out = run_flat_out(calls, settings)
    languages = (regime.spoken, regime.target)
    timing, sequential = run_sequential(talk.path, talk.duration_s, languages, settings, directory)
    others = {
        "server": served.usage.other_cores,
        "lower bound": flat_out.usage.other_cores,
        "sequential script": sequential.other_cores,
    }
    figures = [
        *_talk_figures(talk, served, calls),
        *_wall_figures(regime, served, calls, flat_out, timing),
        *_cpu_figures(regime, talk, served, calls),
    ]
    return Section(f"Long talk: {regime.name}", figures, others)


@asynccontextmanager
async def recorded(settings: Settings, regime: Regime) -> AsyncIterator[tuple[Server, CallJournal]]:
    """A server whose calls are kept, every model of the regime loaded and nothing in the journal yet."""
    serve = settings.serve.model_copy(update={"engines": recording.__name__})
    journal = CallJournal(recording.journal_directory(settings))
    warm_up = DATA / "speech" / "parallel_synthetic" / f"doc1_{regime.spoken}.flac"
    async with serving(settings.model_copy(update={"serve": serve})) as server:
        for _ in range(MOST_WARM_UPS):
            await server.dub(warm_up, settings.home.parent, target=regime.target)
            speaking = {call.cost.pid for call in journal if isinstance(call, SynthesizeCall)}
            if len(speaking) >= settings.serve.tts.min_replicas:
                break
        journal.clear()
        yield server, journal


def _talk_figures(talk: LongTalk, served: ServedDub, calls: Sequence[Call]) -> list[Figure]:
    spoken_s = sum(len(call.speech) / 2 / call.rate_hz for call in calls if isinstance(call, SynthesizeCall))
    return [
        Figure("speech dubbed", talk.duration_s, "s"),
        Figure("sentences", len(served.segments)),
        Figure("of them, said before in the same words", repeated(segment.source for segment in served.segments)),
        Figure("speech made", spoken_s, "s"),
    ]


def _wall_figures(
    regime: Regime, served: ServedDub, calls: Sequence[Call], flat_out: FlatOut, timing: Timing
) -> list[Figure]:
    efficiency = ratio(_model_cpu_s(calls), cores() * served.wall_s)
    bound = regime.when(at_most(1.10), voice_decides=True)
    return [
        Figure("server: wall", served.wall_s, "s"),
        Figure("server: first dubbed sentence after", served.first_segment_s, "s"),
        Figure("flat out: lower bound of wall", flat_out.bound_s, "s"),
        Figure("server / lower bound", ratio(served.wall_s, flat_out.bound_s), "×", bound),
        Figure("server / lower bound in CPU seconds", ratio(served.wall_s, flat_out.cpu_bound_s), "×", bound),
        Figure("server: pipeline efficiency", efficiency, "", regime.when(at_least(0.90), voice_decides=True)),
        Figure("sequential script: wall", timing.wall_s, "s"),
        Figure(
            "sequential script / server",
            ratio(timing.wall_s, served.wall_s),
            "×",
            regime.when(at_least(1.4), voice_decides=True),
        ),
    ]


def _cpu_figures(regime: Regime, talk: LongTalk, served: ServedDub, calls: Sequence[Call]) -> list[Figure]:
    usage = served.usage
    all_s = usage.cpu_s - usage.observing_s
    per_media_s = ratio(all_s, talk.duration_s)
    goal = regime.when(at_most(OPEN_DUBBING_CPU_S / LESS_BY), voice_decides=False)
    minutes = talk.duration_s / 60
    stages = [
        Figure(
            f"CPU of calls per minute of talk: {stage}",
            _model_cpu_s([call for call in calls if call.stage == stage]) / minutes,
            "s",
        )
        for stage in SPEECH_STAGES
    ]
    worker_s = usage.cpu_by_role.get("JobWorker replica", 0.0)
    rest_s = all_s - _model_cpu_s(calls) - worker_s
    return [
        *stages,
        Figure("CPU per minute of talk: job worker and its jailed children", worker_s / minutes, "s"),
        Figure("CPU per minute of talk: Ray, database, api and the rest", rest_s / minutes, "s"),
        Figure("CPU of all processes per second of talk", per_media_s, "s", goal),
        Figure("open-dubbing takes so many times as much", ratio(OPEN_DUBBING_CPU_S, per_media_s), "×"),
    ]


def _model_cpu_s(calls: Sequence[Call]) -> float:
    return cpu_s(call.cost for call in calls)
