"""The bare minimum: messages sent over curl, nothing kept; it prints sends a second.

python -m benchmarks.curl_loop PROVIDER_URL COUNT
"""

from __future__ import annotations

import sys
import time
from collections import deque

from benchmarks import multi
from benchmarks.message import FIRST_NUMBER

UNDER_WAY = 32


def main() -> None:
    """Send and print the rate."""
    url, total = sys.argv[1], int(sys.argv[2])
    messages = (("61b1b13ebc13b707882c7657", str(FIRST_NUMBER + each)) for each in range(total))
    began = time.perf_counter()
    deque(multi.send_all(url, messages, UNDER_WAY), maxlen=0)
    print(total / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
