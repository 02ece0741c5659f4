"""Talk: the speech that is dubbed, with the words that are spoken in it."""

import csv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sound import Track, read_track, write_wav

DATA = Path(__file__).parents[1] / "tests" / "data"
WARM_UP = DATA / "speech" / "parallel_synthetic" / "doc1_en.flac"
VIDEO = DATA / "video" / "softcatala_english.mp4"
SENTENCES = DATA / "text" / "ntrex_en_pt.tsv"
_TALK = DATA / "speech" / "en" / "lj_printing_4min.flac"
_EXCERPT_S = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """English speech in a file."""

    path: Path
    words: str
    """What is said in it."""
    track: Track

    @property
    def duration_s(self) -> float:
        return self.track.length / self.track.rate_hz


async def whole_talk() -> Talk:
    """Four minutes, one reader."""
    return Talk(_TALK, _TALK.with_suffix(".txt").read_text(encoding="utf-8"), await read_track(_TALK))


async def excerpt(directory: Path) -> Talk:
    """The first minute of it, cut between two utterances and written into `directory`."""
    with _TALK.with_suffix(".segments.tsv").open(encoding="utf-8", newline="") as file:
        spoken = [row for row in csv.DictReader(file, delimiter="\t") if float(row["end"]) < _EXCERPT_S]
    track = await read_track(_TALK)
    path = directory / "excerpt.wav"
    write_wav(path, track.sound.cut(0, round((float(spoken[-1]["end"]) + 0.2) * track.rate_hz)))
    return Talk(path, " ".join(row["text"] for row in spoken), await read_track(path))


def parallel_sentences(limit: int | None) -> tuple[list[str], list[str]]:
    """English news sentences and what a person from Brazil made of them."""
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:limit]
    return [row["en"] for row in rows], [row["pt_BR"] for row in rows]
