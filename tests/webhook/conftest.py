"""Fixtures for the webhook: its application on loopback, with real parts."""

from collections.abc import AsyncIterator

import httpx
import pytest
from product import Product
from waits import WAIT_S

from sandbox.environment.server import serve
from webhook.app import create_app


@pytest.fixture
async def client(product: Product) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the webhook."""
    app = create_app(product)
    async with (
        serve(app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=WAIT_S) as http,
    ):
        yield http
