"""The secret that api processes and live nodes share: who shows it may use a node's private endpoint."""

import hashlib
import hmac

from pydantic import SecretStr

_PURPOSE = b"live-node"


def node_secret(secret_key: SecretStr) -> str:
    """Made of the key of the whole server, of which it tells nothing. secret_key: as `runtime.load_secret` gives it."""
    return hmac.new(secret_key.get_secret_value().encode(), _PURPOSE, hashlib.sha256).hexdigest()
