"""What the voice reads, against tables."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.languages import Language
from octavia_stream.tts.normalisation import spoken_text

ENGLISH = [
    ("It cost $5.99.", "It cost five dollars and ninety-nine cents."),
    ("$0.99, $1 or $1,250", "ninety-nine cents, one dollar or one thousand two hundred and fifty dollars"),
    ("a $3.5 million deal", "a three point five million dollars deal"),
    ("20 € or £3.50", "twenty euros or three pounds and fifty pence"),
    ("50% of 12.5 %", "fifty percent of twelve point five percent"),
    ("At 3:30 p.m. we met.", "At three thirty P M we met."),
    ("We met at 7 pm. Then", "We met at seven P M. Then"),
    ("until 9:05 a.m.", "until nine oh five A M."),
    ("15:30 and 7:00", "fifteen thirty and seven o'clock"),
    ("On 2024-03-05", "On March fifth, twenty twenty-four"),
    ("On 3/5/2024", "On March fifth, twenty twenty-four"),
    ("On 13/5/2024", "On May thirteenth, twenty twenty-four"),
    ("99/99/2024", "ninety-nine ninety-nine twenty twenty-four"),
    ("March 5, 2024", "March fifth, twenty twenty-four"),
    ("In 1999 and the 1990s", "In nineteen ninety-nine and the nineteen nineties"),
    ("1939-1945", "nineteen thirty-nine to nineteen forty-five"),
    ("5 km at 15 km/h", "five kilometers at fifteen kilometers per hour"),
    ("1 kg, -5 °C", "one kilogram, minus five degrees Celsius"),
    ("10-20 people", "ten to twenty people"),
    ("the 3rd and 21st", "the third and twenty-first"),
    ("Dr. Smith vs. Mr. Jones", "Doctor Smith versus Mister Jones"),
    ("apples, etc. The end", "apples, et cetera. The end"),
    ("pens, pencils etc.", "pens, pencils et cetera."),
    ("COVID-19 on MP3", "COVID nineteen on MP three"),
    ("v1.2.3", "v one point two point three"),
    ("agent 007", "agent zero zero seven"),
    ("pi is 3.14159", "pi is three point one four one five nine"),
    ("1/2 of R&D", "one half of R and D"),
    ("No. 5", "number five"),
    ("1234567890123456", "one two three four five six seven eight nine zero one two three four five six"),
]

PORTUGUESE = [
    ("Custou R$ 5,99.", "Custou cinco reais e noventa e nove centavos."),
    ("R$ 1.250,00", "mil duzentos e cinquenta reais"),
    ("US$ 3,5 milhões", "três vírgula cinco milhões de dólares"),
    ("R$ 2 mil", "dois mil reais"),
    ("£ 2", "duas libras"),
    ("50% de 12,5%", "cinquenta por cento de doze vírgula cinco por cento"),
    ("3,05", "três vírgula zero cinco"),
    ("Às 15h30 e 7h", "Às quinze e trinta e sete horas"),
    ("15:30 e 1h", "quinze e trinta e uma hora"),
    ("Em 05/03/2024", "Em cinco de março de dois mil e vinte e quatro"),
    ("2024-03-01", "primeiro de março de dois mil e vinte e quatro"),
    ("1º de maio, 3ª vez", "primeiro de maio, terceira vez"),
    ("no século XV", "no século quinze"),
    ("5 km a 15 km/h", "cinco quilômetros a quinze quilômetros por hora"),
    ("-5 °C e 2 t", "menos cinco graus Celsius e duas toneladas"),
    ("10-20 pessoas", "dez a vinte pessoas"),
    ("2 mulheres e 200 pessoas", "duas mulheres e duzentas pessoas"),
    ("2 dias e 2 problemas", "dois dias e dois problemas"),
    ("21 casas", "vinte e uma casas"),
    ("O Sr. Silva e a Dra. Ana", "O Senhor Silva e a Doutora Ana"),
    ("1.234.567", "um milhão duzentos e trinta e quatro mil quinhentos e sessenta e sete"),
    ("1 milhão de libras", "um milhão de libras"),
    ("versão 1.2.3", "versão um ponto dois ponto três"),
    ("pão & água", "pão e água"),
]

ANY_LANGUAGE = [
    ("  two\n lines\t", "two lines"),
    ("<i>Hello</i> *world*", "Hello world"),
    ("See https://example.org/a?b=c. Now", "See. Now"),
    ("read [the page](http://example.org)", "read the page"),
    ("great 😀🎉👍🏽!", "great!"),
    ("♪ la la ♪", "la la"),
    ("what?? wait... so", "what? wait… so"),
    ("zero\u200bwidth\ufeff", "zerowidth"),
    ("a\x00b", "a b"),
]


@pytest.mark.parametrize(("written", "spoken"), ENGLISH + ANY_LANGUAGE)
def test_english_is_read_aloud(written: str, spoken: str) -> None:
    assert spoken_text(written, Language("en")) == spoken


@pytest.mark.parametrize(("written", "spoken"), PORTUGUESE + ANY_LANGUAGE)
def test_portuguese_is_read_aloud(written: str, spoken: str) -> None:
    assert spoken_text(written, Language("pt")) == spoken


@pytest.mark.parametrize(("written", "spoken"), [*ANY_LANGUAGE, ("12,5% de 3", "12,5% de 3")])
def test_figures_of_other_languages_are_left_to_the_voice(written: str, spoken: str) -> None:
    assert spoken_text(written, Language("es")) == spoken


@pytest.mark.parametrize("written", ["", "   ", "…", "?!", "😀", "<br/>", "-- — --", "https://example.org", "♪♪"])
@pytest.mark.parametrize("language", ["en", "pt", "fr"])
def test_text_with_nothing_to_say_is_empty(written: str, language: str) -> None:
    assert spoken_text(written, Language(language)) == ""


TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("0123456789.,:/-%$€ºªh°kmRS "), max_size=80)


@given(TEXT, st.sampled_from(["en", "pt"]))
def test_any_text_can_be_read_and_no_figure_remains(written: str, language: str) -> None:
    spoken = spoken_text(written, Language(language))
    assert spoken == spoken.strip()
    assert "\n" not in spoken
    assert re.search("[0-9]", spoken) is None
