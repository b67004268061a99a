"""Templates: chooses one for a message and fills its parameters.

The name of a form field says where its parameter goes: `parameter/body/0/text/1` is the text of
`{{1}}` in the body, `parameter/header/0/image/image` the link to the picture in the header.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from flask import render_template
from sqlalchemy.orm import Session as Db
from werkzeug.datastructures import MultiDict

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.channels.registry import NotInstalledError, UnknownChannelError
from service.console.access import Section, visitor
from service.core import approved, sessions
from service.core.paging import LARGEST_SIZE, PageRequest
from service.core.tokens import Scope
from service.database import now_ms
from service.dispatch.upkeep import listing
from service.errors import ProviderError, ServiceError, TooManyQuestionsError
from service.models import Session, Template

blueprint = Section("templates", __name__)

_ALL: Final = PageRequest(1, LARGEST_SIZE)
_FIELD: Final = "parameter"
_MOST_DIGITS: Final = 3
_FILES: Final = frozenset({"image", "video", "document"})


class TemplateParameter(NamedTuple):
    """A parameter of a template as the form asks for it.

    `component` is `header`, `body` or `button`, `button` which one, and `kind` `text`, or the
    kind of the file whose link is wanted.
    """

    component: str
    button: int
    kind: str
    name: str

    @property
    def field(self) -> str:
        """The name of its field."""
        return "/".join((_FIELD, *map(str, self)))


@blueprint.action("/compose/template", "template.list", Scope.SEND)
def pick() -> str:
    """Show the templates of a session, and the parameters of the chosen one."""
    with crier().database.reading() as db:
        session = _session(db, request.form.get("session_id", ""))
    problem = _refresh(session) if session else ""
    with crier().database.reading() as db:
        facts = picker(db, request.form)
    return render_template("console/_template.html", given=request.form, problem=problem, **facts)


def picker(db: Db, given: MultiDict[str, str]) -> dict[str, Any]:
    """Return the templates of the form's session as they are known, and the gaps of its choice."""
    session = _session(db, given.get("session_id", ""))
    if session is None:
        return {"account": None}
    known = approved.page(db, session.id, _ALL).items
    chosen = {choice(each): each for each in known}.get(given.get("template", ""))
    return {
        "account": session,
        "is_fresh": approved.is_fresh(session, now=now_ms()),
        "choices": {choice(each): each for each in known},
        "usable": approved.USABLE,
        "gaps": gaps(chosen.parameters or ()) if chosen else [],
    }


def choice(template: Template) -> str:
    """Return how the form names a template."""
    return f"{template.name}/{template.language}"


def gaps(parameters: Any) -> list[TemplateParameter]:
    """Return the parameters to fill in, in the provider's order."""
    return [gap for component in parameters for gap in _of_component(component)]


def message(given: MultiDict[str, str]) -> dict[str, Any]:
    """Return the template of the form in the API's format, empty if there is none."""
    name, _, language = given.get("template", "").rpartition("/")
    name = name or given.get("template.name", "").strip()
    language = language or given.get("template.language", "").strip()
    components: dict[tuple[str, str], dict[str, Any]] = {}
    for gap, value in _filled(given):
        key = (gap.component, str(gap.button))
        component = components.setdefault(key, _component(gap))
        component["parameters"].append(_parameter(gap, value))
    template = {"name": name, "language": language, "components": [*components.values()]}
    return {field: value for field, value in template.items() if value} if name else {}


def fields(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the form fields for the template of a message, as far as the form has them."""
    said = {"template": f"{template['name']}/{template['language']}"}
    for component in template.get("components") or ():
        given = component.get("parameters")
        for number, parameter in enumerate(given if isinstance(given, list) else (), start=1):
            if isinstance(parameter, dict):
                gap, value = _read(component, number, parameter)
                said[gap.field] = value
    return said


def _of_component(component: Mapping[str, Any]) -> Iterator[TemplateParameter]:
    kind, index = str(component["component"]), int(component.get("index") or 0)
    names = [str(name) for name in component["names"]]
    if all(map(str.isdecimal, names)):
        names.sort(key=int)
    for name in names:
        is_file = kind == "header" and name in _FILES
        yield TemplateParameter(kind, index, name if is_file else "text", name)


def _filled(given: MultiDict[str, str]) -> Iterator[tuple[TemplateParameter, str]]:
    """Yield the parameters of a form with their values."""
    for field, value in given.items():
        prefix, *place = field.split("/")
        if (
            prefix == _FIELD
            and len(place) == len(TemplateParameter._fields)
            and (button := _index(place[1])) is not None
        ):
            yield TemplateParameter(place[0], button, place[2], place[3]), value.strip()


def _index(text: str) -> int | None:
    """Return which button a text means; None if it means none."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _read(
    component: Mapping[str, Any], number: int, parameter: Mapping[str, Any]
) -> tuple[TemplateParameter, str]:
    """Return the gap that a parameter fills, and its value."""
    kind, button = str(parameter.get("type")), _index(str(component.get("index"))) or 0
    name = parameter.get("parameter_name") or (number if kind == "text" else kind)
    value = parameter.get(kind)
    link = value.get("link") if isinstance(value, dict) else value
    place = str(component.get("type")).lower()
    return TemplateParameter(place, button, kind, str(name)), str(link or "")


def _component(gap: TemplateParameter) -> dict[str, Any]:
    if gap.component == "button":
        return {"type": "button", "sub_type": "url", "index": str(gap.button), "parameters": []}
    return {"type": gap.component, "parameters": []}


def _parameter(gap: TemplateParameter, value: str) -> dict[str, Any]:
    if gap.kind in _FILES:
        return {"type": gap.kind, gap.kind: {"link": value}}
    named = {} if gap.name.isdecimal() else {"parameter_name": gap.name}
    return {"type": "text", **named, "text": value}


def _session(db: Db, session_id: str) -> Session | None:
    """Return the session that is chosen, or the default one, if its channel has templates."""
    try:
        session = sessions.choose(db, visitor().client_id, session_id)
        driver = crier().accounts.channels.driver_class(session.channel)
    except (ServiceError, UnknownChannelError, NotInstalledError):
        return None
    return session if driver.has_templates else None


def _refresh(session: Session) -> str:
    """Refresh the templates of a session; return the reason if that fails."""
    try:
        listing.refresh(crier().accounts, crier().database, session)
    except (ProviderError, TooManyQuestionsError) as error:
        return error.message
    return ""
