"""Addresses at which a bucket itself answers, for a while: AWS Signature Version 4 in the query.

obstore signs too, but not the headers of the answer, which carry the file's name and type.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

LONGEST_S = 7 * 86_400
"""What S3 allows."""


@dataclass(frozen=True, slots=True)
class Presigner:
    """Signs reads of one bucket."""

    endpoint: str
    """Where the bucket's service answers, such as `https://s3.eu-west-1.amazonaws.com`."""
    bucket: str
    prefix: str
    """Of every key; empty or without slashes around it."""
    region: str
    access_key_id: str
    secret_access_key: str

    def url(self, key: str, seconds: int, answer: Mapping[str, str], now: datetime | None = None) -> str:
        """An address of this object that is good for `seconds`. answer: headers that the bucket shall answer with."""
        at = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{at[:8]}/{self.region}/s3/aws4_request"
        path = "/" + "/".join(quote(part, safe="") for part in (self.bucket, *self._segments(key)))
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key_id}/{scope}",
            "X-Amz-Date": at,
            "X-Amz-Expires": str(min(seconds, LONGEST_S)),
            "X-Amz-SignedHeaders": "host",
            **{f"response-{name.lower()}": value for name, value in answer.items()},
        }
        asked = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
        host = urlsplit(self.endpoint).netloc
        request = "\n".join(("GET", path, asked, f"host:{host}\n", "host", "UNSIGNED-PAYLOAD"))
        to_sign = "\n".join(("AWS4-HMAC-SHA256", at, scope, hashlib.sha256(request.encode()).hexdigest()))
        signature = hmac.new(self._key(at[:8]), to_sign.encode(), hashlib.sha256).hexdigest()
        return f"{self.endpoint.rstrip('/')}{path}?{asked}&X-Amz-Signature={signature}"

    def _segments(self, key: str) -> list[str]:
        return [part for part in (*self.prefix.split("/"), *key.split("/")) if part]

    def _key(self, day: str) -> bytes:
        signed = f"AWS4{self.secret_access_key}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            signed = hmac.new(signed, part.encode(), hashlib.sha256).digest()
        return signed
