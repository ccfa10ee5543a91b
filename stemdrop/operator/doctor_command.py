"""`stemdrop doctor`: the settings against the real world, line by line, each with what to do about it."""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from stemdrop.doctor.report import Finding, Result, counters, is_well, summary
from stemdrop.errors import SettingsError
from stemdrop.observability.logging import hidden, set_up_logging
from stemdrop.operator.terminal import nobody_reads, say, sorry
from stemdrop.settings import Settings, load_settings

_MARKS = {Result.OK: "✓", Result.WARNING: "!", Result.WRONG: "✗", Result.UNCHECKED: "–"}
_PLAIN_MARKS = {Result.OK: "+", Result.WARNING: "!", Result.WRONG: "x", Result.UNCHECKED: "-"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--json", action="store_true", help="for machines")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run it; returns the exit code: 1 where something is wrong, 2 for a wrong setting."""
    try:
        settings = load_settings(environ, Path(".env"))
    except SettingsError as error:
        if args.json:
            advice = "correct it in the environment or in .env"
            finding = Finding("settings", "settings", Result.WRONG, str(error), advice)
            say([_as_json([finding])])
            return 2
        return sorry(error, 2)
    set_up_logging("CRITICAL", settings.log_format, settings.secrets, sys.stderr)
    try:
        return asyncio.run(_run(args, settings))
    except BrokenPipeError:
        return nobody_reads()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # SSL_CERT_FILE may name a file that is not there
        reason = hidden(f"{type(error).__name__}: {error}", settings.secrets)
        return sorry(f"the doctor itself failed: {reason}", 1)


async def _run(args: argparse.Namespace, settings: Settings) -> int:
    from stemdrop.doctor.checkup import examine  # noqa: PLC0415 - a wrong setting is named without its libraries

    if not args.json and sys.stderr.isatty():
        sys.stderr.write("Looking; this takes at most 40 seconds …\n")
    findings = await examine(settings)
    say([_as_json(findings)] if args.json else lines(findings, _can_write_marks()))
    return 0 if is_well(findings) else 1


def lines(findings: Sequence[Finding], has_marks: bool = True) -> list[str]:
    """By subject, a line each, and below it what to do; the sum at the end."""
    marks, arrow = (_MARKS, "→") if has_marks else (_PLAIN_MARKS, "->")
    width = max((len(finding.check) for finding in findings), default=0)
    text = []
    for subject, of_it in groupby(findings, lambda finding: finding.subject):
        text += [subject[0].upper() + subject[1:]]
        for finding in of_it:
            text.append(f"  {marks[finding.result]} {finding.check:<{width}}  {finding.found}")
            if finding.advice:
                text.append(f"      {arrow} {finding.advice}")
    return [*text, "", summary(findings)]


def _as_json(findings: Sequence[Finding]) -> str:
    number = counters(findings)
    total = {result.value: number[result] for result in Result}
    facts = {"is_well": is_well(findings), "counts": total, "findings": [asdict(it) for it in findings]}
    return json.dumps(facts, indent=2)


def _can_write_marks() -> bool:
    try:
        "✓✗–→".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
