"""Runtime: every pool and store of one process, opened once and closed in reverse."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from octavia_stream.accounts.api_keys import ApiKeyStore
from octavia_stream.accounts.log_ins import LogInStore
from octavia_stream.accounts.store import AccountStore
from octavia_stream.billing.credits import CreditStore
from octavia_stream.billing.job_charges import JobCharges
from octavia_stream.billing.prices import read_prices
from octavia_stream.billing.welcome import welcome_gift
from octavia_stream.cache.results import ResultCache
from octavia_stream.cache.shelf import Shelf
from octavia_stream.config import Settings
from octavia_stream.crash_points import arm
from octavia_stream.database.pool import Database
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.events.feed import EventFeed
from octavia_stream.events.owner_feed import OwnerFeed
from octavia_stream.events.redis import RedisEvents
from octavia_stream.instant.charges import CallCharges
from octavia_stream.instant.switchboard import Switchboard
from octavia_stream.jobs.charges import EveryCharge
from octavia_stream.jobs.notices import Letters
from octavia_stream.jobs.postgres import PostgresJobStore
from octavia_stream.jobs.versions import JobVersions
from octavia_stream.quotas.job_quotas import JobQuotas
from octavia_stream.quotas.quotas import Quotas
from octavia_stream.sessions.registry import NodeRegistry
from octavia_stream.sessions.store import LiveSessionStore
from octavia_stream.storage.objects import ObjectStore
from octavia_stream.uploads.resumable import ResumableUploads
from octavia_stream.uploads.store import UploadStore
from octavia_stream.webhooks.store import WebhookStore

SECRET_BYTES = 32
HOLD_MARGIN_S = 60.0
"""How much longer than a call may take its credits are held."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What handlers and workers are given."""

    settings: Settings
    pool: Database
    redis: RedisEvents
    objects: ObjectStore
    jobs: PostgresJobStore
    accounts: AccountStore
    log_ins: LogInStore
    api_keys: ApiKeyStore
    uploads: UploadStore
    resumable: ResumableUploads
    feed: EventFeed
    credits: CreditStore
    charges: JobCharges
    switchboard: Switchboard
    call_charges: CallCharges
    webhooks: WebhookStore
    owner_feed: OwnerFeed
    quotas: Quotas
    live: LiveSessionStore
    live_nodes: NodeRegistry
    cache: ResultCache
    versions: JobVersions


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open everything; raises DependencyUnavailable when Postgres is not there. Redis may come later, or never.

    The launcher sets DATABASE_URL and REDIS_URL when it starts the embedded services.
    """
    if settings.database_url is None or settings.redis_url is None:
        raise DependencyUnavailable("Set DATABASE_URL and REDIS_URL, or start the whole server with 'octavia serve'.")
    arm(settings.crash_point)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(Database(settings.database_url.get_secret_value()))
        redis = await stack.enter_async_context(RedisEvents(settings.redis_url.get_secret_value()))
        charges = JobCharges(read_prices(settings.billing.pricing), settings.billing, settings.media.max_duration_s)
        quotas = Quotas(settings.limits)
        job_quotas = JobQuotas(quotas, settings.media.max_duration_s)
        letters = Letters(settings.api.public_url) if settings.mail.host is not None else None
        jobs = PostgresJobStore(pool, redis, EveryCharge(job_quotas, charges), letters)
        objects = open_objects(settings)
        yield Runtime(
            settings=settings,
            pool=pool,
            redis=redis,
            objects=objects,
            jobs=jobs,
            accounts=await stack.enter_async_context(AccountStore(pool, welcome_gift(settings.billing))),
            log_ins=LogInStore(pool, timedelta(days=settings.api.refresh_token_days)),
            api_keys=ApiKeyStore(pool),
            uploads=UploadStore(pool, quotas),
            resumable=ResumableUploads(pool, quotas),
            feed=await stack.enter_async_context(EventFeed(jobs, redis)),
            credits=CreditStore(pool),
            charges=charges,
            switchboard=await stack.enter_async_context(
                Switchboard(settings.redis_url.get_secret_value(), settings.openai)
            ),
            owner_feed=await stack.enter_async_context(OwnerFeed(pool)),
            webhooks=WebhookStore(pool, settings.webhooks, settings.outbound),
            call_charges=CallCharges(
                pool, charges.prices, quotas, settings.billing, settings.openai.deadline_s + HOLD_MARGIN_S
            ),
            quotas=quotas,
            live=LiveSessionStore(pool, charges.prices, quotas, settings.billing, resume_s=settings.live.resume_s),
            live_nodes=await stack.enter_async_context(NodeRegistry(settings.redis_url.get_secret_value())),
            cache=await stack.enter_async_context(ResultCache(Shelf(pool, objects), settings.cache)),
            versions=JobVersions(pool, objects),
        )


def open_objects(settings: Settings) -> ObjectStore:
    """The storage that the settings describe. Raises InvalidRequest."""
    url = storage_url(settings)
    return ObjectStore.from_s3(url, settings.s3) if url.startswith("s3://") else ObjectStore.from_url(url)


def storage_url(settings: Settings) -> str:
    """Where objects lie: as set, or `objects/` below home."""
    return settings.storage_url or (settings.home.absolute() / "objects").as_uri()


def load_secret(settings: Settings) -> SecretStr:
    """The key that signs tokens: as set, or made once and kept in home, readable by its owner alone.

    Processes that start together agree on one.
    """
    if settings.secret_key is not None:
        return settings.secret_key
    path = settings.home / "secret_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(path, secrets.token_urlsafe(SECRET_BYTES))
    return SecretStr(path.read_text().strip())


def _create(path: Path, text: str) -> None:
    """Write a private file unless somebody else was faster; it never appears half written."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
