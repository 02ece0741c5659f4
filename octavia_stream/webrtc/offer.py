"""What an offer of WHIP (RFC 9725) or WHEP (draft-ietf-wish-whep) must be, and what of it is passed on."""

from dataclasses import dataclass
from typing import Literal

from aiortc.sdp import MediaDescription, SessionDescription

from octavia_stream.errors import InvalidRequest, MediaRejected, MediaTooLarge

LARGEST_SDP = 64 * 1024
MOST_CANDIDATES = 50
"""Each makes us send packets to an address that somebody else chose."""
Direction = Literal["ingest", "listen"]
_SENDING = ("sendonly", "sendrecv")
_RECEIVING = ("recvonly", "sendrecv")
_KINDS = ("audio", "video", "application")
_DROPPED = ("a=end-of-candidates",)


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that was looked at."""

    sdp: str
    """Without what cannot help: names of mDNS, and the end of the candidates, for a client behind a router shows its
    address only when it knocks."""
    audio: bool
    video: bool
    data: bool
    ice_ufrag: str


def read_offer(sdp: str, direction: Direction) -> Offer:
    """Check an offer. Raises MediaTooLarge, InvalidRequest (no SDP), MediaRejected (nothing that is done here)."""
    if len(sdp) > LARGEST_SDP:
        raise MediaTooLarge("The offer is too large.")
    sdp = _without_idle_lines(sdp)
    by_kind = _media_by_kind(_parse(sdp))
    audio, video, data = (by_kind.get(kind) for kind in _KINDS)
    if audio is not None:
        _check_audio(audio, direction)
    if direction == "ingest" and audio is None:
        raise MediaRejected("The offer has no sound to send.")
    if audio is None and data is None:
        raise MediaRejected("The offer asks neither for sound nor for a data channel.")
    ufrags = [media.ice.usernameFragment for media in by_kind.values() if media.ice is not None]
    return Offer(sdp, audio is not None, video is not None, data is not None, str(ufrags[0]))


def _parse(sdp: str) -> SessionDescription:
    try:
        return SessionDescription.parse(sdp)
    except (ValueError, LookupError, AttributeError, AssertionError, TypeError, StopIteration) as error:
        # The parser takes what it reads for valid, and trips in many ways over what is not.
        raise InvalidRequest("This is no SDP offer.") from error


def _media_by_kind(description: SessionDescription) -> dict[str, MediaDescription]:
    by_kind: dict[str, MediaDescription] = {}
    for media in description.media:
        if media.kind not in _KINDS:
            raise MediaRejected(f"Nothing is done here with media of the kind '{media.kind[:20]}'.")
        if media.kind in by_kind:
            raise MediaRejected("An offer has at most one audio, one video and one data section.")
        if media.dtls is None or not media.dtls.fingerprints or not _has_credentials(media):
            raise InvalidRequest("The offer lacks ICE credentials or a DTLS fingerprint.")
        by_kind[media.kind] = media
    if not by_kind:
        raise InvalidRequest("The offer has no media.")
    return by_kind


def _has_credentials(media: MediaDescription) -> bool:
    return media.ice is not None and bool(media.ice.usernameFragment and media.ice.password)


def _check_audio(audio: MediaDescription, direction: Direction) -> None:
    asked = audio.direction or "sendrecv"
    if direction == "ingest" and asked not in _SENDING:
        raise MediaRejected("Who speaks offers sound that is 'sendonly'.")
    if direction == "listen" and asked not in _RECEIVING:
        raise MediaRejected("Who listens offers sound that is 'recvonly'.")
    if not any(codec.name.lower() == "opus" for codec in audio.rtp.codecs):
        raise MediaRejected("The offer lacks Opus, the only audio codec that is spoken here.")


def _without_idle_lines(sdp: str) -> str:
    kept = []
    candidates = 0
    for line in sdp.splitlines():
        if line.startswith(_DROPPED):
            continue
        if line.startswith("a=candidate:"):
            candidates += 1
            if candidates > MOST_CANDIDATES or not usable_candidate(line):
                continue
        kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def usable_candidate(line: str) -> bool:
    """Whether a candidate leads anywhere: UDP, and an address instead of a name that only its network knows."""
    words = line.split()
    return len(words) >= 6 and words[2].lower() == "udp" and not words[4].endswith(".local")
