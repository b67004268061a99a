"""Keywords: the words with which people stop messages and start them again.

Only a whole message can be a keyword. Case, accents, punctuation, blanks and invisible characters
do not count. The English words are those of the CTIA
(https://www.ctia.org/the-wireless-industry/industry-commitments/messaging-interoperability-sms-mms)
and of WhatsApp's own button for marketing templates.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

LONGEST: Final = 64
"""Characters of a folded text beyond which it is no keyword, and is counted by its beginning."""


_SIGNS: Final = frozenset({0, 7, 9})
"""The combining classes of vowel signs, dots and viramas; accents have others."""

_SELECTORS: Final = frozenset(map(chr, (0x034F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
"""Invisible characters of the same classes."""


class KeywordAction(StrEnum):
    """The request that a keyword makes."""

    STOP = "stop"
    START = "start"


class Keywords(NamedTuple):
    """The keywords of a language."""

    stop: tuple[str, ...]
    start: tuple[str, ...] = ()


LANGUAGES: Final[Mapping[str, Keywords]] = MappingProxyType(
    {
        "en": Keywords(
            (
                *("stop", "stop all", "unsubscribe", "cancel", "end", "quit", "opt out", "revoke"),
                *("stop promotions", "stop messages", "remove me"),
            ),
            ("start", "unstop", "subscribe", "opt in"),
        ),
        "ar": Keywords(("توقف", "إيقاف", "إلغاء", "إلغاء الاشتراك"), ("ابدأ", "اشتراك")),
        "de": Keywords(("stopp", "abmelden", "abbestellen", "austragen"), ("anmelden", "starten")),
        "es": Keywords(("baja", "alto", "parar", "cancelar", "darse de baja"), ("alta", "iniciar")),
        "fr": Keywords(
            ("arret", "arreter", "desabonner", "desinscrire", "desinscription", "me desabonner"),
            ("demarrer", "reprendre", "abonner"),
        ),
        "ha": Keywords(("daina", "tsaya"), ("fara",)),
        "hi": Keywords(("रोकें", "रोको", "बंद करें", "बंद"), ("शुरू", "शुरू करें")),
        "id": Keywords(("berhenti", "batal"), ("mulai", "langganan")),
        "ig": Keywords(("kwusi",), ("malite",)),
        "it": Keywords(("ferma", "basta", "annulla", "cancellami", "disiscrivimi"), ("inizia",)),
        "ja": Keywords(("停止", "配信停止", "解除"), ("開始", "再開")),
        "ko": Keywords(("수신거부", "중지", "정지"), ("수신동의", "시작")),
        "nl": Keywords(("afmelden", "uitschrijven", "stoppen"), ("aanmelden", "starten")),
        "pl": Keywords(("wypisz", "rezygnuje", "anuluj"), ("zapisz", "wznow")),
        "pt": Keywords(
            ("parar", "pare", "sair", "cancelar", "descadastrar"), ("iniciar", "voltar")
        ),
        "ru": Keywords(("стоп", "отписаться", "отписка", "отмена"), ("старт", "подписаться")),
        "sw": Keywords(("acha", "simama", "sitisha", "komesha"), ("anza", "jiunge")),
        "tr": Keywords(("dur", "iptal", "ret", "abonelikten cik"), ("basla", "devam")),
        "yo": Keywords(("duro", "dawo duro"), ("bere",)),
        "zh": Keywords(("退订", "退訂", "停止", "取消", "td"), ("订阅", "訂閱", "开始", "開始")),
    }
)
"""Keywords by the language's ISO 639-1 code; the English ones count in every language."""


def fold(text: str) -> str:
    """Return a text as keywords are compared: letters and digits alone, without case and accents.

    Only the beginning of a long text is used.
    """
    plain = unicodedata.normalize("NFKD", text[: 8 * LONGEST]).casefold()
    # Once more, as a letter's lower case may have an accent of its own.
    plain = unicodedata.normalize("NFKD", plain)
    return "".join(filter(_counts, plain))[:LONGEST]


def _counts(character: str) -> bool:
    """Return whether a character distinguishes words, as the vowel signs of India's scripts do."""
    if character.isalnum():
        return True
    is_sign = unicodedata.category(character) in {"Mn", "Mc"}
    return is_sign and unicodedata.combining(character) in _SIGNS and character not in _SELECTORS


def table(
    languages: Iterable[str], stop: Iterable[str], start: Iterable[str]
) -> dict[str, KeywordAction]:
    """Return the request of each folded keyword; the client's own words come first."""
    known = [LANGUAGES[name] for name in dict.fromkeys(("en", *languages)) if name in LANGUAGES]
    wishes: dict[str, KeywordAction] = {}
    for wish, words in (
        (KeywordAction.STOP, stop),
        (KeywordAction.START, start),
        (KeywordAction.STOP, [word for language in known for word in language.stop]),
        (KeywordAction.START, [word for language in known for word in language.start]),
    ):
        for word in words:
            wishes.setdefault(fold(word), wish)
    wishes.pop("", None)
    return wishes
