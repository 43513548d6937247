"""Run the benchmarks: ``python -m benchmarks [name ...] [--smoke] [--json PATH]``."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

from benchmarks.harness import Table, report

NAMES = (
    *("import_time", "layers", "policies", "peers", "engine", "memory", "calls"),
    *("journal", "kill_restart"),
)


def main() -> None:
    """Measure what was asked for, or everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="name", help=str(NAMES))
    parser.add_argument("--smoke", action="store_true", help="see that they run; no real figures")
    parser.add_argument("--json", metavar="PATH", help="write the figures there as well")
    options = parser.parse_args()

    def tables() -> Iterator[Table]:
        for name in options.names or NAMES:
            yield from importlib.import_module(f"benchmarks.{name}").measure(smoke=options.smoke)

    report(tables(), options.json)


if __name__ == "__main__":
    main()
