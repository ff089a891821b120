"""``python -m benchmarks [NAME ...]``: every micro benchmark (``benchmarks/micro_NAME.py``), then relay-2 in short; or those that are named."""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
from collections.abc import Sequence

import benchmarks
from benchmarks import relay_2, show
from benchmarks.processes import MissingProgramError, ProgramFaultError, adopt_orphans, end_descendants

PREFIX = "micro_"
RELAY = "relay"


def micro_benchmarks() -> list[str]:
    """The names of all micro benchmarks."""
    modules = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name.removeprefix(PREFIX) for name in modules if name.startswith(PREFIX))


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    micro = micro_benchmarks()
    names = list(arguments) or [*micro, RELAY]
    if unknown := [name for name in names if name not in micro and name != RELAY]:
        print(
            f"no benchmark is called {', '.join(unknown)}; there are {', '.join([*micro, RELAY])}",
            file=sys.stderr,
        )
        return 2
    signal.signal(signal.SIGTERM, show.end)
    adopt_orphans()
    try:
        for name in names:
            print(f"\n== {name}", flush=True)
            if name == RELAY:
                relay_2.measure()
            else:
                importlib.import_module(f"benchmarks.{PREFIX}{name}").main()
    except MissingProgramError as missing:
        print(f"{RELAY}: cannot run here: {missing}", file=sys.stderr)
        return 3
    except ProgramFaultError as fault:
        print(f"{RELAY}: {fault}", *getattr(fault, "__notes__", []), sep="\n", file=sys.stderr)
        return 1
    finally:
        end_descendants()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
