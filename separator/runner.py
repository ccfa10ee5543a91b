"""Carrying tasks from accepted to told: fetch the source, run the engine, publish the stems, call back."""

import asyncio
import logging
import shutil
import uuid
from pathlib import Path

import httpx

from separator import isolation
from separator.callbacks import CallbackSender
from separator.engine import REST, Order, Separation
from separator.engines import known_stems
from separator.errors import EngineError, UnreadableSourceError
from separator.files import Shelf
from separator.modes import STEM_NAMES, Mode
from separator.reports import callback_body
from separator.settings import SeparatorSettings
from separator.source import SourceError, fetch
from separator.tasks import Callback, State, StemFile, Task, TaskTable
from separator.turns import Turns

_log = logging.getLogger(__name__)

_FETCHED_AHEAD = (
    2  # sources on disk beside those in work, so that a slow server does not leave the engine idle
)
_PATIENCE_S = 10  # for an earlier task's source that is still coming, before a later task is served first
_MAX_STARTS = 3  # a task that is cut off this often is taken to be the reason


class _UnknownStemError(Exception):
    """The engine cannot extract what the task names."""


class Runner:
    """All tasks in hand. `open` takes up what an earlier process left; whatever `close` cuts off stays in the
    table.
    """

    def __init__(
        self,
        settings: SeparatorSettings,
        table: TaskTable,
        results: Shelf,
        uploads: Shelf,
        client: httpx.AsyncClient,
    ) -> None:
        self._settings = settings
        self._table = table
        self._results = results
        self._uploads = uploads
        self._client = client
        self._callbacks = CallbackSender(client, settings)
        self._work = settings.data / "work"
        self._places = asyncio.Semaphore(settings.engine_runs + _FETCHED_AHEAD)  # first come, first served
        self._turns = Turns(_PATIENCE_S)
        self._engines = asyncio.Semaphore(settings.engine_runs)
        self._in_hand: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        for task in self._table.unfinished():
            self.take(task)

    def take(self, task: Task) -> None:
        """Carry `task` on in the background."""
        job = asyncio.create_task(self._carry(task), name=f"task {task.id}")
        self._in_hand.add(job)
        job.add_done_callback(self._in_hand.discard)

    async def close(self) -> None:
        for job in self._in_hand:
            job.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)

    async def _carry(self, task: Task) -> None:
        try:
            if task.state is State.OPEN:
                async with self._places:
                    await self._run(task)
            await self._report(task.id)
        except Exception:
            _log.exception("task %s could not be carried to its end", task.id)

    async def _run(self, task: Task) -> None:
        """Bring an open task to done or failed."""
        if self._table.start(task.id) > _MAX_STARTS:
            self._fail(task, 500, "the separation was cut off several times; it is not tried again")
            return
        folder = self._work / task.id
        folder.mkdir(exist_ok=True)
        try:
            stems = await self._separate(task, folder)
        except asyncio.CancelledError:
            self._table.hand_back(task.id)
            raise
        except SourceError as error:
            self._fail(task, 451, str(error))
        except (UnreadableSourceError, _UnknownStemError) as error:
            self._fail(task, 400, str(error))
        except EngineError as error:
            self._fail(task, 500, str(error))
        except Exception:
            _log.exception("task %s failed", task.id)
            self._fail(task, 500, "the server failed; try again later")
        else:
            self._table.finish(task.id, stems)
            _log.info("task %s: done", task.id)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fail(self, task: Task, code: int, message: str) -> None:
        self._table.fail(task.id, code, message)
        _log.info("task %s: failed with %s: %s", task.id, code, message)

    async def _separate(self, task: Task, folder: Path) -> tuple[StemFile, ...]:
        settings = self._settings
        only = self._wanted(task)  # before the source is fetched in vain
        async with self._turns.getting_ready():
            source = await self._source(task, folder)
        order = Order(source, folder, only, settings.file_format, settings.max_duration_s)
        async with self._engines:
            result = await isolation.separate(
                settings.engine, order, settings.engine_timeout_s, settings.engine_memory_bytes
            )
        return self._publish(task, result)

    async def _source(self, task: Task, folder: Path) -> Path:
        url = task.creation.audio_url
        uploaded = self._uploads.at(url)  # our own address need not be reachable from in here
        if uploaded is not None:
            return uploaded
        file = folder / "source"
        limits = self._settings.max_source_bytes, self._settings.fetch_timeout_s
        await fetch(self._client, url, file, *limits)
        return file

    def _wanted(self, task: Task) -> str | None:
        """The one stem to extract, or `None` for all of them."""
        if task.creation.mode is Mode.SPLIT_STEM:
            return None
        if task.creation.stem_name is None:
            return "vocals"
        stem = STEM_NAMES[task.creation.stem_name]
        known = known_stems(self._settings.engine)
        if stem not in known:
            names = ", ".join(name for name, stem in STEM_NAMES.items() if stem in known)
            raise _UnknownStemError(f"this engine cannot extract {task.creation.stem_name}; it knows {names}")
        return stem

    def _publish(self, task: Task, result: Separation) -> tuple[StemFile, ...]:
        """Move the stems to where clients fetch them."""
        shelf = self._results.add()
        published = []
        for stem, file in result.files.items():
            target = file.rename(shelf / f"{_file_name(task, stem)}{file.suffix}")
            published.append(StemFile(uuid.uuid4().hex, stem, self._results.url(target), result.duration_s))
        return tuple(published)

    async def _report(self, task_id: str) -> None:
        task = self._table.find(task_id)
        if task is None or task.callback is not Callback.DUE:
            return
        body = callback_body(task, self._settings.callback_object)
        arrived = await self._callbacks.send(task.creation.callback_url, task.id, body)
        self._table.called_back(task.id, Callback.DELIVERED if arrived else Callback.GIVEN_UP)


def _file_name(task: Task, stem: str) -> str:
    """What a person sees who saves the file."""
    name = task.creation.stem_name
    if name is not None:
        return f"Without {name}" if stem == REST else name
    return "Instrumental" if stem == REST else stem.capitalize()
