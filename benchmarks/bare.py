"""The bare minimum: threads that send by pycurl and keep nothing; it prints sends a second.

python -m benchmarks.bare PROVIDER_URL COUNT
"""

from __future__ import annotations

import sys
import threading
import time

from benchmarks.byhand import Line
from benchmarks.message import FIRST_NUMBER

THREADS = 8


def main() -> None:
    """Send and print the rate."""
    url, share = sys.argv[1], int(sys.argv[2]) // THREADS
    threads = [threading.Thread(target=_send, args=(url, share)) for _ in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(share * THREADS / (time.perf_counter() - began))


def _send(url: str, count: int) -> None:
    line = Line(url)
    for number in range(count):
        line.send(str(FIRST_NUMBER + number), "61b1b13ebc13b707882c7657")


if __name__ == "__main__":
    main()
