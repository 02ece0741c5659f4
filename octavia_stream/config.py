"""Settings: frozen values, built once from the environment and passed in slices.

The only reader of the environment. Names: `OCTAVIA_` + section + `__` + field, such as
`OCTAVIA_API__PORT=8080`; `DATABASE_URL` and `REDIS_URL` keep the names everybody knows.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_home() -> Path:
    """Where state lives. Root gets a place that other users can traverse: Postgres refuses to run as root."""
    if os.geteuid() == 0:
        return Path("/var/lib/octavia-stream")
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "octavia-stream"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ApiSettings(_Section):
    """The HTTP door."""

    host: str = "127.0.0.1"
    port: int = 8000
    access_token_minutes: int = 60
    max_upload_bytes: int = 5 * 1024**3
    public_url: str | None = None


class MediaSettings(_Section):
    """What files are accepted, and how much a jailed child may use."""

    max_duration_s: int = 4 * 3600
    max_streams: int = 64
    max_width: int = 8192
    max_height: int = 8192
    jail_memory_bytes: int = 2 * 1024**3
    jail_cpu_s: int = 7200
    require_jail: bool = False
    """Refuse to open media at all when no jail stronger than rlimits is available."""


class ModelSettings(_Section):
    """Which models run, and on what."""

    asr: str = "whisper-base"
    """Catalogue id of the ASR model."""
    mt: tuple[str, ...] = ()
    """Catalogue ids of translation models to prefer, best first; others follow in the catalogue's order."""
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: str = "int8"
    threads: int = 1
    """Per replica. Replicas times threads should not exceed the cores."""
    allow_noncommercial: bool = False
    cache_dir: Path | None = None
    """Joined and converted models; None takes `models/` below home."""
    directories: dict[str, Path] = {}
    """Catalogue id → directory that overrides where the model comes from."""
    offline: bool = True
    """Never ask a model hub. `octavia models pull` does so on request."""


class ReplicaSettings(_Section):
    """How many replicas of one deployment, and what each may take."""

    min_replicas: int = 1
    max_replicas: int = 1
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    max_ongoing_requests: int = 4
    max_queued_requests: int = 64
    max_batch_size: int = 8
    batch_wait_ms: int = 20
    deadline_s: float = 300.0
    """How long a caller waits for one answer, waiting in queues included."""
    stuck_after_s: float = 120.0
    """A replica whose engine works longer than this on one call is replaced."""


class ServeSettings(_Section):
    """The Ray Serve application."""

    engines: str = "octavia_stream.installed"
    """Import path of the module that makes the engines: its functions `transcriber`, `translator` and
    `synthesizer` each take the Settings. `octavia_stream.testing` makes engines that cost nothing."""
    asr: ReplicaSettings = ReplicaSettings(num_cpus=0.2)
    mt: ReplicaSettings = ReplicaSettings(num_cpus=0.1, max_batch_size=32)
    tts: ReplicaSettings = ReplicaSettings(min_replicas=2, max_replicas=2, num_cpus=0.7, max_ongoing_requests=2)
    worker: ReplicaSettings = ReplicaSettings(num_cpus=0.1, max_ongoing_requests=16)
    ray_address: str | None = None
    """Join this cluster; None lets `octavia serve` start a node of its own."""


class WorkerSettings(_Section):
    """The JobWorker."""

    concurrent_jobs: int = 4
    lease_s: float = 10.0
    heartbeat_s: float = 2.0
    poll_s: float = 1.0
    chunk_attempts: int = 3
    window_chunks: int = 4
    """Chunks of one job in flight at once: the bound on memory."""


class BillingSettings(_Section):
    """Credits. Off, everything is free and nothing is counted."""

    enabled: bool = False
    free_credits: int = Field(default=100, ge=0)
    """What a new account is given."""
    pricing: Path | None = None
    """A file of prices; None takes the one of the package, `billing/pricing.toml`."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="OCTAVIA_",
        env_nested_delimiter="__",
        # One variable changes one field; the section's other defaults stay.
        nested_model_default_partial_update=True,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
    )

    home: Path = Field(default_factory=default_home)
    database_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    """None starts the embedded Postgres."""
    redis_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("REDIS_URL", "redis_url"))
    """None starts the embedded Valkey."""
    storage_url: str | None = None
    """`file:///path`, `s3://bucket/prefix`; None takes `objects/` below home."""
    secret_key: SecretStr | None = None
    """Signs tokens; None makes one and keeps it in home."""
    log_format: Literal["console", "json"] = "console"
    api: ApiSettings = ApiSettings()
    media: MediaSettings = MediaSettings()
    models: ModelSettings = ModelSettings()
    serve: ServeSettings = ServeSettings()
    worker: WorkerSettings = WorkerSettings()
    billing: BillingSettings = BillingSettings()
