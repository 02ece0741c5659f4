"""Cross-origin requests: which pages of other sites may use this server from a browser. None, until it is set.

There are no cookies here, so nothing is done on a user's behalf that a page did not show a token for; that is also
why there is nothing to forge (CSRF). Credentials mode is never allowed.
"""

from litestar.config.cors import CORSConfig

from octavia_stream.config import ApiSettings

_TUS_HEADERS = ["Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Checksum"]
SENT = [
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "If-Range"),
    *("Last-Event-ID", "Range", "X-HTTP-Method-Override", "X-Request-ID", "Upload-Defer-Length", "Upload-Concat"),
    *_TUS_HEADERS,
]
"""Request headers that a page may set."""
SHOWN = [
    *("Accept-Post", "Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "Link", "Location", "RateLimit"),
    *("RateLimit-Policy", "Retry-After", "X-Request-ID", "Upload-Expires", "Tus-Version", "Tus-Extension"),
    *("Tus-Max-Size", "Tus-Checksum-Algorithm"),
    *_TUS_HEADERS,
]
"""Response headers that a page may read, beside the harmless ones."""
PREFLIGHT_S = 600


def cors_config(settings: ApiSettings) -> CORSConfig | None:
    """None: pages of other sites get no answer that a browser would show them."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        allow_headers=SENT,
        expose_headers=SHOWN,
        allow_credentials=False,
        max_age=PREFLIGHT_S,
    )
