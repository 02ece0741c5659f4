"""Settings for a child process, written as the environment that `octavia_stream.config` reads."""

import json
import os
from collections.abc import Mapping

from pydantic import BaseModel, SecretStr

from octavia_stream.config import Settings

PREFIX = "OCTAVIA_"
OWN_NAMES = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}


def environment_of(settings: Settings, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """`base` (this process's environment) with every octavia-stream variable replaced by these settings."""
    return foreign_environment(base) | {
        OWN_NAMES.get(field, PREFIX + field.upper()): _text(getattr(settings, field))
        for field in type(settings).model_fields
        if getattr(settings, field) is not None
    }


def foreign_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """`base` (this process's environment) without octavia-stream's variables, secrets among them."""
    source = os.environ if base is None else base
    return {
        name: value
        for name, value in source.items()
        if not name.upper().startswith(PREFIX) and name not in OWN_NAMES.values()
    }


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        # As JSON pydantic would write asterisks for the secrets within.
        return json.dumps(value.model_dump(), default=_text)
    return str(value)
