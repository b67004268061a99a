"""The command line of `make chaos`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from chaos.plan import CHANNELS, FAULTS, Plan
from chaos.run import run

_DATABASES = ("sqlite", "postgres")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plans that are asked for; return 0 if the promise was kept in all of them."""
    signal.signal(signal.SIGTERM, _interrupt)
    options = _parser().parse_args(arguments)
    # The other engine keeps its queue in Postgres.
    databases = options.database if options.engine == "threads" else ("postgres",)
    try:
        kept = [_run(options, database) for database in databases]
    except KeyboardInterrupt:
        print("Interrupted: all that was started is stopped.")
        return 128 + signal.SIGINT
    return 0 if all(kept) else 1


def _run(options: argparse.Namespace, database: str) -> bool:
    """Carry one plan out and print its report; tell whether the promise was kept."""
    plan = Plan(
        database=database,
        engine=options.engine,
        seconds=options.seconds,
        deliveries=options.deliveries,
        faults={name: FAULTS[name] for name in options.faults},
        channels=options.channels,
        seed=options.seed,
        lease=options.lease,
    )
    report = run(plan, aloud=options.aloud)
    print("\n".join(report.lines()), flush=True)
    return not report.faults_of_service


def _parser() -> argparse.ArgumentParser:
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=plan.seconds, help="of breaking things")
    parser.add_argument("--deliveries", type=int, default=plan.deliveries, help="in all")
    parser.add_argument("--database", type=_words(_DATABASES), default=_DATABASES)
    parser.add_argument("--engine", choices=("threads", "procrastinate"), default=plan.engine)
    parser.add_argument("--faults", type=_words(tuple(FAULTS)), default=tuple(FAULTS))
    parser.add_argument("--channels", type=_words(tuple(CHANNELS)), default=plan.channels)
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--lease", type=float, default=plan.lease, help="of a dispatcher, seconds")
    parser.add_argument("--aloud", action="store_true", help="say what is broken when")
    return parser


class _words:  # noqa: N801 - argparse shows the name as that of a kind of value
    """A list of words with commas between, out of some that are known."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        words = tuple(word for word in text.split(",") if word)
        if unknown := set(words) - set(self._known):
            sentence = f"{', '.join(sorted(unknown))}: choose from {', '.join(self._known)}"
            raise argparse.ArgumentTypeError(sentence)
        return words


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End like Ctrl-C does, with everything put away."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
