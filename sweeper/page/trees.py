"""Evidence of any shape as nested lists. Made here and not by the template: it is most of a large page."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from sweeper import words


def tree(of: Any) -> Markup:
    """Names and values as a list of definitions, several of them as an ordered list, anything else as text."""
    return Markup(_tree(of))  # noqa: S704 - escaped piece by piece


def _tree(of: Any) -> str:
    if isinstance(of, Mapping):
        parts = (f"<div><dt>{_text(words.label(name))}</dt><dd>{_tree(inner)}</dd></div>" for name, inner in of.items())
        return f'<dl class="tree">{"".join(parts)}</dl>'
    if isinstance(of, list) and any(isinstance(inner, Mapping) for inner in of):
        return f'<ol class="tree">{"".join(f"<li>{_tree(inner)}</li>" for inner in of)}</ol>'
    return _text(words.value(of))


def _text(plain: str) -> str:
    return str(escape(words.visible(plain)))
