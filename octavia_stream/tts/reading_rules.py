"""How a language reads figures, units, money and abbreviations aloud: tables only, no code.

Words of numbers come from num2words; here is what it does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from octavia_stream.languages import Language


class Noun(NamedTuple):
    """What is counted."""

    one: str
    many: str
    feminine: bool = False


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """One language's tables. Keys are as written in text, values as spoken."""

    num2words: str
    """Its code there."""
    thousands: str
    decimals: str
    month_first: bool
    """3/4/2024 is the fourth of March."""
    gendered: bool
    """Numbers agree with what they count."""
    joint_fraction: bool
    """3,14 is `três vírgula quatorze`, not digit by digit."""
    words: Mapping[str, str]
    """point, minus, percent, to, and, per_scale (`milhões de reais`)."""
    months: tuple[str, ...]
    scales: tuple[str, ...]
    """Words that multiply a sum of money."""
    units: Mapping[str, Noun]
    money: Mapping[str, tuple[Noun, Noun]]
    """Sign → whole and hundredth."""
    titles: Mapping[str, str]
    """Abbreviations whose full stop never ends a sentence."""
    abbreviations: Mapping[str, str]
    """Abbreviations whose full stop may end one."""
    signs: Mapping[str, str]
    fractions: Mapping[str, str]


_ENGLISH = ReadingRules(
    num2words="en",
    thousands=",",
    decimals=".",
    month_first=True,
    gendered=False,
    joint_fraction=False,
    words={"point": "point", "minus": "minus", "percent": "percent", "to": "to", "and": "and", "per_scale": ""},
    months=(
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
    scales=("hundred", "thousand", "million", "billion", "trillion"),
    units={
        "km/h": Noun("kilometer per hour", "kilometers per hour"),
        "km²": Noun("square kilometer", "square kilometers"),
        "m²": Noun("square meter", "square meters"),
        "m³": Noun("cubic meter", "cubic meters"),
        "km": Noun("kilometer", "kilometers"),
        "cm": Noun("centimeter", "centimeters"),
        "mm": Noun("millimeter", "millimeters"),
        "m": Noun("meter", "meters"),
        "ft": Noun("foot", "feet"),
        "mph": Noun("mile per hour", "miles per hour"),
        "kg": Noun("kilogram", "kilograms"),
        "mg": Noun("milligram", "milligrams"),
        "g": Noun("gram", "grams"),
        "lb": Noun("pound", "pounds"),
        "lbs": Noun("pound", "pounds"),
        "oz": Noun("ounce", "ounces"),
        "ml": Noun("milliliter", "milliliters"),
        "l": Noun("liter", "liters"),
        "ms": Noun("millisecond", "milliseconds"),
        "s": Noun("second", "seconds"),
        "sec": Noun("second", "seconds"),
        "min": Noun("minute", "minutes"),
        "h": Noun("hour", "hours"),
        "hrs": Noun("hour", "hours"),
        "Hz": Noun("hertz", "hertz"),
        "kHz": Noun("kilohertz", "kilohertz"),
        "MHz": Noun("megahertz", "megahertz"),
        "GHz": Noun("gigahertz", "gigahertz"),
        "kB": Noun("kilobyte", "kilobytes"),
        "MB": Noun("megabyte", "megabytes"),
        "GB": Noun("gigabyte", "gigabytes"),
        "TB": Noun("terabyte", "terabytes"),
        "W": Noun("watt", "watts"),
        "kW": Noun("kilowatt", "kilowatts"),
        "V": Noun("volt", "volts"),
        "°C": Noun("degree Celsius", "degrees Celsius"),
        "°F": Noun("degree Fahrenheit", "degrees Fahrenheit"),
        "°": Noun("degree", "degrees"),
    },
    money={
        "US$": (Noun("dollar", "dollars"), Noun("cent", "cents")),
        "R$": (Noun("real", "reais"), Noun("centavo", "centavos")),
        "$": (Noun("dollar", "dollars"), Noun("cent", "cents")),
        "€": (Noun("euro", "euros"), Noun("cent", "cents")),
        "£": (Noun("pound", "pounds"), Noun("penny", "pence")),
        "¥": (Noun("yen", "yen"), Noun("sen", "sen")),
    },
    titles={
        "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Ms", "Dr.": "Doctor", "Prof.": "Professor", "St.": "Saint",
        "Gen.": "General", "Sen.": "Senator", "Gov.": "Governor", "Capt.": "Captain", "Lt.": "Lieutenant",
        "Rev.": "Reverend", "vs.": "versus", "e.g.": "for example", "i.e.": "that is", "approx.": "approximately",
    },
    abbreviations={"etc.": "et cetera", "Jr.": "Junior", "Sr.": "Senior", "Inc.": "Incorporated", "Ltd.": "Limited"},
    signs={"&": "and", "+": "plus", "=": "equals", "@": "at", "×": "times", "№": "number", "±": "plus or minus"},
    fractions={
        "1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "one quarter", "3/4": "three quarters",
        "½": "one half", "¼": "one quarter", "¾": "three quarters",
    },
)  # fmt: skip

_PORTUGUESE = ReadingRules(
    num2words="pt_BR",
    thousands=".",
    decimals=",",
    month_first=False,
    gendered=True,
    joint_fraction=True,
    words={"point": "vírgula", "minus": "menos", "percent": "por cento", "to": "a", "and": "e", "per_scale": "de"},
    months=(
        "janeiro", "fevereiro", "março", "abril", "maio", "junho",
        "julho", "agosto", "setembro", "outubro", "novembro", "dezembro",
    ),
    scales=("mil", "milhão", "milhões", "bilhão", "bilhões", "trilhão", "trilhões", "mi", "bi"),
    units={
        "km/h": Noun("quilômetro por hora", "quilômetros por hora"),
        "km²": Noun("quilômetro quadrado", "quilômetros quadrados"),
        "m²": Noun("metro quadrado", "metros quadrados"),
        "m³": Noun("metro cúbico", "metros cúbicos"),
        "km": Noun("quilômetro", "quilômetros"),
        "cm": Noun("centímetro", "centímetros"),
        "mm": Noun("milímetro", "milímetros"),
        "m": Noun("metro", "metros"),
        "kg": Noun("quilo", "quilos"),
        "mg": Noun("miligrama", "miligramas"),
        "g": Noun("grama", "gramas"),
        "t": Noun("tonelada", "toneladas", feminine=True),
        "ml": Noun("mililitro", "mililitros"),
        "l": Noun("litro", "litros"),
        "ms": Noun("milissegundo", "milissegundos"),
        "s": Noun("segundo", "segundos"),
        "min": Noun("minuto", "minutos"),
        "Hz": Noun("hertz", "hertz"),
        "kHz": Noun("quilohertz", "quilohertz"),
        "MHz": Noun("megahertz", "megahertz"),
        "GHz": Noun("gigahertz", "gigahertz"),
        "kB": Noun("quilobyte", "quilobytes"),
        "MB": Noun("megabyte", "megabytes"),
        "GB": Noun("gigabyte", "gigabytes"),
        "TB": Noun("terabyte", "terabytes"),
        "W": Noun("watt", "watts"),
        "kW": Noun("quilowatt", "quilowatts"),
        "V": Noun("volt", "volts"),
        "°C": Noun("grau Celsius", "graus Celsius"),
        "°F": Noun("grau Fahrenheit", "graus Fahrenheit"),
        "°": Noun("grau", "graus"),
    },
    money={
        "US$": (Noun("dólar", "dólares"), Noun("centavo", "centavos")),
        "R$": (Noun("real", "reais"), Noun("centavo", "centavos")),
        "$": (Noun("dólar", "dólares"), Noun("centavo", "centavos")),
        "€": (Noun("euro", "euros"), Noun("centavo", "centavos")),
        "£": (Noun("libra", "libras", feminine=True), Noun("centavo", "centavos")),
        "¥": (Noun("iene", "ienes"), Noun("sen", "sen")),
    },
    titles={
        "Sr.": "Senhor", "Sra.": "Senhora", "Srs.": "Senhores", "Dr.": "Doutor", "Dra.": "Doutora",
        "Prof.": "Professor", "Profa.": "Professora", "Sto.": "Santo", "Sta.": "Santa", "Av.": "Avenida",
        "p. ex.": "por exemplo", "p.ex.": "por exemplo", "i.e.": "isto é", "vs.": "versus", "pág.": "página",
        "séc.": "século", "aprox.": "aproximadamente", "n.º": "número", "nº": "número", "n°": "número",
    },
    abbreviations={"etc.": "et cétera", "Jr.": "Júnior", "Ltda.": "Limitada"},
    signs={"&": "e", "+": "mais", "=": "igual a", "@": "arroba", "×": "vezes", "№": "número", "±": "mais ou menos"},
    fractions={
        "1/2": "meio", "1/3": "um terço", "2/3": "dois terços", "1/4": "um quarto", "3/4": "três quartos",
        "½": "meio", "¼": "um quarto", "¾": "três quartos",
    },
)  # fmt: skip

READING_RULES: Mapping[str, ReadingRules] = {Language("en"): _ENGLISH, Language("pt"): _PORTUGUESE}
