"""`Segments`: the stems of songs in pieces of three seconds, made when they are first asked for."""

import asyncio
import hashlib
import logging
import math
import shutil
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import httpx
from telegram.error import TelegramError

from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.outcomes import Sent
from stemdrop.errors import SourceTooBig, SourceUnavailable, StemdropError, TryLater
from stemdrop.observability.metric_definitions import MIXER_SEGMENTS
from stemdrop.storage.counters import Counters
from webhook.mixer.sample_grid import AFTER_END
from webhook.mixer.segment_folder import SegmentFolder, remove_leftovers
from webhook.mixer.segment_maker import SegmentMaker

log = logging.getLogger(__name__)

# The stems of ten songs are cut in turn, and take 1.5 MB each in the process; further stems wait.
_CUT_AT_ONCE = 128
_FETCHED_AT_ONCE = 8
_MOST_UNDER_WAY = 256
# The most stems of one user: a song has no more.
_MOST_OF_USER = 64
# How long a request waits for its segment; after that its client asks again.
SEGMENT_PATIENCE_S = 20.0
_BUSY_AGAIN_S = 2
# A stem that could not be cut is tried again after this time.
_FAILED_AGAIN_S = 10
# A stem that was used less than this time ago is not removed to make room.
IN_USE_S = 60
# How long a stem that is in use waits for room, and how often it looks. After this time all room is taken by
# stems that have been in use since, perhaps by those of the same song.
_ROOM_PATIENCE_S = IN_USE_S + 30
_ROOM_AGAIN_S = 1
# After one stem has given up, the others wait so much longer, since its room may be enough for them.
_ROOM_FREED_S = 5
LIFETIME_S = 24 * 3600
_SWEEP_EVERY_S = 600


class NoRoom(StemdropError):
    """The stems that are in use leave no room for a further one."""


@dataclass
class _Stem:
    made_at: float
    used_at: float
    folder: Path | None = None  # until one can be created, and after a failure
    made: int = 0
    size_bytes: int = 0
    is_over: bool = False
    trouble: StemdropError | None = None  # why no further segments are made, at least for now
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def change(self) -> None:
        """Wake the requests that wait for a segment."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait_for(self, number: int) -> Path:
        """Wait for a segment's file; after the stem's end it is silent. Raises the stem's `trouble`."""
        while self.made <= number:
            if self.trouble:
                raise self.trouble
            if self.is_over:
                return self._file(AFTER_END)
            await self.changed.wait()
        return self._file(f"{number}.flac")

    def _file(self, name: str) -> Path:
        if self.folder is None:
            raise TryLater(1, "the webhook is stopping")
        return self.folder / name


class Segments:
    """Fetches each stem from Telegram once, cuts it, and stores the segments for a day.

    When their room is full, stems that are not in use are removed, the least recently used ones first; if
    that is not enough, stems are cut no further for now. `clock` returns Unix seconds.
    """

    def __init__(
        self,
        files: TelegramFiles,
        counters: Counters,
        max_source_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._counters = counters
        self._max_source_bytes = max_source_bytes
        self._clock = clock
        self.maker = SegmentMaker()
        self.folder = SegmentFolder()
        self._stems: dict[str, _Stem] = {}
        self._gave_up_at = -math.inf  # when a stem that is in use last found no room
        # the tasks that cut stems, each with the user who first asked for its stem
        self._making: dict[asyncio.Task[None], int] = {}
        self._cutting = asyncio.Semaphore(_CUT_AT_ONCE)
        self._fetching = asyncio.Semaphore(_FETCHED_AT_ONCE)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(remove_leftovers)
        self._stack.callback(self.folder.remove)
        self._stack.push_async_callback(self.maker.close)
        sweeping = asyncio.create_task(self._sweep(), name="segments")
        self._stack.callback(sweeping.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._making:
            task.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)
        await self._stack.aclose()

    async def get(self, sent: Sent, number: int, user_id: int) -> Path:
        """Return the file of a stem's segment. If the file is removed later, the caller calls `forget`.

        Raises `NotPlayable`, `NoRoom`, `TryLater`, `SourceGone`, `SourceTooBig` and `SourceUnavailable`.
        """
        stem = self._stem(sent, user_id)
        try:
            async with asyncio.timeout(SEGMENT_PATIENCE_S):
                return await stem.wait_for(number)
        except TimeoutError:
            raise TryLater(_BUSY_AGAIN_S, "the segment is being made") from None

    def _stem(self, sent: Sent, user_id: int) -> _Stem:
        """Return the stem of a file, as the last used one; start to cut it if it is not there."""
        now = self._clock()
        name = _name(sent)
        stem = self._stems.pop(name, None)
        if stem and stem.trouble and stem.is_over and now - stem.made_at > _FAILED_AGAIN_S:
            stem = None
        if stem is None:
            of_user = list(self._making.values()).count(user_id)
            if len(self._making) >= _MOST_UNDER_WAY or of_user >= _MOST_OF_USER:
                raise TryLater(_BUSY_AGAIN_S, "too many stems are being cut")
            stem = _Stem(now, now)
            task = asyncio.create_task(self._make(stem, sent.file_id))
            self._making[task] = user_id
            task.add_done_callback(self._making.pop)
        stem.used_at = now
        self._stems[name] = stem
        return stem

    async def forget(self, sent: Sent, file: Path) -> None:
        """Remove a stem whose `file`, which `get` has returned, no longer exists: it will be made again."""
        stem = self._stems.get(_name(sent))
        if stem and stem.is_over and stem.folder == file.parent:
            await self._remove(_name(sent))

    async def _make(self, stem: _Stem, file_id: str) -> None:
        try:
            async with self._cutting:
                stem.folder = folder = await asyncio.to_thread(self.folder.new)
                source = folder / "source"
                async with self._fetching:
                    await self._fetch(file_id, source)
                async with aclosing(self.maker.cut(folder)) as sizes:
                    async for size_bytes in sizes:
                        stem.made += 1
                        stem.size_bytes += size_bytes
                        stem.change()
                        self._counters.add(MIXER_SEGMENTS, "made")
                        await self._wait_for_room(stem)
            await asyncio.to_thread(source.unlink)
        except StemdropError as error:
            await self._fail(stem, error)
        except OSError as error:
            log.warning("the mixer's segments cannot be written: %s", error.strerror or error)
            await self._fail(stem, TryLater(_FAILED_AGAIN_S, "there is no room for segments"))
        finally:
            stem.is_over = True
            stem.made_at = self._clock()
            stem.change()

    async def _fail(self, stem: _Stem, trouble: StemdropError) -> None:
        stem.trouble, stem.made, stem.size_bytes = trouble, 0, 0
        await _remove_folder(stem)

    async def _fetch(self, file_id: str, target: Path) -> None:
        """Write a file of Telegram's to `target`, or link to it if the Bot API server shares its disk."""
        try:
            found = await self._files.find(file_id)
            if found.path is not None:
                await anyio.Path(target).symlink_to(found.path)
            elif await self._files.save(found, target, self._max_source_bytes) > self._max_source_bytes:
                raise SourceTooBig("the stem is larger than Telegram said")
        except (TelegramError, httpx.HTTPError, httpx.InvalidURL) as error:
            # a library's text may hold the file's address, and so the token
            raise SourceUnavailable(
                f"a stem cannot be fetched for the mixer: {type(error).__name__}"
            ) from error

    async def _wait_for_room(self, stem: _Stem) -> None:
        """Wait until there is room for more segments of a stem.

        Raises `TryLater` for a stem that is no longer in use, and `NoRoom` if waiting does not help.
        """
        began = self._clock()
        while not await self._has_room():
            now = self._clock()
            is_in_use = now - stem.used_at <= IN_USE_S
            waits_until = max(began + _ROOM_PATIENCE_S, self._gave_up_at + _ROOM_FREED_S)
            if not is_in_use or now > waits_until:
                if is_in_use:
                    self._gave_up_at = now
                log.warning("the mixer's segments cannot be written: their part of the disk is full")
                why = "there is no room for segments"
                raise NoRoom(why) if is_in_use else TryLater(_FAILED_AGAIN_S, why)
            stem.trouble = TryLater(_BUSY_AGAIN_S, "there is no room for segments yet")
            stem.change()
            await asyncio.sleep(_ROOM_AGAIN_S)
        stem.trouble = None

    async def _has_room(self) -> bool:
        """Return whether there is room for more segments; if not, stems that are not in use are removed."""
        used = sum(stem.size_bytes for stem in self._stems.values())
        excess = used - self.folder.limit_bytes(used)
        for name, stem in list(self._stems.items()):
            if excess <= 0:
                break
            if stem.is_over and self._clock() - stem.used_at > IN_USE_S:
                excess -= stem.size_bytes
                await self._remove(name)
        return excess <= 0

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            await self.remove_old()

    async def remove_old(self) -> None:
        """Remove the stems that were made more than a day ago."""
        for name, stem in list(self._stems.items()):
            if stem.is_over and self._clock() - stem.made_at > LIFETIME_S:
                await self._remove(name)

    async def _remove(self, name: str) -> None:
        if stem := self._stems.pop(name, None):
            await _remove_folder(stem)


def _name(sent: Sent) -> str:
    """Return the name of a file's segments, which equal files of all users share."""
    return hashlib.sha256(sent.file_unique_id.encode()).hexdigest()[:32]


async def _remove_folder(stem: _Stem) -> None:
    folder, stem.folder = stem.folder, None
    if folder is not None:
        with suppress(OSError):
            await asyncio.to_thread(shutil.rmtree, folder)
