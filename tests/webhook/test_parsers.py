"""Property tests of the body reader and the range parser."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from fuzzing import JSON, TEXT, fuzzed
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from stemdrop.errors import BadContract
from webhook.byte_ranges import byte_range
from webhook.errors import BodyTooLarge
from webhook.json_body import MAX_BODY_BYTES, read_json


async def read(parts: list[bytes], *headers: tuple[bytes, bytes]) -> object:
    """Return the body as a route reads it when it arrives in these parts."""
    coming = iter(
        [
            *({"type": "http.request", "body": part, "more_body": True} for part in parts),
            {"type": "http.request"},
        ]
    )

    async def receive() -> Any:
        return next(coming)

    return await read_json(Request({"type": "http", "headers": list(headers)}, receive))


BODIES = (
    JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda value, coding: json.dumps(value).encode(coding),
        JSON,
        st.sampled_from(["utf-8", "utf-16", "utf-32"]),
    )
    | st.binary(max_size=100)
    | TEXT.map(lambda text: text.encode(errors="surrogatepass"))
    | st.builds(
        lambda part, count: part * count,
        st.sampled_from([b"[", b'{"a":', b"1", b"\x00", b" ", b"\xff"]),
        st.integers(1, 6000),
    )
)


def test_a_body_in_any_parts_is_parsed_like_the_whole_or_refused() -> None:
    with asyncio.Runner() as runner:

        @fuzzed(50)
        @given(BODIES, st.lists(st.integers(0, 6000), max_size=4))
        def hold(body: bytes, cuts: list[int]) -> None:
            parts = [body[start:end] for start, end in pairwise([0, *sorted(cuts), len(body)])]
            try:
                value = runner.run(read(parts))
            except BadContract:
                with pytest.raises((ValueError, RecursionError)):
                    json.loads(body)
            else:
                assert repr(value) == repr(json.loads(body))

        hold()


def test_a_body_is_not_read_beyond_its_limit() -> None:
    with asyncio.Runner() as runner:

        @fuzzed(50)
        @given(
            st.lists(st.integers(0, MAX_BODY_BYTES + 2), max_size=3),
            st.none() | st.text("0123456789-+ ._e", max_size=30),
        )
        @example([MAX_BODY_BYTES], None)
        @example([MAX_BODY_BYTES, 1], None)
        @example([1], str(MAX_BODY_BYTES))
        @example([1], str(MAX_BODY_BYTES + 1))
        @example([1], "9" * 5000)
        def hold(sizes: list[int], declared: str | None) -> None:
            headers = [] if declared is None else [(b"content-length", declared.encode())]
            is_declared = declared is not None and declared.isdigit() and int(declared[:99]) > MAX_BODY_BYTES
            expected = BodyTooLarge if is_declared or sum(sizes) > MAX_BODY_BYTES else BadContract
            with pytest.raises(expected):
                runner.run(read([b" " * size for size in sizes], *headers))

        hold()


@fuzzed(100)
@given(
    TEXT
    | st.builds(
        "bytes={}-{}".format,
        st.integers(-1, 200) | st.just(""),
        st.integers(-1, 200) | st.sampled_from(["", 10**18, 10**19]),
    ),
    st.integers(0, 150),
)
def test_a_byte_range_is_within_the_file(header: str, size: int) -> None:
    wanted = byte_range(header, size)
    if wanted is not None:
        start, end = wanted
        assert 0 <= start < end <= size or wanted == (0, 0)
        first, _, last = header.removeprefix("bytes=").partition("-")
        if first.strip() and wanted != (0, 0):
            assert start == int(first)
            assert end == min(size, int(last) + 1 if last.strip() else size)
