"""Plants bugs in a copy of a checkout, one at a time, and sees whether the tests of the bug's area find it.

python -m tests.planted --checkout DIR --out before.json
python -m tests.planted --checkout DIR --area scheduler bus
python -m tests.planted --checkout DIR --first after.json --out before.json
python -m tests.planted --table before.json after.json
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.planted import results
from tests.planted.bugs import AREAS, BUGS, Bug
from tests.planted.results import Result
from tests.planted.running import Outcome, adopt_orphans, run
from tests.planted.tree import Tree, copied

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.table:
        before, after = map(results.load, options.table)
        results.TABLE.write_text(results.table(before, after))
        return 0
    adopt_orphans()
    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _end)
    try:
        return _try_all(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description="Plants bugs and runs tests.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--checkout", type=Path, help="whose code and tests; it is copied and stays as it is")
    what.add_argument("--table", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help=f"write {results.TABLE.name}")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[bug.name for bug in BUGS], help="these bugs")
    parser.add_argument("--area", nargs="+", choices=AREAS, help="the bugs of these areas")
    parser.add_argument("--at-once", type=int, default=3, metavar="N", help="processes of pytest (default: 3)")
    parser.add_argument("--limit", type=float, default=240.0, metavar="SECS", help="of one run (default: 240)")
    parser.add_argument(
        "--first", type=Path, metavar="RESULTS", help="of another checkout: what has caught a bug there goes first here"
    )
    parser.add_argument("--green", action="store_true", help="the checkout's tests are known to pass without a bug")
    parser.add_argument("--out", type=Path, help="where to write what was found, as JSON")
    return parser.parse_args(arguments)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Once: nothing may interrupt the tidying up that follows."""
    for one in _ENDS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _try_all(options: argparse.Namespace) -> int:
    found: dict[str, Result] = {}
    with copied(options.checkout.resolve()) as tree:
        for area, some in groupby(_chosen(options), key=lambda bug: bug.area):
            for result in _try_area(tree, area, list(some), options):
                print(result.line(), flush=True)
                found[result.name] = result
                if options.out is not None:
                    results.save(options.out, found)
    print(f"{sum(one.is_caught for one in found.values())} of {len(found)} caught")
    return 0 if all(one.is_caught for one in found.values()) else 1


def _chosen(options: argparse.Namespace) -> list[Bug]:
    return [
        bug
        for bug in BUGS
        if (not options.only or bug.name in options.only) and (not options.area or bug.area in options.area)
    ]


def _try_area(tree: Tree, area: str, bugs: Sequence[Bug], options: argparse.Namespace) -> Iterator[Result]:
    """All bugs of an area have the same tests, which must be green without any."""
    known = results.load(options.first) if options.first else {}
    rest = []
    for bug in bugs:
        if (result := _try_known(tree, bug, known.get(bug.name), options)) is not None:
            yield result
        else:
            rest.append(bug)
    if rest:
        yield from _try_rest(tree, area, rest, options)


def _try_known(tree: Tree, bug: Bug, known: Result | None, options: argparse.Namespace) -> Result | None:
    """With the one test that caught the bug elsewhere; None where it does not, or is not there, or fails without it."""
    if known is None or known.how != "failed":
        return None
    if not run(tree, [known.by], at_once=1, limit=options.limit).is_green:
        return None
    result = _try(tree, bug, [known.by], options)
    return result if result.how == "failed" else None


def _try_rest(tree: Tree, area: str, bugs: Sequence[Bug], options: argparse.Namespace) -> Iterator[Result]:
    paths, absent = tree.find(bugs[0].tests)
    for pattern in absent:
        print(f"{area}: there is no {pattern}; skipped", flush=True)
    if not (options.green and paths):
        yield from _try_if_green(tree, area, bugs, paths, options)
        return
    for bug in bugs:
        yield _try(tree, bug, paths, options)


def _try_if_green(
    tree: Tree, area: str, bugs: Sequence[Bug], paths: Sequence[str], options: argparse.Namespace
) -> Iterator[Result]:
    whole = run(tree, paths, at_once=options.at_once, limit=options.limit) if paths else None
    if whole is None or not whole.is_green:
        why = _why_not_green(whole)
        print(f"{area}: {why}; its bugs are left out\n{whole.tail if whole else ''}", flush=True)
        yield from (Result(bug.name, area, "not run", why) for bug in bugs)
        return
    print(f"{area}: green without a bug, {whole.seconds:.0f} s ({whole.cpu:.0f} s of CPU)", flush=True)
    if whole.seconds > options.limit / 2:
        print(f"{area}: that is close to the limit; give more, or what is only slow counts as caught", flush=True)
    for bug in bugs:
        yield _try(tree, bug, paths, options)


def _why_not_green(whole: Outcome | None) -> str:
    if whole is None:
        return "there are no tests"
    if whole.code is None:
        return "without a bug its tests are over the limit"
    return f"without a bug its tests fail ({whole.first_failure or f'pytest ended with {whole.code}'})"


def _try(tree: Tree, bug: Bug, paths: Sequence[str], options: argparse.Namespace) -> Result:
    try:
        with tree.planted(bug):
            outcome = run(tree, paths, at_once=options.at_once, limit=options.limit)
    except ValueError as error:
        return Result(bug.name, bug.area, "does not fit", str(error))
    return _judged(bug, outcome)


def _judged(bug: Bug, outcome: Outcome) -> Result:
    seconds = round(outcome.seconds, 1)
    if outcome.is_green:
        return Result(bug.name, bug.area, "not caught", seconds=seconds)
    if outcome.code is None:
        return Result(bug.name, bug.area, "hangs", seconds=seconds)
    if (test := outcome.first_failure) is not None:
        return Result(bug.name, bug.area, "failed", test, seconds)
    print(outcome.tail, flush=True)
    return Result(bug.name, bug.area, "not run", f"pytest ended with {outcome.code}", seconds)


if __name__ == "__main__":
    sys.exit(main())
