"""How often Python looks for garbage in a process that stays."""

from __future__ import annotations

import gc

_MADE_BETWEEN = 20_000
"""Objects made since the last look after which there is another, in place of 700."""


def settle() -> None:
    """Exempt everything loaded so far from garbage collection, and collect less often.

    A delivery makes a few dozen objects and no circle. Looking through all modules for circles
    every now and then took up to a tenth of the time of a dispatcher at full speed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MADE_BETWEEN, *gc.get_threshold()[1:])
