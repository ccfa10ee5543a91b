"""The webhook's HTTP application: every route, and the table from our exceptions to HTTP statuses."""

from fastapi import FastAPI

from stemdrop.engine import Engine
from stemdrop.links import Links
from stemdrop.settings import Settings
from stemdrop.store import JobStore
from stemdrop.telegram import TelegramFiles
from webhook.callback import callback_router
from webhook.errors import add_error_handlers
from webhook.health import health_router
from webhook.source import source_router
from webhook.updates import updates_router


def create_app(
    settings: Settings, store: JobStore, engine: Engine, links: Links, files: TelegramFiles
) -> FastAPI:
    """Everything it is handed is opened and closed by who hands it in."""
    app = FastAPI(title="stemdrop webhook", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(callback_router(store, engine, links, settings.callback_hmac_key.get_secret_value()))
    app.include_router(source_router(store, links, files))
    app.include_router(health_router(store))
    if settings.telegram_updates == "webhook":
        app.include_router(updates_router(engine, links))
    add_error_handlers(app)
    return app
