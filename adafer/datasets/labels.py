"""Names of expressions, and the codes that data sets use for them."""

from __future__ import annotations

import re
from typing import Literal

from .._sklearn import StrOptions, judged

__all__ = [
    "AFFECTNET",
    "CK_PLUS",
    "EXPRESSIONS",
    "EXPW",
    "FER2013",
    "FERPLUS",
    "JAFFE",
    "RAF_DB",
    "SYNONYMS",
    "canonical_label",
]

EXPRESSIONS: tuple[str, ...] = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)

# Other spelling -> canonical name
SYNONYMS: dict[str, str] = {
    "natural": "neutral",
    "neutrality": "neutral",
    "happy": "happiness",
    "joy": "happiness",
    "surprised": "surprise",
    "suprise": "surprise",
    "sad": "sadness",
    "angry": "anger",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "contemptuous": "contempt",
}

# Codes of the data sets. What is no expression ("unknown", "no face") is left
# out: readers drop these pictures.
RAF_DB: dict[int, str] = {
    1: "surprise",
    2: "fear",
    3: "disgust",
    4: "happiness",
    5: "sadness",
    6: "anger",
    7: "neutral",
}
FER2013: dict[int, str] = {
    0: "anger",
    1: "disgust",
    2: "fear",
    3: "happiness",
    4: "sadness",
    5: "surprise",
    6: "neutral",
}
EXPW: dict[int, str] = dict(FER2013)
# Vote columns; 8 is "unknown", 9 "NF" (no face).
FERPLUS: dict[int, str] = {
    0: "neutral",
    1: "happiness",
    2: "surprise",
    3: "sadness",
    4: "anger",
    5: "disgust",
    6: "fear",
    7: "contempt",
}
# 8 is "none", 9 "uncertain", 10 "no face".
AFFECTNET: dict[int, str] = {
    0: "neutral",
    1: "happiness",
    2: "sadness",
    3: "surprise",
    4: "fear",
    5: "disgust",
    6: "anger",
    7: "contempt",
}
CK_PLUS: dict[int, str] = {
    0: "neutral",
    1: "anger",
    2: "contempt",
    3: "disgust",
    4: "fear",
    5: "happiness",
    6: "sadness",
    7: "surprise",
}
# The letters after the subject in a file's name: KA.AN1.39.tiff
JAFFE: dict[str, str] = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}

_LEADING_NUMBER = re.compile(r"^\d+[\s._-]+(?=[^\W\d])")


@judged(name=[str], unknown=[StrOptions({"raise", "keep"})])
def canonical_label(name: str, *, unknown: Literal["raise", "keep"] = "raise") -> str:
    """Give an expression's canonical name.

    Case, surrounding blanks and a leading number ("3_Happy") do not matter.
    Bare numbers are unknown: data sets number expressions differently, see the
    tables of this module.

    Parameters
    ----------
    name : str
        Such as "happy".
    unknown : {"raise", "keep"}, default="raise"
        Whether a name that is not known is an error or given back unchanged.

    Returns
    -------
    label : str
        One of `EXPRESSIONS`, "happiness", or `name` itself.

    Raises
    ------
    ValueError
        If the name is not known and ``unknown="raise"``.

    Examples
    --------
    >>> from adafer.datasets import canonical_label
    >>> canonical_label("Happy"), canonical_label("0_angry")
    ('happiness', 'anger')
    """
    plain = _LEADING_NUMBER.sub("", str(name).strip().lower())
    if plain in EXPRESSIONS:
        return plain
    if plain in SYNONYMS:
        return SYNONYMS[plain]
    if unknown == "keep":
        return str(name)
    raise ValueError(
        f"{name!r} is no expression known here; expected one of {', '.join(EXPRESSIONS)}, or a "
        f'synonym: {", ".join(SYNONYMS)}. Pass unknown="keep" to keep other names.'
    )
