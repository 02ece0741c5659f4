"""Text as written → text as read aloud.

Markup, links and pictures go for every language; figures, units, money and abbreviations become words where
`reading_rules.py` knows how, and are left to the voice's own rules elsewhere.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache

from num2words import num2words

from octavia_stream.languages import Language
from octavia_stream.tts.reading_rules import READING_RULES, Noun, ReadingRules

_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_MARKDOWN_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"\b(?:https?://|www\.)\S*[^\s.,;:!?)\"'»”]", re.IGNORECASE)
_MARKDOWN = re.compile(r"[*_`#~|^\\{}<>\[\]♪♫•]+")
_SPACES = re.compile(r"\s+")
_SPACE_BEFORE_MARK = re.compile(r"\s+(?=[.,;:!?…](?:\s|$))")
_REPEATED_MARK = re.compile(r"([,;:!?])\1+")

# Portuguese numbers agree with what they count; the noun's ending tells its gender well enough.
_FEMININE = re.compile(r"(?:\w+(?:as|dades|ções|sões|gens)|mulheres|vezes|partes|noites|tardes|mães|mãos)\b")
_MASCULINE = re.compile(r"(?:dias|mapas|\w*[eoaó]mas|planetas|\w+istas|\w*gramas|papas)$")

Match = re.Match[str]


def spoken_text(text: str, language: Language) -> str:
    """What the voice should say, in one line; empty when nothing in `text` can be said."""
    plain = _without_markup(text)
    if (rules := READING_RULES.get(language)) is not None:
        plain = _Reader(rules).read(plain)
    plain = _SPACE_BEFORE_MARK.sub("", _SPACES.sub(" ", plain)).strip()
    return plain if any(map(str.isalnum, plain)) else ""


def _without_markup(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    for pattern, replacement in ((_TAG, " "), (_MARKDOWN_LINK, r"\1"), (_LINK, " "), (_MARKDOWN, " ")):
        text = pattern.sub(replacement, text)
    text = text.replace("...", "…").replace("’", "'")
    return _REPEATED_MARK.sub(r"\1", "".join(_readable(text)))


def _readable(text: str) -> Iterable[str]:
    """Without pictures, their modifiers, controls and what is no character at all."""
    for character in text:
        category = unicodedata.category(character)
        if category.startswith("Z") or category == "Cc":
            yield " "
        elif character in "°№" or category not in {"So", "Sk", "Cf", "Cs", "Co", "Cn"}:
            yield character


class _Reader:
    """One language's rules as substitutions, applied from the most specific to plain numbers."""

    def __init__(self, rules: ReadingRules) -> None:
        self._rules = rules
        self._patterns = _patterns(rules.num2words)

    def read(self, text: str) -> str:
        steps: tuple[tuple[str, Callable[[Match], str]], ...] = (
            ("number_sign", lambda _: "number "),
            ("title", lambda m: self._rules.titles[m[1]]),
            ("abbreviation", self._abbreviation),
            ("fraction", lambda m: self._rules.fractions[m[0]]),
            ("iso_date", lambda m: self._date(int(m[1]), int(m[2]), int(m[3])) or m[0]),
            ("slash_date", self._slash_date),
            ("day_of_month", self._day_of_month),
            ("clock", self._clock),
            ("hour", self._clock),
            ("range", lambda m: f"{m[1]} {self._rules.words['to']} {m[2]}"),
            ("minus", lambda _: f"{self._rules.words['minus']} "),
            ("money", self._money),
            ("money_after", self._money),
            ("ordinal", lambda m: self._ordinal(int(m[1]), feminine=m[2] == "ª")),
            ("century", lambda m: f"{m[1]} {self._cardinal(_roman(m[2]))}"),
            ("decade", self._decade),
            ("unit", lambda m: self._counted(m[1], self._rules.units[m[2]])),
            ("percent", lambda m: f"{self._number(m[1])} {self._rules.words['percent']}"),
            ("glued", lambda _: " "),
            ("year", lambda m: self._year(int(m[0]))),
            ("dotted", self._dotted),
            ("number", self._plain_number),
            ("sign", lambda m: f" {self._rules.signs[m[0]]} "),
        )
        for name, replacement in steps:
            if (pattern := self._patterns.get(name)) is not None:
                text = pattern.sub(replacement, text)
        return text

    # Numbers

    def _cardinal(self, number: int, *, feminine: bool = False) -> str:
        words = str(num2words(number, lang=self._rules.num2words)).replace(",", "")
        if feminine:
            words = re.sub(r"\b(um|dois)\b(?! (?:m|b|tr)ilh)", lambda m: {"um": "uma", "dois": "duas"}[m[1]], words)
            words = re.sub(r"entos\b", "entas", words)
        return words

    def _ordinal(self, number: int, *, feminine: bool = False) -> str:
        words = str(num2words(number, lang=self._rules.num2words, to="ordinal"))
        return re.sub(r"o\b", "a", words) if feminine else words

    def _digits(self, digits: str) -> str:
        return " ".join(self._cardinal(int(digit)) for digit in digits)

    def _number(self, written: str, *, feminine: bool = False) -> str:
        """A number as written in this language; too long ones and codes (007) digit by digit."""
        whole, _, fraction = written.replace(self._rules.thousands, "").partition(self._rules.decimals)
        if len(whole) > 15 or (len(whole) > 1 and whole.startswith("0")):
            words = self._digits(whole)
        else:
            words = self._cardinal(int(whole), feminine=feminine)
        if not fraction:
            return words
        joint = self._rules.joint_fraction and len(fraction) <= 2 and not fraction.startswith("0")
        spoken = self._cardinal(int(fraction)) if joint else self._digits(fraction)
        return f"{words} {self._rules.words['point']} {spoken}"

    def _plain_number(self, match: Match) -> str:
        noun = _FEMININE.match(match.string[match.end() :].lstrip()) if self._rules.gendered else None
        return self._number(match[0], feminine=noun is not None and _MASCULINE.match(noun[0]) is None)

    def _dotted(self, match: Match) -> str:
        """1.2.3: a version, not a number. Grouped thousands are numbers."""
        if re.fullmatch(r"\d{1,3}(?:\.\d{3})+", match[0]) and self._rules.thousands == ".":
            return match[0]
        point = "point" if self._rules.decimals == "." else "ponto"
        return f" {point} ".join(self._number(part) for part in match[0].split("."))

    def _counted(self, written: str, noun: Noun) -> str:
        return f"{self._number(written, feminine=noun.feminine)} {noun.one if written == '1' else noun.many}"

    def _abbreviation(self, match: Match) -> str:
        return self._rules.abbreviations[match[1]] + _full_stop(match)

    # Money

    def _money(self, match: Match) -> str:
        written, scale = match["sum"], match["scale"]
        whole, cent = self._rules.money[match["sign"]]
        if scale:
            words = f"{self._number(written)} {scale}"
            link = self._rules.words["per_scale"] if scale not in {"mil", "thousand"} else ""
            return " ".join(part for part in (words, link, whole.many) if part)
        units, _, hundredths = written.partition(self._rules.decimals)
        if len(hundredths) != 2:
            return self._counted(written, whole)
        if hundredths == "00":
            return self._counted(units, whole)
        cents = self._counted(str(int(hundredths)), cent)
        if set(units) <= {"0"}:
            return cents
        return f"{self._counted(units, whole)} {self._rules.words['and']} {cents}"

    # Time

    def _year(self, year: int) -> str:
        return str(num2words(year, lang=self._rules.num2words, to="year")).replace(",", "")

    def _decade(self, match: Match) -> str:
        words = self._year(int(match[1])) if len(match[1]) == 4 else self._cardinal(int(match[1]))
        return words[:-1] + "ies" if words.endswith("y") else words + "s"

    def _date(self, year: int, month: int, day: int) -> str | None:
        """None when there is no such day."""
        try:
            date(year, month, day)
        except ValueError:
            return None
        name, spoken_year = self._rules.months[month - 1], self._year(year)
        if self._rules.month_first:
            return f"{name} {self._ordinal(day)}, {spoken_year}"
        first = self._ordinal(1) if day == 1 else self._cardinal(day)
        return f"{first} de {name} de {spoken_year}"

    def _slash_date(self, match: Match) -> str:
        first, second, year = int(match[1]), int(match[2]), int(match[3])
        month_day = (first, second) if self._rules.month_first else (second, first)
        return self._date(year, *month_day) or self._date(year, *reversed(month_day)) or match[0]

    def _day_of_month(self, match: Match) -> str:
        return f"{match[1]} {self._ordinal(int(match[2]))}"

    def _clock(self, match: Match) -> str:
        hour, minute = int(match["hour"]), int(match["minute"] or 0)
        if self._rules.num2words == "en":
            stop = _full_stop(match) if match[0].endswith(".") else ""
            return self._english_clock(hour, minute, match["half"]) + stop
        spoken = self._cardinal(hour, feminine=True)
        if minute:
            return f"{spoken} e {self._cardinal(minute)}"
        return f"{spoken} {'hora' if hour in {0, 1} else 'horas'}"

    def _english_clock(self, hour: int, minute: int, half: str | None) -> str:
        spoken = self._cardinal(hour)
        if minute:
            spoken += (" oh " if minute < 10 else " ") + self._cardinal(minute)
        elif not half:
            spoken += " o'clock" if hour <= 12 else " hundred"
        return f"{spoken} {half[0].upper()} M" if half else spoken


@cache
def _patterns(code: str) -> dict[str, re.Pattern[str]]:
    """The language's patterns by step; `code` is its num2words code."""
    rules = next(rules for rules in READING_RULES.values() if rules.num2words == code)
    group, decimals = re.escape(rules.thousands), re.escape(rules.decimals)
    number = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:{decimals}\d+)?"
    free = rf"(?<!\w)(?<!\d[{group}{decimals}])"
    money, scales = _any_of(rules.money), _any_of(rules.scales)
    patterns = {
        "title": rf"(?<!\w)({_any_of(rules.titles)})(?=\s|\d|,)",
        "abbreviation": rf"(?<!\w)({_any_of(rules.abbreviations)})(?!\w)",
        "fraction": rf"(?<![\d/])(?:{_any_of(rules.fractions)})(?![\d/])",
        "iso_date": r"\b(\d{4})-(\d\d)-(\d\d)\b",
        "slash_date": r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])",
        "range": rf"(?<![\w-])({number})\s?[-–]\s?({number})(?![\w-])",
        "money": rf"(?P<sign>{money})\s?(?P<sum>{number})(?:\s(?P<scale>{scales})\b)?",
        "money_after": rf"{free}(?P<sum>{number})(?:\s(?P<scale>{scales}))?\s?(?P<sign>€|£)",
        "unit": rf"{free}({number})\s?({_any_of(rules.units)})(?![\w/²³])",
        "percent": rf"{free}({number})\s?%",
        "dotted": r"(?<![\d.])\d+(?:\.\d+){2,}(?![\w])",
        "minus": r"(?<![\w)])[-−](?=\d)",
        "glued": r"(?<=[^\W\d])[-–]?(?=\d)|(?<=\d)-?(?=[^\W\d])|(?<=\d)/(?=\d)",
        "number": rf"{free}{number}",
        "sign": _any_of(rules.signs),
    }
    return {name: re.compile(pattern) for name, pattern in (patterns | _language_patterns(rules)).items()}


def _language_patterns(rules: ReadingRules) -> dict[str, str]:
    hour = r"(?<![\d:])(?P<hour>[01]?\d|2[0-3])"
    if rules.num2words == "en":
        return {
            "clock": rf"{hour}:(?P<minute>[0-5]\d)(?:\s?(?P<half>[ap])\.?m\b\.?)?(?![\d:])",
            "hour": rf"{hour}(?P<minute>)\s?(?P<half>[ap])\.?m\b\.?",
            "day_of_month": rf"\b({_any_of(rules.months)})\s(\d{{1,2}})(?!\d|:|,\d|\.\d|st|nd|rd|th)",
            "number_sign": r"\bNo\.\s?(?=\d)",
            "ordinal": r"\b(\d{1,6})(st|nd|rd|th)\b",
            "decade": r"\b((?:1[1-9]|20)\d0|[2-9]0)'?s\b",
            "year": r"(?<![\w.,$€£-])(?:1[1-9]\d\d|20\d\d)(?![\w%]|[.,]\d)",
        }
    return {
        "clock": r"(?<![\d:])(?P<hour>[01]?\d|2[0-3])(?:(?:\s?h|:)(?P<minute>[0-5]\d)(?:\s?h|min)?\b|\s?h\b)(?![\d:])",
        "ordinal": r"\b(\d{1,6})\s?([ºª])",
        "century": r"\b([Ss]éculos?)\s([IVX]+)\b",
    }


def _full_stop(match: Match) -> str:
    """The full stop of an abbreviation also ends the sentence at the end and before a capital."""
    following = match.string[match.end() :].lstrip()
    return "." if not following or following[0].isupper() else ""


def _any_of(words: Iterable[str]) -> str:
    """Longest first, so that `km` does not eat the start of `km/h`."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _roman(numeral: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in numeral]
    return sum(-value if value < later else value for value, later in zip(values, [*values[1:], 0], strict=True))
