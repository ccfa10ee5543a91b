"""The webhook's HTTP application."""

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount

from stemdrop.provider.registry import provider_labels
from stemdrop.wiring import Parts
from webhook.callback import callback_routes
from webhook.errors import error_handlers
from webhook.health import health_routes
from webhook.json_body import BODY_TIMEOUT_S
from webhook.metrics import metrics_route
from webhook.mixer.app import mixer_app
from webhook.mixer.segments import Segments
from webhook.probe import probe_routes
from webhook.source import SOURCE_TIMEOUT_S, source_routes
from webhook.updates import updates_route


def create_app(
    parts: Parts,
    *,
    body_timeout_s: float = BODY_TIMEOUT_S,
    download_timeout_s: float = SOURCE_TIMEOUT_S,
    segments: Segments | None = None,
) -> FastAPI:
    """Build the application; the caller opens and closes `parts`, and `segments`, which the mixer needs.

    The routes are Starlette's: FastAPI's own would resolve dependencies and serialise the answer for each
    request, which these routes do not need.
    """
    settings, store, engine, links = parts.settings, parts.store, parts.engine, parts.links
    expects_callbacks = bool(settings.public_url) and parts.providers.all_call_back
    routes: list[BaseRoute] = [
        *callback_routes(store, parts.providers, links, parts.counters, body_timeout_s),
        *source_routes(store, parts.source_quota, links, parts.files, download_timeout_s),
        *health_routes(store),
        metrics_route(parts.snapshots, provider_labels(settings), expects_callbacks=expects_callbacks),
        *probe_routes(parts.probes, settings.secret_key.get_secret_value(), body_timeout_s),
    ]
    if settings.telegram_updates == "webhook":
        routes.append(updates_route(store, engine, parts.dead_letters, links, body_timeout_s))
    if segments is not None:
        routes.append(Mount("/mixer", mixer_app(parts, segments, body_timeout_s)))
    return FastAPI(openapi_url=None, routes=routes, exception_handlers=error_handlers())
