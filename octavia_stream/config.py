"""Settings: frozen values, built once from the environment and passed in slices.

The only reader of the environment. Names: `OCTAVIA_` + section + `__` + field, such as
`OCTAVIA_API__PORT=8080`; `DATABASE_URL` and `REDIS_URL` keep the names everybody knows.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, IPvAnyNetwork, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from octavia_stream.crash_points import CrashPoint


def default_home() -> Path:
    """Where state lives. Root gets a place that other users can traverse: Postgres refuses to run as root."""
    if os.geteuid() == 0:
        return Path("/var/lib/octavia-stream")
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "octavia-stream"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:[0-9]+)?$")]
"""As browsers write it: no path, small letters, no `*`."""


class ApiSettings(_Section):
    """The HTTP door."""

    host: str = "127.0.0.1"
    """Address the api listens on; loopback unless something in front of it speaks TLS."""
    port: int = 8000
    """Port of the api; 0 takes a free one."""
    access_token_minutes: int = 15
    """How long an access token is good for; a refresh token brings the next."""
    refresh_token_days: int = 30
    """How long a log-in waits to be carried on."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies, such as `["10.0.0.0/8"]`, whose `X-Forwarded-For` and `X-Forwarded-Proto`
    are believed."""
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """Which header the trusted proxies write: `x-forwarded-for` with `X-Forwarded-Proto`, or `forwarded` (RFC 7239).
    The other is not looked at, for clients may write it."""
    max_upload_bytes: int = 5 * 1024**3
    """Largest file accepted, in bytes."""
    public_url: str | None = None
    """Where users reach the server, such as `https://dub.example.org`: WebSockets from its pages are let in."""
    cors_origins: tuple[Origin, ...] = ()
    """Origins of pages elsewhere that may use this server from a browser, such as `["https://app.example.org"]`;
    none by default, and never all."""


class TierSettings(_Section):
    """What an account of a tier may use. 0: no bound."""

    concurrent_jobs: int = Field(default=100, ge=0)
    """Jobs that wait or run at a time; 0 sets no bound."""
    open_uploads: int = Field(default=20, ge=0)
    """Uploads in pieces that are open at a time; 0 sets no bound."""
    storage_bytes: int = Field(default=500 * 1024**3, ge=0)
    """Bytes of uploads and results together; 0 sets no bound."""
    live_sessions: int = Field(default=2, ge=0)
    """Live sessions at a time; 0 sets no bound."""
    sound_minutes: int = Field(default=0, ge=0)
    """Minutes of sound in jobs, in 30 days; by what a file says until it is decoded. 0 sets no bound."""
    weight: float = Field(default=1.0, gt=0)
    """How much of the model servers it gets beside others while there is not enough for all; 2: twice as much."""
    reads_per_minute: int = Field(default=3000, ge=0)
    """Requests of an account that change nothing, its API keys included; 0 sets no bound."""
    writes_per_minute: int = Field(default=600, ge=0)
    """Requests of an account that change something; 0 sets no bound."""
    uploads_per_minute: int = Field(default=1200, ge=0)
    """Uploads of an account, and pieces of uploads; 0 sets no bound."""


class LimitSettings(_Section):
    """What somebody may use, and how often something may be tried; counted for all api processes together."""

    standard: TierSettings = TierSettings()
    tiers: dict[str, TierSettings] = {}
    """Further tiers by name, as JSON such as `{"studio": {"concurrent_jobs": 500}}`; what one leaves out is as
    in the code, not as set for `standard`."""

    requests_per_address: int = Field(default=6000, ge=0)
    """Requests from one address (of IPv6: one /64), in a minute; 0 sets no bound."""
    log_in_attempts: int = Field(default=10, ge=1)
    """Passwords tried in a row for one account from one address, in 15 minutes."""
    log_in_attempts_per_account: int = Field(default=100, ge=1)
    """Passwords tried for one account from anywhere, in an hour."""
    log_in_attempts_per_address: int = Field(default=100, ge=1)
    """Passwords tried from one address, in 15 minutes."""
    sign_ups_per_address: int = Field(default=20, ge=1)
    """New accounts from one address, in an hour."""
    password_resets: int = Field(default=5, ge=1)
    """Letters asked for one account, in an hour."""
    password_resets_per_address: int = Field(default=20, ge=1)
    """Letters and new passwords asked for from one address, in an hour."""
    invitations: int = Field(default=50, ge=1)
    """Invitations to teams that one account makes, in an hour."""


class MailSettings(_Section):
    """Through which server letters go out. Without `host` none do, and a forgotten password stays forgotten."""

    host: str | None = None
    """The SMTP server."""
    port: int = 587
    """Its port."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`tls` is usual on port 465; `none` is for a server on this machine."""
    username: str | None = None
    """Log in to the SMTP server as this; else not at all."""
    password: SecretStr | None = None
    """The password for that."""
    sender: str = "octavia-stream <noreply@localhost.localdomain>"
    """From whom letters come."""
    reset_page: str | None = None
    """Address of a page of yours that asks for a new password; letters link to it with `#token=` at its end."""
    invitation_page: str | None = None
    """Address of a page of yours where invitations to teams are accepted; letters link to it in the same way."""


class MediaSettings(_Section):
    """What files are accepted, and how much a jailed child may use."""

    max_duration_s: int = 4 * 3600
    """Longest file accepted, in seconds of decoded sound."""
    max_streams: int = 64
    """Most tracks in one file."""
    max_width: int = 8192
    """Widest picture, in pixels."""
    max_height: int = 8192
    """Highest picture, in pixels."""
    jail_memory_bytes: int = 2 * 1024**3
    """Address space of a child that opens media."""
    jail_cpu_s: int = 7200
    """CPU seconds of a child that opens media."""
    require_jail: bool = False
    """Refuse to open media at all when no jail stronger than rlimits is available."""


class ModelSettings(_Section):
    """Which models run, and on what."""

    asr: str = "whisper-base"
    """Catalogue id of the ASR model."""
    mt: tuple[str, ...] = ()
    """Catalogue ids of translation models to prefer, best first; others follow in the catalogue's order."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where models run."""
    compute_type: str = "int8"
    """CTranslate2's number type: `int8` on a CPU, `float16` on a GPU."""
    threads: int = 1
    """Per call of a model. Replicas times their calls times threads should not exceed the cores."""
    prepared: tuple[str, ...] = ("en", "pt")
    """Languages whose default voice and translations a replica loads when it starts, so that no job waits for them."""
    allow_noncommercial: bool = False
    """Use models whose licence forbids commercial use."""
    cache_dir: Path | None = None
    """Joined and converted models; else `models/` below home."""
    directories: dict[str, Path] = {}
    """Catalogue id → directory that overrides where the model comes from."""
    offline: bool = True
    """Never ask a model hub. `octavia models pull` does so on request."""


class ReplicaSettings(_Section):
    """How many replicas of one deployment, and what each may take."""

    min_replicas: int = Field(default=1, ge=0)
    """Replicas that always run; 0 lets go of the last one too when nothing is left to do."""
    max_replicas: int = Field(default=1, ge=1)
    """Replicas to scale up to."""
    queued_s_per_replica: float = Field(default=60.0, gt=0)
    """Seconds of sound that may wait for each replica; when more wait, another replica is started."""
    idle_s: float = Field(default=120.0, ge=0)
    """How long fewer replicas must have been enough before one is stopped, in seconds."""
    num_cpus: float = 1.0
    """CPUs that Ray reserves for a replica: bookkeeping, not a limit."""
    num_gpus: float = 0.0
    """GPUs that Ray reserves for a replica; fractions share one."""
    max_replicas_per_node: int | None = Field(default=None, ge=1)
    """At most so many of the replicas on one node, so that the death of a node leaves others; None: as many as fit."""
    max_ongoing_requests: int = 4
    """Calls that a replica takes at once; more than one keeps it busy between them."""
    max_queued_requests: int = 64
    """Calls that wait per caller before the next is refused."""
    max_batch_size: int = 8
    """Calls of different jobs that are computed together."""
    batch_wait_ms: int = 20
    """How long a batch waits for company, in milliseconds."""
    deadline_s: float = 300.0
    """How long a caller waits for one answer once the call is sent; what waits for its turn does not count."""
    stuck_after_s: float = 120.0
    """A replica whose engine works longer than this on one call is replaced."""


class ThreadedReplicaSettings(ReplicaSettings):
    """Replicas whose engine may be called from several threads."""

    concurrent_calls: int = Field(default=2, ge=1)
    """Calls, or batches of them, that one model computes at once: on a core each, with its weights in memory once."""


class ServeSettings(_Section):
    """The Ray Serve application."""

    engines: str = "octavia_stream.installed"
    """Import path of the module that makes the engines: its functions `transcriber`, `translator` and
    `synthesizer` each take the Settings. `octavia_stream.testing` makes engines that cost nothing."""
    # On a CPU a batch costs as much as its chunks one by one, and the first of them would wait for the last.
    asr: ThreadedReplicaSettings = ThreadedReplicaSettings(num_cpus=0.2, max_batch_size=1)
    mt: ReplicaSettings = ReplicaSettings(num_cpus=0.1, max_batch_size=32)
    tts: ThreadedReplicaSettings = ThreadedReplicaSettings(num_cpus=1.4)
    worker: ReplicaSettings = ReplicaSettings(num_cpus=0.1, max_ongoing_requests=16)
    ray_address: str | None = None
    """Join this Ray cluster; else `octavia serve` starts a node of its own."""


class WorkerSettings(_Section):
    """The JobWorker."""

    concurrent_jobs: int = 4
    """Jobs that one worker runs at once, whosever they are."""
    newcomer_jobs: int = Field(default=12, ge=0)
    """Further jobs that it runs for accounts and teams of whom none is running, so that nobody waits for
    others' long jobs to end."""
    lease_s: float = 10.0
    """How long a job stays with a worker that gives no sign of life, in seconds."""
    heartbeat_s: float = 2.0
    """How often a worker gives one."""
    poll_s: float = 1.0
    """How often a worker looks for jobs when nothing tells it of any."""
    chunk_attempts: int = 3
    """How often a piece of work is tried when a model server dies over it."""
    window_chunks: int = 4
    """Chunks of one job in flight at once: the bound on memory."""


class QualitySettings(_Section):
    """How good a dub must be. What is not is told, in the job's quality report and by the event `quality`; no job fails
    for it."""

    heard_share: float = Field(default=0.05, ge=0, le=1)
    """How much of a dub is transcribed back, at most, as a share of its length; in pieces of 28 s, so that of dubs
    shorter than 28 s / share nothing is heard. 0: of none."""
    min_coverage: float = Field(default=0.98, ge=0, le=1)
    """Share of the sentences that must be said in the dub."""
    min_inside_share: float = Field(default=0.95, ge=0, le=1)
    """Share of the sentences that must fit their slot: start with it, end in it, and be whole."""
    max_stretched_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the sentences whose sound may be stretched."""
    max_overrun_s: float = Field(default=1.5, ge=0)
    """How far a sentence may reach into the time of the next, in seconds."""
    max_loudness_difference_lu: float = Field(default=6.0, ge=0)
    """How much louder or quieter than the original the dub may be, in loudness units."""
    max_word_error_rate: float = Field(default=0.35, ge=0)
    """How many words of what was transcribed back may differ from what was to be said, for each of those."""


class S3Settings(_Section):
    """The bucket that `storage_url` names. What is not set here is taken from where every S3 client finds it."""

    endpoint: str | None = None
    """Address of a service that is not AWS, such as `https://minio.example.org`."""
    region: str = "us-east-1"
    """Its region."""
    access_key_id: str | None = None
    """With which key; without it downloads pass through the server instead of going to the bucket."""
    secret_access_key: SecretStr | None = None
    """The secret of that key."""
    redirect_downloads: bool = True
    """Send short links on to the bucket, which must then be reachable for users."""


class OutboundSettings(_Section):
    """Connections to addresses that users name."""

    fetch_uploads: bool = False
    """Let users name the address of a file instead of sending it."""
    fetch_s: float = Field(default=600.0, gt=0)
    """How long such a file may take to come, in seconds."""
    max_redirects: int = Field(default=5, ge=0, le=20)
    """How often the address of a file may lead on to another; each is judged."""
    allowed_networks: tuple[IPvAnyNetwork, ...] = ()
    """Networks inside, such as `["10.1.0.0/16"]`, that may be called all the same. Else only public addresses are."""


class CacheSettings(_Section):
    """Results of the model servers that are kept for later jobs: lines spoken, sentences translated, chunks heard."""

    limit_bytes: int = Field(default=2 * 1024**3, ge=0)
    """How much of the storage they may take, in bytes; the longest unused go first. 0 keeps none."""
    shared: bool = False
    """Let accounts and teams have each other's. Whoever guesses a line that somebody else had dubbed could then tell,
    by how fast it comes; and what was made for an account stays when the account goes."""


class RetentionSettings(_Section):
    """How long things are kept. What waits or runs is never removed."""

    results_days: int = Field(default=0, ge=0, le=36_500)
    """Jobs that ended longer ago are removed with their results; 0 keeps them for ever. Accounts may choose less."""
    results_days_by_tier: dict[str, Annotated[int, Field(ge=0, le=36_500)]] = {}
    """The same for owners of a tier, as JSON such as `{"studio": 365}`, where it differs."""
    uploads_days: int = Field(default=0, ge=0, le=36_500)
    """Older uploads that no job uses are removed; 0 keeps them for ever."""


class TelemetrySettings(_Section):
    """Traces. Off unless a collector is named."""

    otlp_endpoint: str | None = None
    """Where an OpenTelemetry collector takes OTLP over HTTP, such as `http://127.0.0.1:4318`; needs the extra
    `telemetry`."""
    traced_share: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of requests that are traced, from 0 to 1; one that a client traces already is traced as it says."""


class BillingSettings(_Section):
    """Credits. Off, everything is free and nothing is counted."""

    enabled: bool = False
    """Charge credits for jobs; off, everything is free."""
    free_credits: int = Field(default=100, ge=0)
    """What a new account is given."""
    pricing: Path | None = None
    """A file of prices; else the one of the package, `billing/pricing.toml`."""
    polar_server: Literal["production", "sandbox"] = "sandbox"
    """Where credits are sold; nobody pays real money in the sandbox."""
    polar_url: str | None = None
    """Another address of Polar's API; else that of `polar_server`."""


class WebhookSettings(_Section):
    """What is told to addresses that users name."""

    endpoints_per_account: int = Field(default=10, ge=1)
    """Webhooks that one account may have."""
    timeout_s: float = Field(default=15.0, gt=0, le=45)
    """How long an address may take to answer."""
    disable_after_days: int = Field(default=5, ge=1)
    """A webhook at which nothing has arrived for so long is switched off."""
    log_days: int = Field(default=30, ge=1)
    """How long it is kept what was told to whom."""
    rotation_hours: int = Field(default=24, ge=0)
    """How long the old secret signs beside a new one."""


class OpenAISettings(_Section):
    """The OpenAI-compatible routes below `/v1`, whose requests are answered while somebody waits."""

    max_upload_bytes: int = Field(default=25 * 1024**2, ge=1024)
    """Largest recording accepted, in bytes."""
    max_duration_s: int = Field(default=3600, ge=1)
    """Longest recording accepted, in seconds of decoded sound."""
    concurrent_calls: int = Field(default=4, ge=1)
    """Requests that one worker answers at once."""
    waiting_calls: int = Field(default=32, ge=1)
    """Requests that wait for a worker; more are turned away with 503."""
    calls_per_account: int = Field(default=8, ge=1)
    """Requests of one account under way at once; more are turned away with 429."""
    patience_s: float = Field(default=30.0, gt=0)
    """How long a request waits for a worker before it is turned away."""
    deadline_s: float = Field(default=900.0, gt=1)
    """How long answering one request may take."""


class LiveSettings(_Section):
    """Live sessions, and the nodes that hold them."""

    enabled: bool = True
    """Run live nodes; an idle one costs little."""
    nodes: int = Field(default=1, ge=1)
    """Live nodes, at most one on a machine."""
    num_cpus: float = Field(default=0.1, ge=0)
    """CPUs that Ray reserves for a live node: bookkeeping, not a limit."""
    node_host: str = "127.0.0.1"
    """Address at which a live node listens for the api processes; loopback unless they are on other machines."""
    media_host: str | None = None
    """Address at which WebRTC's UDP sockets are bound; else every address of the machine but loopback."""
    media_port_first: int = Field(default=0, ge=0, le=65535)
    """First of the UDP ports that WebRTC uses, such as 50000; 0 leaves the choice to the system."""
    media_port_last: int = Field(default=0, ge=0, le=65535)
    """Last of these ports. A connection takes one for each address of the machine."""
    public_address: str | None = None
    """IPv4 address under which clients reach the live node when a router in front of it translates addresses."""
    stun_urls: tuple[str, ...] = ()
    """STUN servers for clients, such as `["stun:stun.example.org:3478"]`."""
    turn_urls: tuple[str, ...] = ()
    """TURN servers for clients, such as `["turn:turn.example.org:3478"]`; they share `turn_secret` with us."""
    turn_secret: SecretStr | None = None
    """coturn's `static-auth-secret`, from which short-lived credentials are made."""
    turn_credentials_s: int = Field(default=3600, ge=60)
    """How long such credentials are good for, in seconds."""
    max_cpu: float = Field(default=0.85, ge=0, le=1)
    """Share of the machine's CPUs up to which new sessions are let in; 0 lets them in without looking."""
    sessions_per_node: int = Field(default=32, ge=0)
    """Sessions that one node holds at once, whatever it measures; 0 sets no bound."""
    speakers_per_session: int = Field(default=8, ge=1)
    """Speakers that one session hears at once."""
    listeners_per_session: int = Field(default=50, ge=1)
    """Connections that hear or read one session at once."""
    resume_s: float = Field(default=30.0, gt=0)
    """How long a session waits for somebody to speak, or to come back, before it ends."""


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
        use_attribute_docstrings=True,
    )

    home: Path = Field(default_factory=default_home)
    """Where state lives: data of the embedded services, objects, logs, converted models."""
    database_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    """Your Postgres; the embedded one is started when it is not set."""
    redis_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("REDIS_URL", "redis_url"))
    """Your Redis or Valkey; the embedded one is started when it is not set."""
    storage_url: str | None = None
    """`file:///path` or `s3://bucket/prefix`; else `objects/` below home."""
    secret_key: SecretStr | None = None
    """Signs tokens; else one is made and kept in home."""
    polar_token: SecretStr | None = None
    """Access token of the organisation at Polar that sells credits; without it nothing is sold."""
    polar_webhook_secret: SecretStr | None = None
    """With which Polar signs what it tells us."""
    crash_point: CrashPoint | None = None
    """For tests of survival alone: a process that reaches the place of this name kills itself."""
    metrics_token: SecretStr | None = None
    """Who shows it as a bearer token reads `/metrics` of the api; without it nobody does."""
    log_format: Literal["console", "json"] = "console"
    """`console` for people, `json` for machines."""
    api: ApiSettings = ApiSettings()
    media: MediaSettings = MediaSettings()
    models: ModelSettings = ModelSettings()
    serve: ServeSettings = ServeSettings()
    worker: WorkerSettings = WorkerSettings()
    retention: RetentionSettings = RetentionSettings()
    cache: CacheSettings = CacheSettings()
    billing: BillingSettings = BillingSettings()
    limits: LimitSettings = LimitSettings()
    mail: MailSettings = MailSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    openai: OpenAISettings = OpenAISettings()
    live: LiveSettings = LiveSettings()
    webhooks: WebhookSettings = WebhookSettings()
    outbound: OutboundSettings = OutboundSettings()
    quality: QualitySettings = QualitySettings()
    s3: S3Settings = S3Settings()
