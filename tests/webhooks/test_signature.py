"""Whoever has the secret can tell our messages from others: proved with the official library."""

import json
import time
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from octavia_stream.webhooks.deliverer import JITTER, RETRIES_S, pause_after
from octavia_stream.webhooks.signature import new_secret, signed_headers

BODY = b'{"type":"ping"}'


def test_the_official_library_verifies_our_messages_with_either_secret_while_one_replaces_the_other() -> None:
    old, new = new_secret(), new_secret()
    headers = signed_headers([new, old], uuid4(), int(time.time()), BODY)
    for secret in (old, new):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)


@pytest.mark.parametrize("part", ["body", "webhook-id", "webhook-timestamp", "secret"])
def test_nothing_of_a_message_can_be_changed(part: str) -> None:
    secret = new_secret()
    headers = signed_headers([secret], uuid4(), int(time.time()), BODY)
    body = BODY + b" " if part == "body" else BODY
    if part in headers:
        headers[part] = headers[part][:-1] + ("1" if headers[part][-1] != "1" else "2")
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret() if part == "secret" else secret).verify(body, headers)


def test_pauses_grow_differ_and_end() -> None:
    for tries, pause_s in enumerate(RETRIES_S, start=1):
        assert pause_after(tries, lambda: 0.0) == pytest.approx(pause_s * (1 - JITTER))
        assert pause_after(tries, lambda: 1.0) == pytest.approx(pause_s * (1 + JITTER))
    assert pause_after(len(RETRIES_S) + 1) is None
