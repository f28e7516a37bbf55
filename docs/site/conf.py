# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Sphinx makes the site; docs/site/build runs it. Nothing on a page comes from elsewhere: no font, no script, no picture."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer

project = "netops.underlay"
copyright = "netops.underlay contributors, GPL-3.0-or-later"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
# Headings are linked to by the names that they have where Markdown is shown; classes and folded boxes by attributes.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "colon_fence"]
html_theme = "furo"
html_title = "netops.underlay"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
# Its colours are in site.css, taken from the theme.
antsibull_ext_color_scheme = "none"
html_copy_source = False
html_show_sphinx = False
exclude_patterns = ["reference/index.rst", "reference/environment_variables.rst"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0550ae", "color-brand-content": "#0550ae"},
    "dark_css_variables": {"color-brand-primary": "#58a6ff", "color-brand-content": "#58a6ff"},
}

ANSIBLE = "https://docs.ansible.com/ansible/latest/"
BUILTIN = "ansible_collections.ansible.builtin."


def page_of_ansible(_app: Any, _env: Any, node: nodes.Element, content: nodes.Node) -> nodes.Node | None:
    """A link to what Ansible's own pages explain: its modules, and what every module returns."""
    target = node.get("reftarget", "")
    if target.startswith(BUILTIN):
        page = f"collections/ansible/builtin/{target[len(BUILTIN) :]}.html"
    elif target == "common_return_values":
        page = f"reference_appendices/{target}.html"
    else:
        return None
    return nodes.reference("", "", content, internal=False, refuri=ANSIBLE + page)


def setup(app: Any) -> None:
    for plain in ("mermaid", "csv"):
        app.add_lexer(plain, TextLexer)
    app.connect("missing-reference", page_of_ansible)
