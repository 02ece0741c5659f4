"""With what the api processes show a live node that they are ours."""

import hashlib
import hmac

from pydantic import SecretStr


def node_token(secret_key: SecretStr) -> str:
    """Derived from the key that every process of a server has; good as long as that."""
    return hmac.new(secret_key.get_secret_value().encode(), b"live-node", hashlib.sha256).hexdigest()
