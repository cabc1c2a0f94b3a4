"""Detection of the code page of text that does not state it: tags of old files, and cue sheets.

A candidate is a code page with a language: how often each letter beyond ASCII occurs in it, and how letters
follow each other. All texts of a file are scored together, because a single name is too short, and the score
of the likeliest candidate is compared with that of Western text, which is right far more often than not.
"""

import codecs
import math
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

WESTERN: Final = "cp1252"
"""The code page that is assumed without evidence of another one."""

MIN_EVIDENCE: Final = 5.0
"""Natural logarithm of how much likelier another code page must be than Western text."""
MIN_LEAD: Final = 2.5
"""The same between the likeliest code page and the next one that reads the texts differently."""

_MAX_SAMPLE_BYTES: Final = 2_000
"""Of each text; more adds time and no certainty."""
_MAX_LOSS: Final = 4.0
"""What one text may count against a code page: one Western name among Russian ones is ordinary."""
_CONTEXT_GAIN: Final = 3.0
"""What readable text in the same script, such as the file name, counts for a code page."""

_ASCII_LETTER: Final = -3.0
_SPACE_OR_SIGN: Final = -3.0
_PUNCTUATION: Final = -4.5
_FOREIGN_LETTER: Final = -7.0
_SYMBOL: Final = -9.0
_CONTROL: Final = -12.0
_UPPER_CASE: Final = -1.5
_CASE_BREAK: Final = -5.0
"""A capital after a small letter, as in "нХЛХИ"."""
_SCRIPT_BREAK: Final = -5.0
"""A Latin letter next to one of another script in a word."""
_WIDE_BREAK: Final = -2.0
"""A Latin letter next to an East Asian one, which is less rare."""
_SMALL_START: Final = -2.5
"""A small letter beyond ASCII at the start of a text; names begin with capitals."""
_ACCENT_PAIR: Final = -2.5
"""Two letters beyond ASCII in a row, in a language where this is rare."""
_CUT_CHARACTER: Final = -6.0
"""An incomplete character at the end of a text."""
_HALF_WIDTH: Final = -2.0
"""A run of half-width katakana, which are rarer than full-width ones."""
_KANA_BREAK: Final = -6.0
"""A half-width sign where Japanese has none, such as a voicing mark after a vowel."""
_MAX_MISFIT: Final = 2.0
"""What a text that is repaired may count against the code page of its file."""

_TYPOGRAPHIC: Final = frozenset("«»“”„‘’–—…·°№¡¿ªº©®™½¼¾×\u00a0、。，！？：；「」『』・（）～★☆")


@dataclass(frozen=True, slots=True)
class Detected:
    """The code page of some texts."""

    encoding: str
    """Name of the codec."""
    evidence: float
    """Natural logarithm of how much likelier it is than Western text; 0 for Western text."""
    rival: str | None
    """The next code page, if it is nearly as likely and reads the texts differently."""

    @property
    def is_clear(self) -> bool:
        """Return whether the evidence suffices to read the texts otherwise than they claim."""
        return self.encoding == WESTERN or (self.evidence >= MIN_EVIDENCE and self.rival is None)


def detect_encoding(texts: Iterable[bytes], *, context: Iterable[str] = ()) -> Detected:
    """Return the code page in which some texts of one origin were most likely written.

    Args:
        texts: Bytes that are not UTF-8.
        context: Text of the same origin that is readable, such as the file name.
    """
    samples = [sample for sample in (text[:_MAX_SAMPLE_BYTES] for text in texts) if not sample.isascii()]
    scripts = {_script(char) for text in context for char in text if char > "\u024f" and char.isalpha()}
    western = [_western_score(sample) for sample in samples]
    found: list[tuple[float, str]] = []
    for encoding, prior in _PRIORS.items():
        gains = [
            max(_score(sample, encoding) - base, -_MAX_LOSS)
            for sample, base in zip(samples, western, strict=True)
        ]
        gain = _CONTEXT_GAIN if scripts & _SCRIPTS_OF[encoding] else 0.0
        found.append((sum(gains) + prior + gain, encoding))
    found.sort(reverse=True)
    best, encoding = found[0]
    if best <= 0:
        return Detected(WESTERN, 0.0, None)
    readings = [decode(sample, encoding) for sample in samples]
    rival = next(
        (
            name
            for score, name in found[1:]
            if score > best - MIN_LEAD and [decode(sample, name) for sample in samples] != readings
        ),
        None,
    )
    return Detected(encoding, best, rival)


def is_better_in(text: bytes, encoding: str) -> bool:
    """Return whether a text fits the code page of its file about as well as Western text."""
    sample = text[:_MAX_SAMPLE_BYTES]
    return _score(sample, encoding) >= _western_score(sample) - _MAX_MISFIT


def decode(text: bytes, encoding: str) -> str | None:
    """Return a text in a code page, or None if it is not valid there.

    An incomplete character at the end is left out: fields of fixed size cut characters of several bytes.
    Bytes that cp1252 does not define are control characters, as in ISO 8859-1.
    """
    if encoding == WESTERN:
        return text.decode(WESTERN, errors="phonograph-latin-1")
    try:
        return codecs.getincrementaldecoder(encoding)().decode(text)
    except UnicodeDecodeError:
        return None


def encode_western(text: str) -> bytes | None:
    """Return the bytes of a text that was read as cp1252 or ISO 8859-1, or None if it was not."""
    encoded = bytearray()
    for char in text:
        if ord(char) < 0x100:
            encoded.append(ord(char))
        else:
            try:
                encoded += char.encode(WESTERN)
            except UnicodeEncodeError:
                return None
    return bytes(encoded)


def _use_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("phonograph-latin-1", _use_latin_1)


def _weights(**letters: float) -> dict[str, float]:
    total = sum(letters.values())
    return {letter: math.log(weight / total) for letter, weight in letters.items()}


def _listed(text: str) -> dict[str, float]:
    """Return logarithms of frequencies from pairs of letter and weight."""
    pairs = text.split()
    return _weights(**{letter: float(weight) for letter, weight in zip(pairs[::2], pairs[1::2], strict=True)})


_WESTERN_LANGUAGES: Final = tuple(
    map(
        _listed,
        (
            # Foreign names in English text, then French, Spanish, Portuguese, Italian, Catalan.
            "é 25 ö 10 ü 8 ä 6 ó 6 á 6 í 5 è 4 ñ 4 ç 4 ø 3 å 3 à 3 ë 3 ê 2 ô 2 ï 2 ã 2 ú 2 â 1 î 1 û 1 ß 1",
            "é 45 à 14 è 12 ê 6 ç 4 ô 3 â 3 ù 2 û 2 î 2 œ 2 ë 1 ï 1 ü .2",
            "ó 25 í 20 á 18 é 12 ñ 10 ú 5 ü .5",
            "ã 22 ç 15 é 14 á 13 í 8 ó 7 ê 7 õ 5 ú 4 â 3 à 3 ô 3",
            "è 25 à 25 ò 15 ù 12 ì 10 é 8",
            "à 25 é 15 ó 15 è 12 í 10 ò 8 ç 5 ú 4 ï 3 ü 2",
            # German, Swedish and Finnish, Danish and Norwegian, Icelandic and Faroese, Estonian.
            "ü 35 ä 30 ö 20 ß 12 é 2",
            "ä 40 ö 30 å 25 é 2",
            "ø 38 å 32 æ 25 é 2 ö 1 ä 1",
            "ð 18 á 15 í 15 ó 8 ö 8 æ 7 é 6 ú 6 þ 6 ø 4 ý 4",
            "ä 35 õ 30 ü 25 ö 10",
        ),
    )
)

_RUSSIAN = (
    "о 10.9 е 8.5 а 8 и 7.4 н 6.7 т 6.3 с 5.5 р 4.7 в 4.5 л 4.4 к 3.5 м 3.2 д 3 п 2.8 у 2.6 я 2 ы 1.9"
    " ь 1.7 г 1.7"
    " з 1.65 б 1.6 ч 1.4 й 1.2 х 1 ж .9 ш .7 ю .6 ц .5 щ .4 э .3 ф .3 ё .1 ъ .04"
)
_UKRAINIAN = (
    "о 9.4 а 8.3 н 6.5 і 6.2 и 6 в 5.3 р 4.8 т 5.4 е 4.6 с 4.1 к 3.6 л 3.6 у 3.3 д 3.2 м 3 п 2.8"
    " я 2.5 з 2.3 ь 1.8"
    " б 1.8 г 1.6 ч 1.4 х 1.1 й 1.1 ж .8 ю .8 ц .8 ї .8 є .6 ш .7 щ .5 ф .3 ў .3 ґ .05"
)
_SERBIAN = (
    "а 11.8 о 9.3 е 8.8 и 9.5 н 5.6 р 5.3 с 5 т 4.6 ј 5 к 3.6 в 3.7 д 3.6 у 4.2 м 3.7 л 3.4 п 2.8"
    " з 1.7 г 1.7"
    " б 1.5 ч 1 ц .8 ш 1 ћ .7 ж .6 х .7 њ .7 љ .5 ф .3 ђ .2 џ .05"
)
_BULGARIAN = (
    "а 11.6 о 9.1 е 8.8 и 9 т 7.5 н 6.6 р 4.6 с 5 в 4.4 л 3 к 3.3 д 3.2 п 3 м 2.4 з 2.1 я 1.7 г 1.6"
    " ъ 1.6 у 1.4"
    " б 1.4 ч 1.5 ц .7 ж .7 й .7 щ .6 х .6 ш .3 ф .3 ю .14 ь .04"
)
_GREEK = (
    "α 11 ο 9 ι 8.6 τ 7.8 ε 7.6 ν 6.2 σ 5 η 4.8 ρ 4 π 4 κ 4 ς 4 υ 3.9 μ 3.3 λ 2.7 ί 2.7 ά 2 ό 1.8"
    " δ 1.7 γ 1.6 ω 1.6"
    " έ 1.5 ή 1.4 χ 1.2 θ 1.2 ύ .9 φ .8 β .7 ώ .6 ξ .5 ζ .35 ψ .15 ϊ .05 ΐ .02"
)
_HEBREW = (
    "י 11 ו 10 ה 9 ל 7.5 א 6.5 ר 5.6 ת 5.2 מ 5 ב 4.9 ש 4.5 ע 3 נ 2.9 ד 2.7 ם 2.6 ח 2.5 ק 2.1 פ 2 כ 2"
    " ס 1.5 ג 1.3"
    " ן 1.3 ט 1.2 ז 1.2 צ 1 ך .8 ף .3 ץ .2"
)
_ARABIC = (
    "ا 13 ل 11 ي 7 م 6 ن 6 و 5.8 ر 5 ت 4.5 ب 4 ع 4 د 3.5 ه 3.2 ة 3 س 3 ف 3 أ 3 ك 2.5 ق 2.5 ح 2.3"
    " ج 1.5 ش 1.4 ط 1"
    " ص 1 ى 1 إ 1 خ .9 ذ .7 ز .7 ض .6 ث .6 غ .5 ئ .5 ء .5 ؤ .2 ظ .2 آ .2"
)
_THAI = (
    "า 7 น 6.5 ร 6 ่ 6 ก 5 อ 5 เ 5 ง 4.5 ั 4.5 ี 4 ้ 4 ม 4 ล 3.5 ว 3.3 ต 3 ส 3 ย 3 ิ 3 ด 2.8 ท 2.8"
    " ค 2.6 ห 2.5 บ 2.3"
    " ป 2 แ 2 ไ 2 ะ 2 พ 1.8 จ 1.8 ช 1.5 ื 1.5 ุ 1.5 ์ 1.5 ข 1.4 ใ 1.4 ู 1.3 โ 1 ็ 1 ถ .9 ผ .8 ำ .8"
    " ซ .7 ณ .7 ศ .6 ญ .5"
    " ธ .5 ภ .4 ึ .8 ฟ .4 ษ .3 ฉ .3 ฝ .2 ฐ .2 ฤ .1 ฎ .05"
)
_CENTRAL_EUROPEAN = (
    # Polish, Czech and Slovak, Hungarian, Croatian and Slovene, Romanian.
    "ł 22 ą 14 ę 14 ó 12 ż 10 ś 9 ć 6 ń 4 ź 1",
    "í 22 á 18 ě 11 é 10 č 8 ř 8 š 8 ž 8 ý 8 ů 5 ú 2 ľ 2 ň 1 ť .7 ô .7 ď .5 ó .5 ä .5",
    "á 30 é 30 ö 10 ó 10 ő 9 í 6 ü 6 ú 3 ű 2",
    "č 30 š 28 ž 22 ć 15 đ 6",
    "ă 40 ş 18 ţ 16 î 12 â 9",
)
_TURKISH = ("ı 32 ü 15 ş 14 ğ 9 ç 9 ö 7 i\u0307 6 â .5",)
_BALTIC = (
    "ė 22 š 15 ų 15 ž 12 į 8 č 8 ū 8 ą 8 ę 4",
    "ā 38 ī 15 ē 15 š 8 ņ 5 ļ 5 ž 3 ū 3 č 2 ķ 2 ģ 2",
)
_CYRILLIC = (_RUSSIAN, _UKRAINIAN, _SERBIAN, _BULGARIAN)
_HALF_WIDTH_KANA: Final = _listed(
    "ｰ 9 ﾞ 9 ﾝ 7 ﾄ 5.5 ﾙ 5 ｽ 5 ﾗ 4 ｲ 4 ｸ 4 ﾘ 4 ｼ 4 ｱ 3.5 ﾌ 3 ｯ 3 ｶ 3 ﾀ 2.5 ﾊ 2.5 ﾚ 2.3 ﾛ 2.2 ｺ 2 ﾃ 2"
    " ﾏ 2 ﾟ 2 ﾑ 1.7 ｷ 1.7 ﾐ 1.5 ﾁ 1.5 ｻ 1.5 ｵ 1.5 ｳ 1.5 ﾅ 1.5 ﾎ 1.3 ｨ 1.3 ﾒ 1.2 ｴ 1.2 ﾋ 1.2 ｭ 1.2 ﾆ 1"
    " ･ 1 ｾ .9 ｹ .8 ﾉ .8 ﾓ .8 ｬ .8 ｮ .8 ｪ .8 ﾈ .7 ﾜ .7 ｿ .7 ﾂ .7 ﾔ .6 ｧ .6 ﾍ .5 ｫ .5 ﾕ .4 ﾖ .4 ｩ .3"
    " ｢ .1 ｣ .1 ﾇ .1 ｦ .05 ､ .02 ｡ .02"
)
_VOICED_AFTER: Final = {
    "ﾞ": frozenset("ｳｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾊﾋﾌﾍﾎ"),
    "ﾟ": frozenset("ﾊﾋﾌﾍﾎ"),
    **dict.fromkeys("ｬｭｮ", frozenset("ｷｼﾁﾆﾋﾐﾘﾃﾌﾞﾟ")),
}
_NEVER_FIRST: Final = frozenset("ｰﾝｯｧｨｩｪｫ")

_LETTERS_OF: Final[dict[str, tuple[dict[str, float], ...]]] = {
    name: tuple(map(_listed, languages))
    for name, languages in {
        "cp1251": _CYRILLIC,
        "koi8_u": (_RUSSIAN, _UKRAINIAN),
        "cp866": (_RUSSIAN,),
        "iso8859_5": (_RUSSIAN,),
        "mac_cyrillic": (_RUSSIAN,),
        "cp1253": (_GREEK,),
        "iso8859_7": (_GREEK,),
        "cp1255": (_HEBREW,),
        "cp1256": (_ARABIC,),
        "cp874": (_THAI,),
        "cp1250": _CENTRAL_EUROPEAN,
        "iso8859_2": _CENTRAL_EUROPEAN,
        "cp1254": _TURKISH,
        "cp1257": _BALTIC,
    }.items()
}

_PRIORS: Final = {
    "cp1251": 0.0,
    "gb18030": 0.0,
    "cp932": 0.0,
    "big5hkscs": -0.5,
    "cp949": -0.5,
    "cp1250": -1.0,
    "koi8_u": -1.0,
    "cp1253": -1.0,
    "cp1254": -1.0,
    "cp1255": -1.0,
    "cp1256": -1.0,
    "cp874": -1.0,
    "euc_jp": -2.0,
    "cp866": -2.0,
    "iso8859_2": -2.0,
    "iso8859_7": -4.0,
    "cp1257": -2.0,
    "iso8859_5": -3.0,
    "mac_cyrillic": -3.0,
}
"""The code pages, with how much rarer than Western text they are."""

_SCRIPTS_OF: Final = {
    "cp1251": {"CYRILLIC"},
    "koi8_u": {"CYRILLIC"},
    "cp866": {"CYRILLIC"},
    "iso8859_5": {"CYRILLIC"},
    "mac_cyrillic": {"CYRILLIC"},
    "cp1253": {"GREEK"},
    "iso8859_7": {"GREEK"},
    "cp1255": {"HEBREW"},
    "cp1256": {"ARABIC"},
    "cp874": {"THAI"},
    "cp1250": set[str](),
    "iso8859_2": set[str](),
    "cp1254": set[str](),
    "cp1257": set[str](),
    "gb18030": {"CJK"},
    "big5hkscs": {"CJK"},
    "cp949": {"HANGUL"},
    "cp932": {"HIRAGANA", "KATAKANA", "CJK"},
    "euc_jp": {"HIRAGANA", "KATAKANA", "CJK"},
}

_COMMON_CHINESE: Final = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后"
    "作里用道行所然家种事"
    "成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实爱情歌曲风花"
    "雪月夜梦雨水山海春秋"
    "冬夏红白黑青蓝绿黄金银东西南北城路车桥河江湖云星光日阳火树鸟飞走跑笑哭泪等远近老少男女儿妈爸朋友"
    "王李张刘陈杨赵周吴徐"
    "孙马朱胡林郭何高罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任姚卢傅钟姜崔谭廖范"
    "汪陆石戴贾韦夏邱方侯邹"
    "熊孟秦白江阎薛尹段雷黎史龙陶贺顾毛郝龚邵万钱严覃武戴莫孔向汤张学友华健德华邓丽君王菲伦杰周迅英雄"
    "新世界第集音轨序号专辑"
    "精选经典合唱团乐队演唱最美丽永远平凡感觉故乡思念寂寞温柔青春岁月无名字千百十九八七六五四三二"
    "這個們來為國說時會對於著後過發裡裏麼學樣當沒動還進開從實愛風夢雲陽樹鳥飛淚遠兒媽東車橋紅藍綠黃銀"
    "張劉陳楊趙吳孫馬羅鄭謝許"
    "鄧馮韓蕭葉蔣蘇呂盧鍾譚陸賈韋鄒閻龍賀顧龔萬錢嚴湯華麗倫傑經專輯選樂隊團聲覺鄉歲無圓舞曲結戀總點電"
    "話間問關難讓給願讀寫聽單"
)
_COMMON_JAPANESE: Final = frozenset(
    "日一人年大十二本中長出三時行見月分後前生五間上東四今金九入学高円子外八六下来気小七山話女北午百書"
    "先名川千水半男西電校語土"
    "木聞食車何南万毎白天母火右読友左休父雨愛恋夢心空海花風星夜夏冬春秋歌声涙君僕私俺彼誰手目雪光影道"
    "街駅朝昼夕色青赤黒桜鳥猫"
    "犬田村松井藤佐鈴木高橋渡辺伊山本中小林加吉斎崎原和清森池橋阿部石前岡長谷野坂龍浜宇多美空智恵陽真"
    "希奈々理香由紀明世界旅立物"
    "語永遠愛情待想思出会別者音楽交響曲第番集"
)
_COMMON_KOREAN: Final = frozenset(
    "이다에의는로하을가고지서한은기으년대사시를리도인스일어나아자라수정해그보전있주장여과부들게비구상"
    "동제만김박최조윤강임오신권황"
    "안송유홍전고문양손배백허남심노하곽성차우민진영현경미숙희선은지혜원준호철수용석훈규재태광국학교생"
    "선님사랑해요당신우리너나내마음"
    "속눈물꿈별밤하늘바람비꽃길집노래가수음악시작끝다시모든없는것처럼때문그대안녕친구소녀시대여자남자"
    "오늘내일어제세상행복슬픔추억"
    "천만번째름데와면며까지부터께서니까네죠요습입됩말말못잘더또왜뭐무엇디든트레드파크타카토코모메버브"
    "블방탄단봄날태린환욱섭빈찬웅"
)


@cache
def _script(char: str) -> str:
    return unicodedata.name(char, "?").partition(" ")[0]


def _western_score(text: bytes) -> float:
    decoded = decode(text, WESTERN) or ""
    return max(_score_letters(decoded, letters, "LATIN", _ACCENT_PAIR) for letters in _WESTERN_LANGUAGES)


def _score(text: bytes, encoding: str) -> float:
    decoded = decode(text, encoding)
    if decoded is None:
        return -math.inf
    rate = _RATES.get(encoding)
    if rate is not None:
        is_cut = len(decoded.encode(encoding)) < len(text)
        breaks = sum(
            one.isalpha() and other.isalpha() and one.isascii() != other.isascii()
            for one, other in pairwise(decoded)
        )
        total = sum(map(rate, decoded)) + breaks * _WIDE_BREAK + (_CUT_CHARACTER if is_cut else 0.0)
        return total + _rate_half_width(decoded)
    script = next(iter(_SCRIPTS_OF[encoding]), "LATIN")
    return max(_score_letters(decoded, letters, script, 0.0) for letters in _LETTERS_OF[encoding])


def _score_letters(text: str, letters: dict[str, float], script: str, accent_pair: float) -> float:
    """Return the logarithm of the likelihood of a text in a language with an alphabet.

    Args:
        text: The text.
        letters: Logarithms of the frequencies of its letters beyond ASCII.
        script: The script of these letters.
        accent_pair: What two of them in a row cost.
    """
    total, previous = 0.0, " "
    if not text[:1].isascii() and text[:1].islower():
        total += _SMALL_START
    for char in text:
        total += _rate_letter(char, letters, script)
        if char.isalpha() and previous.isalpha():
            if script != "LATIN" and char.isascii() != previous.isascii():
                total += _SCRIPT_BREAK
            elif not char.isascii() and not previous.isascii():
                total += accent_pair
            if char.isupper() and previous.islower():
                total += _CASE_BREAK
        if not char.isascii() and char.isupper() and not previous.isupper():
            total += _UPPER_CASE
        previous = char
    return total


def _rate_letter(char: str, letters: dict[str, float], script: str) -> float:
    if char.isascii():
        return _ASCII_LETTER if char.isalpha() else _SPACE_OR_SIGN
    weight = letters.get(char.lower())
    if weight is not None:
        return weight
    if char in _TYPOGRAPHIC:
        return _PUNCTUATION
    if char.isalpha() and _script(char) == script:
        return _FOREIGN_LETTER
    return _CONTROL if unicodedata.category(char)[0] == "C" else _SYMBOL


@cache
def _rate_chinese(char: str) -> float:
    if char in _COMMON_CHINESE:
        return -6.0
    if "\u4e00" <= char <= "\u9fff":
        if b"\xb0" <= _bytes_in(char, "gb2312") < b"\xd8":
            return -8.5
        return -9.0 if b"\xa4" <= _bytes_in(char, "big5") < b"\xc7" else -12.0
    return _rate_asian(char)


@cache
def _rate_japanese(char: str) -> float:
    if "\u3041" <= char <= "\u30fe":
        return -4.2
    if char in _HALF_WIDTH_KANA:
        return _HALF_WIDTH_KANA[char]
    if char in _COMMON_JAPANESE:
        return -6.0
    if "\u4e00" <= char <= "\u9fff" or char == "々":
        return -8.5 if b"\xb0" <= _bytes_in(char, "euc_jp") < b"\xd0" else -12.0
    return _rate_asian(char)


def _rate_half_width(text: str) -> float:
    """Return what half-width katakana cost by their order: one byte each, they fit many code pages."""
    total, previous = 0.0, " "
    for char in text:
        if char in _HALF_WIDTH_KANA:
            is_start = previous not in _HALF_WIDTH_KANA
            total += _HALF_WIDTH if is_start else 0.0
            after = _VOICED_AFTER.get(char)
            if (after is not None and previous not in after) or (is_start and char in _NEVER_FIRST):
                total += _KANA_BREAK
        previous = char
    return total


@cache
def _rate_korean(char: str) -> float:
    if char in _COMMON_KOREAN:
        return -5.3
    if "\uac00" <= char <= "\ud7a3":
        return -8.0 if len(_bytes_in(char, "euc_kr")) == 2 else -13.0
    return _rate_asian(char)


_RATES: Final[dict[str, Callable[[str], float]]] = {
    "gb18030": _rate_chinese,
    "big5hkscs": _rate_chinese,
    "cp932": _rate_japanese,
    "euc_jp": _rate_japanese,
    "cp949": _rate_korean,
}


def _rate_asian(char: str) -> float:
    """Return what a character costs that is not of the language itself."""
    if char.isascii():
        return _ASCII_LETTER if char.isalpha() else _SPACE_OR_SIGN
    if char in _TYPOGRAPHIC or "\uff01" <= char <= "\uff5e":
        return -6.0
    return -12.0 if char.isalpha() else -11.0


def _bytes_in(char: str, encoding: str) -> bytes:
    try:
        return char.encode(encoding)
    except UnicodeEncodeError:
        return b""
