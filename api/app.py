"""The application: routes, what they share, and how it starts and stops. Importing it does nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme

from api.account import account_router
from api.admin import admin_router
from api.all_events import stream_events, watch_all
from api.auth import BEARER_SCHEME, TICKET_SCHEME, BearerAuthentication, auth_router
from api.billing import billing_router
from api.correlation import Correlation
from api.cors import cors_config
from api.health import health_router
from api.jobs import jobs_router
from api.keys import keys_router
from api.languages import languages_router
from api.link_tokens import Links
from api.links import link_router
from api.live_routes import live_router
from api.metrics import metrics_router
from api.openai_audio import openai_router
from api.openai_errors import error_response
from api.openapi import complete_responses
from api.pages import pages_router
from api.previews import preview_router
from api.rate_limits import RateLimits, add_rate_limit_headers
from api.services import Services, provide_identity, provide_owner_id, provide_services
from api.settings import settings_router
from api.teams import invitations_router, teams_router
from api.throttling import AddressLimits, RequestLimits
from api.tickets import Tickets
from api.tokens import AccessTokens
from api.tus import tus_router
from api.uploads import upload_router
from api.url_uploads import upload_from_url
from api.usage import usage_router
from api.webhooks import webhooks_router
from octavia_stream.accounts.access import Access
from octavia_stream.accounts.account_settings import AccountSettingsStore
from octavia_stream.accounts.invitations import InvitationStore
from octavia_stream.accounts.removal import Removal
from octavia_stream.accounts.standing import Standing
from octavia_stream.accounts.teams import TeamStore
from octavia_stream.admin.acts import ActStore
from octavia_stream.admin.jobs import JobDirectory
from octavia_stream.admin.live import SessionDirectory
from octavia_stream.admin.users import UserDirectory
from octavia_stream.billing.orders import Orders, open_orders
from octavia_stream.config import Settings
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.instant.tidying import keep_tidy
from octavia_stream.jobs.retention import Cleaner
from octavia_stream.mail.outbox import Outbox
from octavia_stream.mail.smtp import SmtpMail
from octavia_stream.models.registry import Registry
from octavia_stream.quotas.throttle import Throttle
from octavia_stream.runtime import Runtime, load_secret, open_runtime, storage_url
from octavia_stream.sessions.node_token import node_token
from octavia_stream.sessions.placement import LiveNodes
from octavia_stream.sessions.sweeping import keep_ended
from octavia_stream.telemetry.process_card import Presence
from octavia_stream.telemetry.state import ServerState
from octavia_stream.uploads.pieces import Pieces
from octavia_stream.uploads.previews import Previews
from octavia_stream.uploads.sweeping import UploadSweep
from octavia_stream.webhooks.deliverer import delivering

OpenRuntime = Callable[[Settings], AbstractAsyncContextManager[Runtime]]

MAX_JSON_BYTES = 64 * 1024
"""Of a request that is not an upload."""
SCHEMA_PATH = "/schema"


def create_app(settings: Settings, runtime_of: OpenRuntime = open_runtime) -> Litestar:
    """The application for these settings.

    runtime_of: opens what the handlers stand on when the application starts; it is closed when it stops.
    """
    app = Litestar(
        route_handlers=[
            _version_one(settings),
            openai_router(settings.openai),
            health_router,
            metrics_router,
            pages_router(),
        ],
        lifespan=[_lifespan(settings, runtime_of)],
        dependencies={
            "services": Provide(provide_services),
            "owner_id": Provide(provide_owner_id),
            "identity": Provide(provide_identity),
        },
        before_send=[add_rate_limit_headers],
        cors_config=cors_config(settings.api),
        middleware=[AddressLimits(), _authentication()],
        exception_handlers={Exception: error_response},
        request_max_body_size=MAX_JSON_BYTES,
        openapi_config=_openapi(),
        logging_config=None,
    )
    complete_responses(app)
    app.asgi_handler = Correlation(app.asgi_handler)
    return app


def _version_one(settings: Settings) -> Router:
    return Router(
        "/api/v1",
        route_handlers=[
            auth_router,
            account_router,
            keys_router,
            teams_router,
            invitations_router,
            upload_router(settings.api),
            tus_router(settings.api),
            upload_from_url,
            link_router,
            preview_router,
            jobs_router,
            live_router,
            languages_router,
            billing_router,
            admin_router,
            usage_router,
            webhooks_router,
            stream_events,
            watch_all,
            settings_router,
        ],
    )


def _lifespan(settings: Settings, runtime_of: OpenRuntime) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    """What is open, and what goes on in the background, while the application runs."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with (
            runtime_of(settings) as runtime,
            open_orders(settings, runtime.pool, runtime.charges.prices) as orders,
            RateLimits(_redis_url(settings), settings.limits) as limits,
            Throttle(_redis_url(settings)) as throttle,
            LiveNodes(runtime.live, runtime.live_nodes, node_token(load_secret(settings))) as live,
            Presence(runtime.redis, "api"),
            delivering(runtime.webhooks, settings.webhooks, settings.outbound),
        ):
            services = app.state.services = _services(runtime, orders, limits, throttle, live)
            longest = timedelta(seconds=settings.openai.deadline_s)
            background = [
                asyncio.create_task(services.cleaner.run(), name="retention"),
                asyncio.create_task(
                    keep_tidy(runtime.credits, runtime.call_charges, runtime.objects, longest), name="calls: tidy"
                ),
                asyncio.create_task(_send_letters(runtime, services.mail), name="letters"),
                asyncio.create_task(keep_ended(runtime.live), name="live: sweep"),
            ]
            try:
                yield
            finally:
                services.closing.set()
                await services.standing.close()
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)

    return lifespan


def _cleaner(runtime: Runtime) -> Cleaner:
    removal = Removal(runtime.pool, runtime.jobs, runtime.objects)
    sweep = UploadSweep(runtime.resumable, runtime.objects, removal.remove_objects)
    return Cleaner(runtime.pool, runtime.jobs, runtime.uploads, runtime.objects, runtime.settings.retention, sweep)


def _services(
    runtime: Runtime, orders: Orders | None, limits: RateLimits, throttle: Throttle, live: LiveNodes
) -> Services:
    settings = runtime.settings
    acts = ActStore(runtime.pool)
    return Services(
        runtime=runtime,
        registry=Registry(settings.models, settings.home),
        tokens=AccessTokens(
            load_secret(settings).get_secret_value().encode(), timedelta(minutes=settings.api.access_token_minutes)
        ),
        tickets=Tickets(runtime.redis),
        limits=limits,
        requests=RequestLimits(throttle, runtime.quotas, runtime.pool, settings.limits),
        removal=Removal(runtime.pool, runtime.jobs, runtime.objects),
        access=Access(runtime.pool),
        account_settings=AccountSettingsStore(runtime.pool),
        standing=Standing(runtime.pool),
        teams=TeamStore(runtime.pool),
        invitations=InvitationStore(runtime.pool),
        live=live,
        state=ServerState(runtime.pool, storage_url(settings)),
        cleaner=_cleaner(runtime),
        acts=acts,
        users=UserDirectory(runtime.pool),
        operated_jobs=JobDirectory(runtime.pool, runtime.jobs, acts),
        operated_sessions=SessionDirectory(runtime.live, live, acts),
        pieces=Pieces(runtime),
        previews=Previews(runtime),
        links=Links(load_secret(settings).get_secret_value().encode()),
        mail=SmtpMail(settings.mail) if settings.mail.host is not None else None,
        orders=orders,
    )


async def _send_letters(runtime: Runtime, mail: SmtpMail | None) -> None:
    if mail is not None:
        await Outbox(runtime.pool, mail).run()


def _redis_url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise DependencyUnavailable("Set REDIS_URL, or start the whole server with 'octavia serve'.")
    return settings.redis_url.get_secret_value()


def _authentication() -> DefineMiddleware:
    return DefineMiddleware(
        BearerAuthentication,
        exclude=[f"^{SCHEMA_PATH}(/|$)"],
        exclude_from_auth_key="public",
        scopes={ScopeType.HTTP},
    )


def _openapi() -> OpenAPIConfig:
    schemes = {
        BEARER_SCHEME: SecurityScheme(
            type="http", scheme="bearer", description="An access token, or an API key where its scopes reach."
        ),
        TICKET_SCHEME: SecurityScheme(
            type="apiKey", name="ticket", security_scheme_in="query", description="One-time; for event streams only."
        ),
    }
    return OpenAPIConfig(
        title="octavia-stream",
        version=version("octavia-stream"),
        description="Speech translation and dubbing. Errors are `application/problem+json` (RFC 9457).",
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        components=Components(security_schemes=schemes),  # type: ignore[arg-type]
        use_handler_docstrings=True,
        path=SCHEMA_PATH,
        render_plugins=[JsonRenderPlugin()],
    )
