"""What the latency a session asks for means."""

from collections.abc import Mapping

from octavia_stream.live.hearing import HearingOptions
from octavia_stream.live.options import Latency
from octavia_stream.live.phrasing import PhrasingOptions

PATIENCE: Mapping[Latency, HearingOptions] = {
    "low": HearingOptions(every_s=0.35, silence_ms=250, phrasing=PhrasingOptions(clause_words=3, longest_s=1.2)),
    "balanced": HearingOptions(every_s=0.5, silence_ms=320, phrasing=PhrasingOptions(clause_words=3, longest_s=1.6)),
    "quality": HearingOptions(every_s=0.8, silence_ms=500, phrasing=PhrasingOptions(clause_words=5, longest_s=4.0)),
}
