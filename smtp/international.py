"""Local parts beyond ASCII (RFC 6531): which of them leave no doubt whose they are.

RFC 6532 lets nearly every character stand there. What looks like another local part, or becomes
one when it is put in lower case or normalised, must not pass for an address that somebody owns.
"""

import unicodedata

# The scripts whose letters are taken for one another's.
_LOOK_ALIKE = {"LATIN", "GREEK", "CYRILLIC"}


def is_unambiguous(local: str) -> bool:
    """Whether a dot-atom is normalised, of letters, marks and digits, and of one script.

    Only what lies beyond ASCII is looked at; the rest is the grammar's business.
    """
    return (
        unicodedata.is_normalized("NFKC", local)
        and all(character.isascii() or _may_stand(character) for character in local)
        and not any(unicodedata.category(atom[0])[0] == "M" for atom in local.split("."))
        and len({_script(each) for each in local if each.isalpha()} & _LOOK_ALIKE) <= 1
    )


def fold(local: str) -> str:
    """Lower case, still normalised."""
    return unicodedata.normalize("NFC", local.lower())


def _may_stand(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "Nd"


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
