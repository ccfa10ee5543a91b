"""Runs tasks: fetches the source, runs the engine, publishes the stems, sends the callback."""

import asyncio
import logging
import shutil
import sqlite3
import uuid
from contextlib import suppress
from pathlib import Path

import httpx

from separator import isolation
from separator.arrival_order import ArrivalOrder
from separator.callbacks import CallbackSender
from separator.engine import REST, EngineRequest, Separation
from separator.engines import known_stems
from separator.errors import DISK_ERRORS, EngineError, UnreadableSourceError
from separator.file_store import ExpiringFiles
from separator.modes import STEM_NAMES, Mode
from separator.reports import callback_body
from separator.settings import SeparatorSettings
from separator.source import SourceError, fetch
from separator.task_table import CallbackState, PublishedStem, Task, TaskState, TaskTable

_log = logging.getLogger(__name__)

_FETCHED_AHEAD = 2  # sources that wait for the engine, so that a slow download does not leave it idle
_ARRIVAL_ORDER_TIMEOUT_S = 10  # after that a task overtakes an earlier one whose source is still loading
_LONGEST_DISK_PAUSE_S = 600
_MAX_STARTS = 3  # a task that was interrupted this often probably crashes the server


class TaskRunner:
    """Runs all unfinished tasks; `open` resumes those that an earlier process or `close` interrupted."""

    def __init__(
        self,
        settings: SeparatorSettings,
        table: TaskTable,
        results: ExpiringFiles,
        uploads: ExpiringFiles,
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
        self._arrival_order = ArrivalOrder(_ARRIVAL_ORDER_TIMEOUT_S)
        self._engines = asyncio.Semaphore(settings.engine_runs)
        self._running: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._work.mkdir(parents=True, exist_ok=True)
        for folder in self._work.iterdir():
            if self._table.find(folder.name):  # else it is the operator's own
                shutil.rmtree(folder, ignore_errors=True)
        for task in self._table.unfinished():
            self.start(task)

    def start(self, task: Task) -> None:
        running = asyncio.create_task(self._complete(task), name=f"task {task.id}")
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def close(self) -> None:
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _complete(self, task: Task) -> None:
        """Run the task and report its end; repeated while the disk is full or away."""
        pause_s, starts = self._settings.disk_pause_s, 0
        while True:
            try:
                task = self._table.find(task.id) or task
                if task.state is TaskState.OPEN:
                    async with self._places:
                        # attempts that only the disk has ended count as one start
                        starts = starts or self._table.start(task.id)
                        await self._run(task, starts)
                await self._report(task.id)
                return
            except (OSError, sqlite3.Error) as error:
                _log.warning(
                    "task %s: the disk cannot be written, tried again in %.0f s: %s", task.id, pause_s, error
                )
            except Exception:
                _log.exception("task %s: unexpected error", task.id)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_DISK_PAUSE_S)

    async def _run(self, task: Task, starts: int) -> None:
        """Separate the song. Raises `OSError` or `sqlite3.Error` if the disk is full or away."""
        if starts > _MAX_STARTS:
            self._fail(task, 500, "the separation was interrupted several times; it is not tried again")
            return
        folder = self._work / task.id
        try:
            folder.mkdir(exist_ok=True)
            stems = await self._separate(task, folder)
        except asyncio.CancelledError:
            with suppress(sqlite3.Error):  # the cancellation must not be lost
                self._table.undo_start(task.id)
            raise
        except SourceError as error:
            self._fail(task, 451, str(error))
        except UnreadableSourceError as error:
            self._fail(task, 400, str(error))
        except EngineError as error:
            self._fail(task, 500, str(error))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                raise
            _log.exception("task %s: unexpected error", task.id)
            self._fail(task, 500, "the server failed; try again later")
        else:
            self._finish(task, stems)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _finish(self, task: Task, stems: tuple[PublishedStem, ...]) -> None:
        try:
            self._table.finish(task.id, stems)
        except sqlite3.Error:  # the next attempt publishes its stems anew
            for folder in {file.parent for stem in stems if (file := self._results.at(stem.url))}:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        _log.info("task %s: done", task.id)

    def _fail(self, task: Task, code: int, message: str) -> None:
        self._table.fail(task.id, code, message)
        _log.info("task %s: failed with %s: %s", task.id, code, message)

    async def _separate(self, task: Task, folder: Path) -> tuple[PublishedStem, ...]:
        settings = self._settings
        only = self._wanted(task)  # raises before the source is fetched
        async with self._arrival_order.preparing():
            source = await self._source(task, folder)
        request = EngineRequest(
            source,
            folder,
            only,
            task.request.file_format or settings.file_format,
            settings.max_duration_s,
            task.request.max_file_bytes,
        )
        async with self._engines:
            result = await isolation.separate(
                settings.engine, request, settings.engine_timeout_s, settings.engine_memory_bytes
            )
        return self._publish(task, result)

    async def _source(self, task: Task, folder: Path) -> Path:
        url = task.request.audio_url
        uploaded = self._uploads.at(url)  # our public address may be unreachable from here
        if uploaded is not None:
            return uploaded
        file, settings = folder / "source", self._settings
        limits = settings.max_source_bytes, settings.fetch_timeout_s
        await fetch(self._client, url, file, *limits, settings.source_pauses_s)
        return file

    def _wanted(self, task: Task) -> str | None:
        if task.request.mode is Mode.SPLIT_STEM:
            return None
        if task.request.stem_name is None:
            return "vocals"
        stem = STEM_NAMES[task.request.stem_name]
        if stem not in known_stems(self._settings.engine):  # it was accepted before the engine was changed
            raise EngineError(f"this engine cannot extract {task.request.stem_name}")
        return stem

    def _publish(self, task: Task, result: Separation) -> tuple[PublishedStem, ...]:
        folder = self._results.add()
        published = []
        for stem, file in result.files.items():
            target = file.rename(folder / f"{_file_name(task, stem)}{file.suffix}")
            url = self._results.url(target)
            published.append(PublishedStem(uuid.uuid4().hex, stem, url, result.duration_s))
        return tuple(published)

    async def _report(self, task_id: str) -> None:
        task = self._table.find(task_id)
        if task is None or task.callback is not CallbackState.DUE:
            return
        body = callback_body(task, self._settings.callback_object)
        delivered = await self._callbacks.send(task.request.callback_url, task.id, body)
        state = CallbackState.DELIVERED if delivered else CallbackState.GIVEN_UP
        self._table.store_callback_state(task.id, state)


def _file_name(task: Task, stem: str) -> str:
    name = task.request.stem_name
    if name is not None:
        return f"Without {name}" if stem == REST else name
    return "Instrumental" if stem == REST else stem.capitalize()
