"""The answer that holds a segment."""

from pathlib import Path

import pytest
from cancelling import open_files
from starlette.requests import ClientDisconnect
from starlette.types import Message

from webhook.mixer.segment_response import SegmentResponse


async def test_a_segment_is_closed_when_its_client_has_left(tmp_path: Path) -> None:
    path = tmp_path / "segment.flac"
    path.write_bytes(b"fLaC")

    async def send(_: Message) -> None:
        raise ConnectionResetError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    response = SegmentResponse(path)
    assert open_files(path)
    with pytest.raises(ClientDisconnect):
        await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert open_files(path) == []
