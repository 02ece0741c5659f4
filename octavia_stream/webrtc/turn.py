"""TURN credentials that expire by themselves, as coturn checks them with `use-auth-secret`.

draft-uberti-behave-turn-rest-00: the name says until when, the password is its HMAC-SHA1 under a shared secret.
"""

import base64
import hashlib
import hmac
import time

import msgspec

from octavia_stream.config import LiveSettings


class IceServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `iceServers`, as browsers take it."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


def ice_servers(settings: LiveSettings, client: str, now: float | None = None) -> list[IceServer]:
    """The servers for one client, whose name TURN's logs show; with credentials that are good from now on."""
    servers = [IceServer(settings.stun_urls)] if settings.stun_urls else []
    if settings.turn_urls and settings.turn_secret is not None:
        expires = round(time.time() if now is None else now) + settings.turn_credentials_s
        username = f"{expires}:{client}"
        secret = settings.turn_secret.get_secret_value().encode()
        digest = hmac.new(secret, username.encode(), hashlib.sha1).digest()
        servers.append(IceServer(settings.turn_urls, username, base64.b64encode(digest).decode()))
    return servers
