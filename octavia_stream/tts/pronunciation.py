"""Words that are spoken otherwise than they are written."""

import re
from collections.abc import Mapping

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.tts.synthesizer import Synthesizer
from octavia_stream.tts.voice import Voice


class Pronouncing:
    """`Synthesizer` that is given another spelling of some words; whoever reads the text never sees it."""

    def __init__(self, synthesizer: Synthesizer, spoken: Mapping[str, str]) -> None:
        """spoken: as written → as a voice of the language would spell it."""
        self._synthesizer = synthesizer
        self._spoken = {written.casefold(): said for written, said in spoken.items()}
        longest_first = sorted(spoken, key=len, reverse=True)
        self._pattern = re.compile("|".join(rf"(?<!\w){re.escape(one)}(?!\w)" for one in longest_first), re.IGNORECASE)

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """As `Synthesizer.synthesize`."""
        respelled = self._pattern.sub(lambda match: self._spoken.get(match[0].casefold(), match[0]), text)
        return await self._synthesizer.synthesize(respelled, voice, speed)
