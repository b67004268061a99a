"""Reading: the same requests about a small broadcast and about one of a million."""

from __future__ import annotations

from benchmarks.api import Api
from benchmarks.figures import Report, median
from benchmarks.workspace import BenchmarkError

GROUP = "GET, Postgres: median of the large broadcast against the small one"

_REQUESTS = 150
_PAGE = 100
_MOST = 1.2


def measure(api: Api, small: tuple[str, int], large: tuple[str, int], report: Report) -> None:
    """Compare reads of two broadcasts, each with its number of recipients."""
    for name, path in (
        ("GET /broadcast/{id}", "/broadcast/{id}"),
        ("GET /broadcast/{id}/delivery, first page", "/broadcast/{id}/delivery?page_size=100"),
        (
            "GET /broadcast/{id}/delivery, last page",
            "/broadcast/{id}/delivery?page_size=100&page={last}",
        ),
        (
            "GET /broadcast/{id}/delivery of one state",
            "/broadcast/{id}/delivery?page_size=100&status=queued",
        ),
    ):
        few, many = _in_turns(api, _path(path, small), _path(path, large))
        note = f"{few:.2f} ms at {small[1]:,}, {many:.2f} ms at {large[1]:,}"
        report.add(GROUP, name, many / few, "times", most=_MOST, note=note)


def _path(path: str, broadcast: tuple[str, int]) -> str:
    return path.format(id=broadcast[0], last=broadcast[1] // _PAGE)


def _in_turns(api: Api, *paths: str) -> tuple[float, float]:
    """Return the median milliseconds of two requests, asked in turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(_REQUESTS):
        for place, path in enumerate(paths):
            answer = api.get(path)
            if answer.status != 200:  # noqa: PLR2004 - HTTP's OK
                raise BenchmarkError(f"GET {path} was answered by {answer.status}.")
            if number > _REQUESTS // 10:
                taken[place].append(answer.ms)
    return median(taken[0]), median(taken[1])
