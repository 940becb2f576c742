"""A report as Markdown and as one HTML page."""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Iterable
from collections.abc import Sequence

# Enough to read it well on screens and on paper; no script, no font, no link
# to anything outside of the file.
STYLE = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  font: 16px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; }
h1, h2 { line-height: 1.2; }
img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #d5dce3;
  text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid #1c2733; vertical-align: bottom; }
"""


@dataclasses.dataclass(frozen=True)
class Heading:
    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells of text; the first row has the titles.

    A column of text is to be read from its left, one of numbers from its
    right: all but the first are taken for numbers.
    """

    rows: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG.

    Attributes:
        name: Name of the file beside the Markdown.
        alt: What it shows, in words.
        content: Its bytes.
    """

    name: str
    alt: str
    content: bytes


Block = Heading | Paragraph | Table | Picture


def to_markdown(title: str, blocks: Iterable[Block]) -> str:
    """Return a report as Markdown.

    Args:
        title: Its heading.
        blocks: `Heading`s, `Paragraph`s, `Table`s and `Picture`s.
    """
    parts = [f"# {title}", *(_MARKDOWN[type(block)](block) for block in blocks)]
    return "\n\n".join(parts) + "\n"


def to_html(title: str, blocks: Iterable[Block]) -> str:
    """Return a report as an HTML page that needs no other file."""
    body = "\n".join(_HTML[type(block)](block) for block in blocks)
    title = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _table_markdown(table):
    rows = [[cell.replace("|", r"\|") for cell in row] for row in table.rows]
    rules = ["---"] + ["---:"] * (len(rows[0]) - 1)
    rows.insert(1, rules)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _table_html(table):
    head, *rows = [
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        for row, tag in zip(
            table.rows, ["th"] + ["td"] * (len(table.rows) - 1), strict=True
        )
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _picture_html(picture):
    content = base64.b64encode(picture.content).decode()
    alt = html.escape(picture.alt)
    return f'<p><img alt="{alt}" src="data:image/png;base64,{content}"></p>'


_MARKDOWN = {
    Heading: lambda block: f"## {block.text}",
    Paragraph: lambda block: block.text,
    Table: _table_markdown,
    Picture: lambda block: f"![{block.alt}]({block.name})",
}
_HTML = {
    Heading: lambda block: f"<h2>{html.escape(block.text)}</h2>",
    Paragraph: lambda block: f"<p>{html.escape(block.text)}</p>",
    Table: _table_html,
    Picture: _picture_html,
}
