"""Unexpected exceptions in the routes of the webhook: how they are logged and answered."""

import asyncio
import io
import logging
from urllib.parse import urlsplit

import httpx
import pytest
from product import Product, until

from sandbox.telegram.chats import Message
from stemdrop.domain.jobs import JobState
from stemdrop.observability.logging import set_up_logging
from webhook.app import create_app
from webhook.run import build_server, listen


@pytest.mark.parametrize("form", ["console", "json"])
async def test_an_unexpected_exception_is_logged_once_with_its_traceback_and_without_secrets(
    product: Product, sent: Message, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await product.at(JobState.SUBMITTING, sent)
    token = product.telegram.token
    await product.redis.hset(f"stemdrop:job:{job.id}", "state", token)  # no state that the code knows
    stream = io.StringIO()
    logging.getLogger().handlers.clear()
    # the servers of the sandbox in this process have set it up otherwise
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
    set_up_logging("INFO", form, product.settings.secrets, stream)
    listening = listen(product.settings.model_copy(update={"listen_host": "127.0.0.1", "listen_port": 0}))
    server = build_server(create_app(product))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await until(lambda: server.started)
    path = urlsplit(product.links.source_url(job.id, ".mp3")).path
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        answer = await client.get(f"http://127.0.0.1:{listening.getsockname()[1]}{path}")
    server.should_exit = True
    await serving
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    text = stream.getvalue()
    assert text.count("Traceback (most recent call last)") == 1
    assert "ValueError: state: enum" in text
    assert token not in text
    assert path.split("/")[2] not in text
