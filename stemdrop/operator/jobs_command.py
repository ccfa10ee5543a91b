"""`stemdrop jobs`: what is open and what could not end well, and what its operator does about it.

Needs Redis and the settings, beside whatever runs. Looking loads no room, so that it is there at once.
"""

import argparse
import asyncio
import importlib
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from stemdrop.domain.jobs import Job, JobState
from stemdrop.errors import NoSuchJob, SettingsError, StoreUnavailable
from stemdrop.observability.logging import set_up_logging
from stemdrop.observability.printable_text import printable
from stemdrop.operator.job_data import Facts, letter_facts, summary, whole
from stemdrop.operator.job_tables import dead_table, letter_page, letter_table, open_table, page
from stemdrop.operator.terminal import nobody_reads, redis_place, say, sorry
from stemdrop.settings import Settings, load_settings
from stemdrop.storage.connection import connect
from stemdrop.storage.dead_letters import DeadLetter, DeadLetters
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users

if TYPE_CHECKING:
    from stemdrop.operator.job_actions import Outcome

log = logging.getLogger(__name__)

# More than the lists of what ended badly hold.
_ALL = 1000
_SHOWN = 30
_ACTIONS = {
    "show": "everything about one job; the beginning of its id is enough",
    "retry": "try a failed job again at the operator's cost; stems that are paid for are only fetched again",
    "resend": "send all stems of a job once more, from what Telegram keeps, at no cost",
    "drop": "end an open job; take a dead letter off the list",
}
_HEADS = {
    "open": ("Open", "Nothing is open."),
    "failed": ("Failed", "Nothing has failed."),
    "incomplete": ("Delivered with stems missing", ""),
    "given_up": ("Tasks given up", ""),
}
_TABLES = {"open": open_table, "failed": dead_table, "incomplete": dead_table, "given_up": letter_table}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions, and the options of each."""
    _add_list_options(parser)
    actions = parser.add_subparsers(dest="action", metavar="action")
    # what stands before the action must not be overwritten by its defaults
    listing = actions.add_parser("list", help="what is open and what ended badly (the default)")
    _add_list_options(listing, default=argparse.SUPPRESS)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("id", help="the job's id or its beginning, or a given-up task's key")
        _add_json(action, default=argparse.SUPPRESS)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run it; returns the exit code: 1 where it could not be done, 2 for a wrong setting."""
    try:
        settings = load_settings(environ, Path(".env"))
    except SettingsError as error:
        return sorry(error, 2)
    set_up_logging("ERROR", settings.log_format, settings.secrets, sys.stderr)
    try:
        return asyncio.run(_run(args, settings))
    except NoSuchJob as error:
        return sorry(error, 1)
    except StoreUnavailable as error:
        return sorry(f"REDIS_URL: {redis_place(settings)}: {error}", 1)
    except BrokenPipeError:
        return nobody_reads()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        log.error("%s: %s", type(error).__name__, error)
        return 1


async def _run(args: argparse.Namespace, settings: Settings) -> int:
    async with connect(settings.redis_url) as redis:
        view = _View(settings, redis)
        if args.action in (None, "list"):
            say(await view.listed(args))
            return 0
        found = await view.find(args.id)
        if args.action == "show":
            say(await view.shown(found, is_json=args.json))
            return 0
        # only now: who looks need not wait for the rooms that act
        actions = importlib.import_module("stemdrop.operator.job_actions")
        outcome: Outcome = await actions.perform(settings, redis, args.action, found)
    if args.json:
        say([json.dumps(asdict(outcome))])
    elif outcome.is_done:
        say([printable(outcome.text)])
    else:
        return sorry(printable(outcome.text), 1)
    return 0 if outcome.is_done else 1


class _View:
    """What is known now, as lines."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._store = JobStore(redis)
        self._dead_letters = DeadLetters(redis)
        self._users = Users(redis, settings)
        self._names: dict[int, str] = {}  # of accounts
        self._now = time.time()

    async def listed(self, args: argparse.Namespace) -> list[str]:
        """What is open and the dead letters, or one of both."""
        store, lists = self._store, dict[str, list[Facts]]()
        jobs = await store.open_jobs()
        open_ids = {job.id for job in jobs}
        if args.open or not args.failed:
            # what ended badly, and whose user is still to be shown it, is among the dead letters
            jobs = [job for job in jobs if job.state is not JobState.FAILED and not job.is_incomplete]
            lists["open"] = await self._summaries(jobs, open_ids)
        if args.failed or not args.open:
            lists["failed"] = await self._summaries(await store.failed_jobs(_ALL), open_ids)
            lists["incomplete"] = await self._summaries(await store.incomplete_jobs(_ALL), open_ids)
            lists["given_up"] = [letter_facts(letter, self._now) for letter in await self._dead_letters.all()]
        if args.json:
            return [json.dumps({name: facts[: args.limit] for name, facts in lists.items()}, indent=2)]
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        limit = args.limit or _SHOWN
        sections = [_section(name, facts, limit, width) for name, facts in lists.items()]
        return [line for section in sections if section for line in ("", *section)][1:]

    async def shown(self, found: Job | DeadLetter, *, is_json: bool) -> Sequence[str]:
        """Everything of one job, or of one task that was given up."""
        if isinstance(found, DeadLetter):
            facts = letter_facts(found, self._now)
            lines = letter_page(facts, self._now)
        else:
            store, name = self._store, await self._name(found)
            history, sent = await store.history(found.id), await store.sent(found.id)
            facts = whole(found, name, history, sent, await store.packed(found.id), self._now)
            lines = page(facts, self._now)
        return [json.dumps(facts, indent=2)] if is_json else lines

    async def find(self, words: str) -> Job | DeadLetter:
        """The one job whose id begins so, or the task that was given up. Raises `NoSuchJob`."""
        if ":" in words:
            dead_letters = {letter.key: letter for letter in await self._dead_letters.all()}
            return dead_letters[
                _the_only([key for key in dead_letters if key.startswith(words)], words, "task")
            ]
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

    async def _summaries(self, jobs: Sequence[Job], open_ids: Collection[str]) -> list[Facts]:
        return [summary(job, await self._name(job), self._now, is_open=job.id in open_ids) for job in jobs]

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


def _section(name: str, facts: Sequence[Facts], limit: int, width: int | None) -> list[str]:
    head, none = _HEADS[name]
    if not facts:
        return [none] if none else []
    more = len(facts) - limit
    rest = [f"… and {more} more (--limit)"] if more > 0 else []
    return [f"{head} ({len(facts)})", *_TABLES[name](facts[:limit], width), *rest]


def _add_list_options(parser: argparse.ArgumentParser, **given: Any) -> None:
    parser.add_argument("--open", action="store_true", help="only what is open", **given)
    parser.add_argument("--failed", action="store_true", help="only the dead letters", **given)
    parser.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        help=f"at most so many lines a list (default: {_SHOWN}; with --json all)",
        **given,
    )
    _add_json(parser, **given)


def _add_json(parser: argparse.ArgumentParser, **given: Any) -> None:
    parser.add_argument("--json", action="store_true", help="for machines; times in UTC", **given)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a number from 1")
    return int(text)
