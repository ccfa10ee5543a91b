"""Finds the keys in Redis that still hold something about a person."""

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis


async def find_keys(redis_url: str, *words: str) -> list[str]:
    """Return all keys in Redis, also the engine's, with one of these words in their name or value."""
    found = []
    async with Redis.from_url(redis_url) as redis:
        read: dict[bytes, Callable[[bytes], Awaitable[object]]] = {
            b"string": redis.get,
            b"hash": redis.hgetall,
            b"set": redis.smembers,
            b"zset": lambda name: redis.zrange(name, 0, -1),
            b"list": lambda name: redis.lrange(name, 0, -1),
            b"stream": redis.xrange,
        }
        async for key in redis.scan_iter("*"):
            kind: bytes = await redis.type(key)  # type: ignore[assignment]
            if kind == b"none":  # it has expired meanwhile
                continue
            held = f"{key!r} {await read[kind](key)}"
            # bytes are written as escapes where they are no ASCII
            if any(word in held or repr(word.encode())[2:-1] in held for word in words):
                found.append(key.decode())
    return sorted(found)
