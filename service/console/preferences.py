"""What a viewer prefers: the language and the colours, kept in their browser alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from flask import redirect
from werkzeug.wrappers import Response

from service.blueprints.requests import request
from service.console import access, language
from service.console.access import Section

blueprint = Section("preferences", __name__)

THEMES: Final = ("light", "dark")
_YEAR = 365 * 86_400


@blueprint.public("/preferences", "POST", "preference.update")
def change() -> Response:
    """Keep the language and the colours that were chosen."""
    answer = redirect(access.came_from(), 303)
    _keep(answer, language.LANGUAGE, request.form.get("language", ""), language.LANGUAGES)
    _keep(answer, language.THEME, request.form.get("theme", ""), THEMES)
    return answer


def _keep(answer: Response, cookie: str, value: str, known: Collection[str]) -> None:
    """Keep a choice; an empty one leaves it to the browser."""
    path = access.home_path()
    if value in known:
        answer.set_cookie(cookie, value, max_age=_YEAR, path=path, samesite="Lax")
    elif value == "auto":
        answer.delete_cookie(cookie, path=path)
