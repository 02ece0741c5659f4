"""Candidates that come after the offer: `application/trickle-ice-sdpfrag` (RFC 8840), as WHIP's PATCH carries it."""

from dataclasses import dataclass

from octavia_stream.errors import InvalidRequest
from octavia_stream.webrtc.offer import LARGEST_SDP, usable_candidate


@dataclass(frozen=True, slots=True)
class Fragment:
    """One PATCH."""

    ice_ufrag: str | None
    candidates: tuple[str, ...]
    """Without their `a=candidate:`."""


def read_fragment(text: str) -> Fragment:
    """Raises InvalidRequest for what is no fragment."""
    if len(text) > LARGEST_SDP:
        raise InvalidRequest("The fragment is too large.")
    ufrag = None
    candidates = []
    for line in text.splitlines():
        if not line:
            continue
        if len(line) < 3 or line[1] != "=":
            raise InvalidRequest("This is no SDP fragment.")
        name, _, value = line[2:].partition(":")
        if name == "ice-ufrag":
            ufrag = value.strip()
        elif name == "candidate" and usable_candidate(line):
            candidates.append(value.strip())
    return Fragment(ufrag, tuple(candidates))
