"""The tables of a report as Markdown and LaTeX."""

import re
from collections.abc import Sequence

from vae_lab.sweeps.tables import Table

# what LaTeX reads as its own signs, and letters that not every LaTeX has
OF_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "$&#%_"},
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "‖": r"$\Vert$",
    "<": r"$<$",
    ">": r"$>$",
    "…": r"\ldots{}",
    "|": r"$\vert$",
    '"': "''",
}
OF_MARKDOWN = "\\`*_{}[]<>#|~$!&"
USE = r"% \usepackage{booktabs, graphicx}; \input{table} puts the tables into the text"
# a table that is wider than the page is made smaller, and no other
FITTED = r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def markdown(tables: Sequence[Table]) -> str:
    """The tables, each below its title; numbers stand at the right."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def latex(tables: Sequence[Table]) -> str:
    """The tables as ``table`` environments with rules of booktabs."""
    return "\n\n".join([USE, *map(_latex, tables)]) + "\n"


def _markdown(table: Table) -> str:
    head, *rows = [[_in_markdown(text) for text in row] for row in table.texts]
    rule = ["---:" if column.is_number else "---" for column in table.columns]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
    return "\n".join(
        [f"## {_in_markdown(table.title)}", "", *lines, *(["", _in_markdown(table.note)] if table.note else [])]
    )


def _in_markdown(text: str) -> str:
    """A text that Markdown shows as it is.

    >>> print(_in_markdown("hidden_dims=[64] | <b>"))
    hidden\\_dims=\\[64\\] \\| \\<b\\>
    """
    return "".join(f"\\{letter}" if letter in OF_MARKDOWN else letter for letter in _plain(text))


def _latex(table: Table) -> str:
    head, *rows = [[_in_latex(text) for text in row] for row in table.texts]
    lines = [f"    {' & '.join(row)} \\\\" for row in rows]
    if table.last:
        lines.insert(-1, r"    \midrule")
    kinds = "".join("r" if column.is_number else "l" for column in table.columns)
    name = "".join(letter for letter in table.title.lower() if letter.isalpha())
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_in_latex(table.title)}. {_in_latex(table.note)}}}",
            rf"  \label{{tab:{name}}}",
            FITTED,
            rf"  \begin{{tabular}}{{{kinds}}}",
            r"    \toprule",
            f"    {' & '.join(head)} \\\\",
            r"    \midrule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
        ]
    )


def _in_latex(text: str) -> str:
    """A text that LaTeX shows as it is.

    >>> print(_in_latex("hidden_dims 99.5 ± 0.1 %"))
    hidden\\_dims 99.5 $\\pm$ 0.1 \\%
    """
    return "".join(OF_LATEX.get(letter, letter) for letter in re.sub(r"^-(?=\d)", "−", _plain(text)))


def _plain(text: str) -> str:
    """One line without control signs: a stranger's text could end the row."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
