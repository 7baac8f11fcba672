"""Settings of Sphinx: ``python -m sphinx -W docs docs/_build`` builds the pages.

Nothing is trained or downloaded: the pictures and the page to draw on are the committed ones
(``python docs/pictures.py`` makes them again, with MNIST), and formulas become MathML.
"""

import ast
import importlib
import inspect
import os
import sys

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.util.docutils import SphinxDirective

import mlp_mx

project = "mlp_mx"
author = "the mlp_mx developers"
copyright = ('2026 the mlp_mx developers, Apache-2.0; after a chapter of "Deep Learning – The '
             'Straight Dope" by Zachary C. Lipton, Mu Li, Alex Smola and contributors')
version = release = mlp_mx.__version__
extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.programoutput",
]
exclude_patterns = ["_build", "jupyter_execute", "page"]
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_default_options = {"ignore-module-all": True}  # else the order is that of __all__
napoleon_use_param = napoleon_use_rtype = False  # else the words of a shape are taken for links

nb_execution_mode = "off"  # notebooks are shown with the output that they were committed with
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]

html_theme = "furo"
html_title = "mlp_mx"
html_static_path = ["_static"]
html_extra_path = ["page"]  # draw_digit.html
html_css_files = ["mlp_mx.css"]
html_math_renderer = "mathml"
html_show_sphinx = False

# The commands whose --help the pages show: with the Python that builds them, 90 characters wide.
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
os.environ["COLUMNS"] = "90"


class Source(SphinxDirective):
    """``.. source:: mlp_mx.model.net`` shows a function as it runs, without its docstring."""

    required_arguments = 1

    def run(self):
        """The function's code as a block."""
        module, _, name = self.arguments[0].rpartition(".")
        function = getattr(importlib.import_module(module), name)
        self.env.note_dependency(inspect.getsourcefile(function))
        lines = inspect.getsource(function).splitlines()
        first = ast.parse("\n".join(lines)).body[0].body[0]
        if inspect.getdoc(function):
            del lines[first.lineno - 1:first.end_lineno]
        code = "\n".join(lines)
        return [nodes.literal_block(code, code, language="python")]


def visit_math(translator, node):
    """Write a formula as MathML, which browsers show without a script or a network."""
    is_block = isinstance(node, nodes.math_block)
    formula = latex2mathml.tex2mathml(node.astext(), as_block=is_block)
    translator.body.append(f'<div class="formula">{formula}</div>' if is_block else formula)
    raise nodes.SkipNode


def find_attachments(app, name, source):
    """Replace a notebook's attachments by the same pictures in this folder."""
    source[0] = source[0].replace("](attachment:", "](")


def say_pictures(app):
    """Say where the pictures come from when the pages are built."""
    print("pictures: as committed; python docs/pictures.py draws them again, with MNIST")


def setup(app):
    """Register what the pages need in addition to Sphinx's own."""
    app.add_directive("source", Source)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("source-read", find_attachments)
    app.connect("builder-inited", say_pictures)
