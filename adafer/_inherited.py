"""Constructors and docstrings of subclasses, completed by those of their base.

A method of adaptation has two or three parameters of its own and seventeen that
all methods share. A subclass names its own; the shared ones pass through
``**shared: Unpack[...]``, which type checkers read, and `complete` shows them
where scikit-learn, ``help`` and editors look: in the signature and the text.
"""

from __future__ import annotations

import inspect
import re
from inspect import Parameter

__all__ = ["complete"]

_MARKERS = {"Parameters": "%(shared_parameters)s\n", "Attributes": "%(shared_attributes)s\n"}


def complete(cls: type, base: type) -> None:
    """Show the base's parameters and attributes as the subclass's, too.

    Parameters
    ----------
    cls : type
        Its constructor's ``**shared`` becomes the keyword parameters of the
        base's that it does not name itself; in its docstring the markers become
        the entries of the base's sections, less those it has itself.
    base : type
    """
    init = vars(cls).get("__init__")
    if init is not None:
        own = inspect.signature(init)
        parameters = list(own.parameters.values())
        if parameters[-1].kind is Parameter.VAR_KEYWORD:
            shared = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
            init.__signature__ = own.replace(
                parameters=parameters[:-1]
                + [
                    p
                    for p in shared
                    if p.kind is Parameter.KEYWORD_ONLY and p.name not in own.parameters
                ]
            )
    if cls.__doc__ and base.__doc__:  # none under python -OO
        # without the indentation, which newer Pythons drop themselves
        doc, base_doc = inspect.cleandoc(cls.__doc__) + "\n", inspect.cleandoc(base.__doc__)
        for section, marker in _MARKERS.items():
            known = _entries(doc, section)
            entries = _entries(base_doc, section).items()
            doc = doc.replace(marker, "".join(text for name, text in entries if name not in known))
        cls.__doc__ = doc


def _entries(doc: str, section: str) -> dict[str, str]:
    """Name and text of each entry of a numpydoc section."""
    found = re.search(rf"^{section}\n-+\n(.*?)(?=^\S[^\n]*\n---|\Z)", doc, re.DOTALL | re.MULTILINE)
    if found is None:
        return {}
    entries = re.findall(r"^((\w+)[^\n]*\n(?:[ ]+[^\n]*\n)*)", found[1] + "\n", re.MULTILINE)
    return {name: text for text, name in entries}
