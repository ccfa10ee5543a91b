"""`stemdrop doctor`: checks the settings against the real world, one line per check, each with advice."""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from stemdrop.doctor.report import CheckResult, Finding, count_results, is_well, summary
from stemdrop.errors import SettingsError
from stemdrop.operator.command_run import run_command
from stemdrop.operator.terminal import print_lines
from stemdrop.settings import Settings

_MARKS = {CheckResult.OK: "✓", CheckResult.WARNING: "!", CheckResult.WRONG: "✗", CheckResult.UNCHECKED: "–"}
_PLAIN_MARKS = {
    **{CheckResult.OK: "+", CheckResult.WARNING: "!"},
    **{CheckResult.WRONG: "x", CheckResult.UNCHECKED: "-"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the command; returns the exit code: 1 if something is wrong, 2 for a wrong setting."""
    return run_command(_run, args, environ, on_wrong_setting=_print_as_json if args.json else None)


async def _run(args: argparse.Namespace, settings: Settings) -> int:
    # imported only now: a wrong setting is reported without waiting for these libraries
    checks = importlib.import_module("stemdrop.doctor.checks")
    if not args.json and sys.stderr.isatty():
        sys.stderr.write("Checking; this takes at most 40 seconds …\n")
    findings: list[Finding] = await checks.run_checks(settings)
    print_lines([_as_json(findings)] if args.json else lines(findings, _can_write_marks()))
    return 0 if is_well(findings) else 1


def _print_as_json(error: SettingsError) -> None:
    advice = "correct it in the environment or in .env"
    findings = [
        Finding("settings", "settings", CheckResult.WRONG, line, advice) for line in str(error).splitlines()
    ]
    print_lines([_as_json(findings)])


def lines(findings: Sequence[Finding], has_marks: bool = True) -> list[str]:
    """Return one line per finding, grouped by subject, with the advice below it and a summary at the end."""
    marks, arrow = (_MARKS, "→") if has_marks else (_PLAIN_MARKS, "->")
    width = max((len(finding.check) for finding in findings), default=0)
    text = []
    for subject, of_subject in groupby(findings, lambda finding: finding.subject):
        text += [subject[0].upper() + subject[1:]]
        for finding in of_subject:
            text.append(f"  {marks[finding.result]} {finding.check:<{width}}  {finding.found}")
            if finding.advice:
                text.append(f"      {arrow} {finding.advice}")
    return [*text, "", summary(findings)]


def _as_json(findings: Sequence[Finding]) -> str:
    number = count_results(findings)
    counts = {result.value: number[result] for result in CheckResult}
    document = {"is_well": is_well(findings), "counts": counts, "findings": [asdict(it) for it in findings]}
    return json.dumps(document, indent=2)


def _can_write_marks() -> bool:
    try:
        "✓✗–→".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
