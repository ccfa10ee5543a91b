"""The webhook's HTTP application."""

from fastapi import FastAPI

from stemdrop.provider.registry import provider_labels
from stemdrop.wiring import Parts
from webhook.callback import callback_router
from webhook.errors import add_error_handlers
from webhook.health import health_router
from webhook.json_body import BODY_TIMEOUT_S
from webhook.metrics import metrics_router
from webhook.mixer.app import mixer_app
from webhook.mixer.segments import Segments
from webhook.probe import probe_router
from webhook.source import SOURCE_TIMEOUT_S, source_router
from webhook.updates import updates_router


def create_app(
    parts: Parts,
    *,
    body_timeout_s: float = BODY_TIMEOUT_S,
    download_timeout_s: float = SOURCE_TIMEOUT_S,
    segments: Segments | None = None,
) -> FastAPI:
    """Build the application; the caller opens and closes `parts`, and `segments`, which the mixer needs."""
    settings, store, engine, links = parts.settings, parts.store, parts.engine, parts.links
    app = FastAPI(openapi_url=None)
    app.include_router(callback_router(store, engine, parts.providers, links, parts.counters, body_timeout_s))
    app.include_router(source_router(store, parts.source_quota, links, parts.files, download_timeout_s))
    app.include_router(health_router(store))
    providers = provider_labels(settings)
    expects_callbacks = bool(settings.public_url) and parts.providers.all_call_back
    app.include_router(metrics_router(parts.snapshots, providers, expects_callbacks=expects_callbacks))
    app.include_router(probe_router(parts.probes, settings.secret_key.get_secret_value(), body_timeout_s))
    if settings.telegram_updates == "webhook":
        app.include_router(updates_router(store, engine, parts.dead_letters, links, body_timeout_s))
    if segments is not None:
        app.mount("/mixer", mixer_app(parts, segments, body_timeout_s))
    add_error_handlers(app)
    return app
