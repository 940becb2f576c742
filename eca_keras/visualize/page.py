"""A page with pictures and a table, in one file."""

import base64
import html

STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem;
  margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff; }
img { max-width: 100%; height: auto; }
figure { margin: 1.5rem 0; }
figcaption { max-width: 50rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: .25rem .75rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #ccc; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) {
  text-align: left; }
"""


def page(title, facts, sections, table):
    """Write the page.

    Args:
        title: Title of the page.
        facts: List of sentences for its top.
        sections: List of `(heading, sentences, PNG as bytes)`.
        table: `None`, or a list of rows, the first of which has the titles.

    Returns:
        HTML, with the pictures in it.
    """
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{html.escape(title)}</title>",
        f"<style>{STYLE}</style></head>",
        f"<body><h1>{html.escape(title)}</h1>",
        *(f"<p>{html.escape(fact)}</p>" for fact in facts),
        *(_section(*section) for section in sections),
        *([_table(table)] if table else []),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(heading, text, picture):
    encoded = base64.b64encode(picture).decode("ascii")
    heading, text = html.escape(heading), html.escape(text)
    return (
        f"<h2>{heading}</h2>\n<figure>"
        f'<img alt="{heading}" src="data:image/png;base64,{encoded}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _table(rows):
    titles, *rows = rows
    lines = [_row("th", titles), *(_row("td", row) for row in rows)]
    body = "\n".join(lines)
    return f'<h2>Layers</h2>\n<div class="wide"><table>\n{body}\n</table></div>'


def _row(tag, cells):
    cells = "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells)
    return f"<tr>{cells}</tr>"
