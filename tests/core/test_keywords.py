"""Which words stop messages, and which start them again."""

from __future__ import annotations

import pytest

from service.core import keywords
from service.core.keywords import LANGUAGES, KeywordAction, fold
from service.core.opt_out_policies import Policy

WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "STOP")
ZERO_WIDTH, JOINER, MARK = "\u200b", "\u2060", "\ufe0f"


@pytest.mark.parametrize(
    "written",
    [
        *("STOP", "stop", "Stop.", " stop! ", "«Stop»", "S T O P", WIDE, "STOP🛑", "*stop*"),
        *(
            f"ST{ZERO_WIDTH}OP{MARK}",
            f"{JOINER}stop\n",
            "Stop promotions",
            "opt-out",
            "UNSUBSCRIBE",
        ),
        *("Arrêt", "ARRET", "désinscription", "Baja", "sair", "ABMELDEN", "İPTAL", "iptal"),
        *(
            "إلغاء",
            "الغاء",
            "رोकें".replace("ر", "र"),
            "退订",
            "退訂",
            "停止",
            "СТОП",
            "Kwụsị",
            "Dúró",
        ),
    ],
)
def test_a_keyword_is_known_however_it_is_written(written: str) -> None:
    assert Policy().wish(fold(written)) is KeywordAction.STOP


@pytest.mark.parametrize(
    "written", ["", "🛑", "Please stop by tomorrow", "Don't stop", "no", "stopover", "s", "1", "बद"]
)
def test_other_words_are_no_keywords(written: str) -> None:
    assert Policy().wish(fold(written)) is None


def test_start_takes_a_stop_back_and_no_word_is_both() -> None:
    assert Policy().wish(fold("Start")) is KeywordAction.START
    for language in LANGUAGES.values():
        folded = [{fold(word) for word in words} for words in language]
        assert not folded[0] & folded[1]
        assert "" not in folded[0] | folded[1]


def test_a_client_has_its_own_languages_and_words() -> None:
    policy = Policy(languages=("fr",), words=("Plus rien!", "yes"), start_words=("stop",))
    known = {
        word: policy.wish(fold(word)) for word in ("sair", "arrêt", "PLUS RIEN", "Yes", "stop")
    }
    assert known == {
        "sair": None,
        "arrêt": KeywordAction.STOP,
        "PLUS RIEN": KeywordAction.STOP,
        "Yes": KeywordAction.STOP,
        "stop": KeywordAction.START,
    }


def test_a_long_text_is_folded_to_its_beginning() -> None:
    assert fold("A" * 1_000_000) == "a" * keywords.LONGEST
