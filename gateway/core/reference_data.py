"""Facts of the GB electricity system that validation rests on; sources in brackets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from operator import mul

# [Elexon, Market Domain Data] the MPAN's first two digits name the distributor; the 14 with an area of their own.
GSP_GROUP_BY_DISTRIBUTOR: Mapping[str, str] = {
    "10": "_A",
    "11": "_B",
    "12": "_C",
    "13": "_D",
    "14": "_E",
    "15": "_F",
    "16": "_G",
    "17": "_P",
    "18": "_N",
    "19": "_J",
    "20": "_H",
    "21": "_K",
    "22": "_L",
    "23": "_M",
}
GSP_GROUPS = frozenset(GSP_GROUP_BY_DISTRIBUTOR.values())

# [NESO] response, quick reserve, slow reserve, balancing reserve
SERVICE_CODES = frozenset(
    {"DCH", "DCL", "DMH", "DML", "DRH", "DRL", "NQR", "PQR", "NSR", "PSR", "NBR", "PBR"},
)

_MPAN = re.compile(r"[0-9]{13}")
_MPAN_WEIGHTS = (3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43)
# [Elexon, BM unit registration] at most 11 characters
_BM_UNIT = re.compile(r"[TEI2CMVS]_[A-Z0-9-]{1,9}")
_EIC = re.compile(r"[0-9A-Z-]{15}[0-9A-Z]")
_EIC_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"


def is_mpan_form(text: str) -> bool:
    """Whether a text has the form of an MPAN core: 13 ASCII digits."""
    return _MPAN.fullmatch(text) is not None


def mpan_check_digit(text: str) -> int:
    """The check digit that the first 12 digits of an MPAN core ask for."""
    total: int = sum(map(mul, map(int, text[:12]), _MPAN_WEIGHTS))
    return total % 11 % 10


def is_mpan(text: str) -> bool:
    """Whether a text is an MPAN core with the right check digit."""
    return is_mpan_form(text) and int(text[12]) == mpan_check_digit(text)


def gsp_group_of_mpan(text: str) -> str | None:
    """The GSP group of an MPAN's distributor, or None for an independent network, which may be in any group."""
    return GSP_GROUP_BY_DISTRIBUTOR.get(text[:2])


def is_bm_unit(text: str) -> bool:
    """Whether a text looks like an Elexon BM unit id, such as ``T_EXMPL-1``; others exist, so only ever warn."""
    return _BM_UNIT.fullmatch(text) is not None


def is_eic(text: str) -> bool:
    """Whether a text is an Energy Identification Code with the right check character [ENTSO-E, EIC manual]."""
    if not _EIC.fullmatch(text):
        return False
    total = sum((16 - place) * _EIC_ALPHABET.index(letter) for place, letter in enumerate(text[:15]))
    return text[15] == _EIC_ALPHABET[36 - (total - 1) % 37]
