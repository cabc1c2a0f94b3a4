"""Detection of the code page of names and titles that do not state it."""

import itertools

import pytest

from phonograph_runtime.legacy_text import (
    WESTERN,
    decode,
    detect_encoding,
    encode_western,
    is_better_in,
)

WESTERN_SETS = [
    ["Françoise Hardy", "Été à Besançon"],
    ["Björk", "Jóga"],
    ["Motörhead", "Ace of Spades"],
    ["Sigur Rós", "Ágætis byrjun"],
    ["MÖTLEY CRÜE", "DR. FEELGOOD"],
    ["BEYONCÉ", "DÉJÀ VU"],
    ["Guðmundur Pétursson", "Veðrið í þorpinu"],
    ["Týr", "Regin smiður"],
    ["Röyksopp", "Så lenge det er mørkt"],
    ["Gilberto Gil", "Refavela – São João, Xangô menino"],
    ["Die Ärzte", "Männer sind Schweine"],
    ["Mägo de Oz", "¿Quién quiere ser mañana?"],
    ["Tõnis Mägi", "Jäääär"],
    ["Ø", "Tiësto"],
    ["Fabrizio De André", "La città vecchia"],
    ["½", "50°", "© 2004"],
    ["Queensrÿche"],
]

LEGACY_SETS = [
    ("cp1251", ["Мумий Тролль", "Владивосток 2000"]),
    ("cp1251", ["ЗВУКИ МУ", "Серый голубь"]),
    ("cp1251", ["Скрябін", "Старі фотографії"]),
    ("cp1251", ["Щурците", "Две следи"]),
    ("cp1251", ["ГРАЖДАНСКАЯ ОБОРОНА", "ВСЁ ИДЁТ ПО ПЛАНУ"]),
    ("koi8_r", ["Зоопарк", "Дрянь"]),
    ("koi8_r", ["колибри", "желтый лист осенний"]),
    ("cp866", ["Чайф", "Поплачь о нём"]),
    ("gb18030", ["罗大佑", "童年"]),
    ("gb18030", ["黄家驹", "海阔天空"]),
    ("big5", ["蔡琴", "被遺忘的時光"]),
    ("big5", ["張雨生", "我的未來不是夢"]),
    ("cp932", ["松任谷由実", "やさしさに包まれたなら"]),
    ("cp932", ["スピッツ", "ロビンソン"]),
    ("cp932", ["ｺｰﾈﾘｱｽ", "ﾌｧﾝﾀｽﾞﾏ"]),
    ("cp932", ["ﾐｽﾀｰ･ﾁﾙﾄﾞﾚﾝ", "ｲﾉｾﾝﾄ ﾜｰﾙﾄﾞ", "ｱﾄﾐｯｸ ﾊｰﾄ"]),
    ("cp932", ["ﾊﾟﾌｭｰﾑ", "ﾎﾟﾘﾘｽﾞﾑ", "GAME"]),
    ("cp932", ["ｱﾆﾒｿﾝｸﾞ ﾍﾞｽﾄ", "第3集"]),
    ("euc_jp", ["尾崎豊", "卒業のうた"]),
    ("cp949", ["이선희", "인연"]),
    ("cp949", ["신해철", "그대에게"]),
    ("cp1250", ["Czesław Niemen", "Dziwny jest ten świat", "Płonąca stodoła"]),
    ("cp1250", ["Antonín Dvořák", "Když mne stará matka", "Písně"]),
    ("cp1253", ["Μελίνα Μερκούρη", "Τα παιδιά του Πειραιά"]),
    ("cp1254", ["Barış Manço", "Dağlar dağlar", "Işıklar içinde"]),
    ("cp1255", ["יהודית רביץ", "באה מאהבה"]),
    ("cp1256", ["عبد الحليم حافظ", "قارئة الفنجان"]),
    ("cp874", ["คาราบาว", "บัวลอย"]),
]


@pytest.mark.parametrize("texts", WESTERN_SETS)
def test_western_names_stay(texts: list[str]) -> None:
    detected = detect_encoding(text.encode(WESTERN) for text in texts)
    assert detected.evidence < 5
    assert detected.encoding == WESTERN or not detected.is_clear


def test_no_mix_of_western_names_is_taken_for_another_encoding() -> None:
    """A compilation has artists of several languages."""
    for first, second, third in itertools.combinations(WESTERN_SETS, 3):
        texts = [text.encode(WESTERN) for text in (*first, *second, *third)]
        detected = detect_encoding(texts)
        assert detected.encoding == WESTERN or not detected.is_clear, (first, second, third)


@pytest.mark.parametrize(("encoding", "texts"), LEGACY_SETS)
def test_names_in_an_old_code_page_are_detected(encoding: str, texts: list[str]) -> None:
    encoded = [text.encode(encoding) for text in texts]
    detected = detect_encoding(encoded)
    assert [decode(text, detected.encoding) for text in encoded] == texts
    assert detected.is_clear


def test_bytes_that_two_code_pages_read_as_names_are_not_clear() -> None:
    detected = detect_encoding(["ΑΛΕΞΙΟΥ".encode("cp1253")])
    assert not detected.is_clear
    assert detected.rival is not None


def test_western_name_among_russian_ones_stays() -> None:
    encoded = ["Аквариум".encode("cp1251"), "Город золотой".encode("cp1251"), "Björk".encode(WESTERN)]
    detected = detect_encoding(encoded)
    assert detected.encoding == "cp1251"
    assert [is_better_in(text, "cp1251") for text in encoded] == [True, True, False]


def test_all_texts_of_a_file_in_a_latin_code_page_are_repaired() -> None:
    encoded = [text.encode("cp1254") for text in ("Barış Manço", "Dağlar dağlar", "Işıklar içinde")]
    assert all(is_better_in(text, "cp1254") for text in encoded)


def test_readable_text_in_the_same_script_is_evidence() -> None:
    encoded = ["АКВАРИУМ".encode("koi8_r")]
    assert not detect_encoding(encoded).is_clear
    detected = detect_encoding(encoded, context=["Город золотой.mp3"])
    assert (detected.is_clear, decode(encoded[0], detected.encoding)) == (True, "АКВАРИУМ")


def test_character_that_a_field_cuts_is_left_out() -> None:
    assert decode("最後圓舞曲".encode("big5")[:-1], "big5hkscs") == "最後圓舞"
    assert decode(b"\xd0\xd0\xd0", "utf-8") is None


def test_western_bytes_are_those_of_cp1252_and_of_iso_8859_1() -> None:
    assert encode_western("Été “ÿ” \x81") == b"\xc9t\xe9 \x93\xff\x94 \x81"
    assert encode_western("Морская") is None
    assert decode(b"Don\x92t \x81", WESTERN) == "Don’t \x81"
