"""`stemdrop jobs`: lists jobs, shows, retries, resends or drops one job, and prints the ledger.

The command needs Redis and the settings, on any machine. It lists jobs fast, because it does not import the
product's processes for that.
"""

import argparse
import importlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from stemdrop.domain.jobs import Job, JobState
from stemdrop.errors import NoSuchJob
from stemdrop.observability.printable_text import printable
from stemdrop.operator.command_run import run_command
from stemdrop.operator.job_data import JobDetails, ListedJob, ListedTask
from stemdrop.operator.job_tables import dead_table, job_page, open_table, task_page, task_table
from stemdrop.operator.ledger_command import TEXT, add_ledger_arguments, print_ledger
from stemdrop.operator.terminal import print_error, print_lines
from stemdrop.settings import Settings
from stemdrop.storage.connection import connect
from stemdrop.storage.create_calls import CreateCalls
from stemdrop.storage.dead_letters import DeadLetter, DeadLetters
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users

if TYPE_CHECKING:
    from stemdrop.operator.job_actions import ActionOutcome

# More than the lists of failed and of incomplete jobs hold.
_ALL = 1000
_SHOWN = 30
_ACTIONS = {
    "show": "show everything about one job; the beginning of its id is enough",
    "retry": "try a failed job again at the operator's cost; stems that are paid for are only fetched again",
    "resend": "send all stems of a job once more, or those that its chat did not take, at no cost",
    "drop": "end an open job, or take a dead letter off the list",
}


@dataclass(frozen=True, slots=True)
class _Section:
    """One list of `stemdrop jobs`: its items, its heading, its line if it is empty, and its table."""

    items: Sequence[Any]
    heading: str
    empty: str
    table: Callable[[Sequence[Any], int | None], list[str]]

    def lines(self, limit: int, width: int | None) -> list[str]:
        if not self.items:
            return [self.empty] if self.empty else []
        more = len(self.items) - limit
        rest = [f"… and {more} more (--limit)"] if more > 0 else []
        return [f"{self.heading} ({len(self.items)})", *self.table(self.items[:limit], width), *rest]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _add_list_options(parser)
    actions = parser.add_subparsers(dest="action", metavar="action")
    # an option before the action must not be overwritten by the action's default
    text = "list open and failed jobs (the default)"
    listing = actions.add_parser("list", help=text, description=text)
    _add_list_options(listing, default=argparse.SUPPRESS)
    ledger = actions.add_parser("ledger", help=TEXT, description=TEXT)
    add_ledger_arguments(ledger)
    _add_json(ledger, default=argparse.SUPPRESS)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("id", help="the job's id or its beginning, or a given-up task's key")
        _add_json(action, default=argparse.SUPPRESS)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the command; returns the exit code: 1 if it failed, 2 for a wrong setting."""
    return run_command(_run, args, environ)


async def _run(args: argparse.Namespace, settings: Settings) -> int:
    async with connect(settings.redis_url) as redis:
        jobs = _Jobs(settings, redis)
        if args.action in (None, "list"):
            print_lines(await jobs.listed(args))
            return 0
        if args.action == "ledger":
            return await print_ledger(args, CreateCalls(redis))
        found = await jobs.find(args.id)
        if args.action == "show":
            print_lines(await jobs.shown(found, is_json=args.json))
            return 0
        # imported only now: listing does not need the bot's and the worker's libraries
        actions = importlib.import_module("stemdrop.operator.job_actions")
        outcome: ActionOutcome = await actions.perform(settings, redis, args.action, found)
    if args.json:
        print_lines([json.dumps(asdict(outcome))])
    elif outcome.is_done:
        print_lines([printable(outcome.text)])
    else:
        return print_error(printable(outcome.text), 1)
    return 0 if outcome.is_done else 1


class _Jobs:
    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._store = JobStore(redis)
        self._dead_letters = DeadLetters(redis)
        self._users = Users(redis, settings)
        self._calls = CreateCalls(redis)
        several = len(settings.providers) > 1
        self._open_table = partial(open_table, has_providers=several)
        self._dead_table = partial(dead_table, has_providers=several)
        self._names: dict[int, str] = {}  # by account
        self._now = time.time()

    async def listed(self, args: argparse.Namespace) -> list[str]:
        """Return the lines of the lists that are asked for, by default of open jobs and dead letters."""
        store, sections = self._store, dict[str, _Section]()
        asked = {name for name in ("open", "failed", "delivered") if getattr(args, name)}
        asked = asked or {"open", "failed"}
        jobs = await store.open_jobs()
        open_ids = {job.id for job in jobs}
        if "open" in asked:
            # a failed job whose user was not told yet is open, but listed among the dead letters
            jobs = [job for job in jobs if job.state is not JobState.FAILED and not job.is_incomplete]
            opened = await self._list(jobs, open_ids)
            sections["open"] = _Section(opened, "Open", "Nothing is open.", self._open_table)
        if "failed" in asked:
            failed = await self._list(await store.failed_jobs(_ALL), open_ids)
            sections["failed"] = _Section(failed, "Failed", "Nothing has failed.", self._dead_table)
            incomplete = await self._list(await store.incomplete_jobs(_ALL), open_ids)
            sections["incomplete"] = _Section(
                incomplete, "Delivered with stems missing", "", self._dead_table
            )
            tasks = [ListedTask(letter, self._now) for letter in await self._dead_letters.all()]
            sections["given_up"] = _Section(tasks, "Tasks given up", "", task_table)
        if "delivered" in asked:
            delivered = await self._list(await store.delivered_jobs(_ALL), open_ids)
            sections["delivered"] = _Section(
                delivered, "Delivered", "Nothing was delivered.", self._open_table
            )
        if args.json:
            lists = {
                name: [item.to_json() for item in section.items[: args.limit]]
                for name, section in sections.items()
            }
            return [json.dumps(lists, indent=2)]
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        texts = [section.lines(args.limit or _SHOWN, width) for section in sections.values()]
        return [line for lines in texts if lines for line in ("", *lines)][1:]

    async def shown(self, found: Job | DeadLetter, *, is_json: bool) -> Sequence[str]:
        if isinstance(found, DeadLetter):
            task = ListedTask(found, self._now)
            return [json.dumps(task.to_json(), indent=2)] if is_json else task_page(task)
        store, name = self._store, await self._name(found)
        history, sent = await store.history(found.id), await store.sent(found.id)
        packed = await store.packed(found.id)
        calls = await self._calls.of_job(found.id)
        details = JobDetails(found, name, self._now, history.is_open, history, sent, packed, calls)
        return [json.dumps(details.to_json(), indent=2)] if is_json else job_page(details)

    async def find(self, words: str) -> Job | DeadLetter:
        """Return the one job, or given-up task, whose id begins with `words`. Raises `NoSuchJob`."""
        if ":" in words:
            letters = {letter.key: letter for letter in await self._dead_letters.all()}
            return letters[_the_only([key for key in letters if key.startswith(words)], words, "task")]
        prefix = words.lower()
        ids = await self._store.beginning(prefix) if re.fullmatch("[0-9a-f]{1,16}", prefix) else []
        job_id = _the_only(ids, words, "job")
        try:
            job = await self._store.get(job_id)
        except (KeyError, TypeError, ValueError) as error:
            raise NoSuchJob(f"job {job_id} cannot be read: was it written by a newer version?") from error
        if job is None:
            raise NoSuchJob(f"job {job_id} was deleted just now")
        return job

    async def _list(self, jobs: Sequence[Job], open_ids: Collection[str]) -> list[ListedJob]:
        return [ListedJob(job, await self._name(job), self._now, job.id in open_ids) for job in jobs]

    async def _name(self, job: Job) -> str:
        if job.account not in self._names:
            self._names[job.account] = (await self._users.person(job.account)).name
        return self._names[job.account]


def _the_only(found: Sequence[str], words: str, kind: str) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoSuchJob(f"no {kind} begins with {words!r}")
    raise NoSuchJob(f"{len(found)} {kind}s begin with {words!r}: {', '.join(found[:5])}")


def _add_list_options(parser: argparse.ArgumentParser, **given: Any) -> None:
    parser.add_argument("--open", action="store_true", help="only open jobs", **given)
    parser.add_argument(
        "--failed",
        action="store_true",
        help="only dead letters: failed and incomplete jobs, and given-up tasks",
        **given,
    )
    parser.add_argument("--delivered", action="store_true", help="only delivered jobs", **given)
    parser.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        help=f"at most N lines per list (default: {_SHOWN}; with --json all)",
        **given,
    )
    _add_json(parser, **given)


def _add_json(parser: argparse.ArgumentParser, **given: Any) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, with times in UTC", **given)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a number from 1")
    return int(text)
