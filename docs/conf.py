"""Settings of Sphinx: ``python -m sphinx -W docs docs/_build`` builds the pages, and draws."""

import os
import pathlib
import subprocess
import sys

import mlp_mx

project = "mlp_mx"
author = "the mlp_mx developers"
version = release = mlp_mx.__version__
extensions = [
    "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon",
    "sphinxcontrib.programoutput",
]
exclude_patterns = ["_build"]
default_role = "py:obj"
autodoc_member_order = "bysource"
napoleon_use_param = napoleon_use_rtype = False  # else the words of a shape are taken for links
html_theme_options = {"description": "Multilayer perceptrons from scratch, in MXNet, today"}
# The commands whose --help the pages show: with the Python that builds them, 90 characters wide.
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
os.environ["COLUMNS"] = "90"


def draw(app):
    """Train the chapter's network, and draw the pictures that the pages show."""
    here = pathlib.Path(__file__).parent
    (here / "drawn").mkdir(exist_ok=True)
    subprocess.run([sys.executable, here / "pictures.py", "--out", here / "drawn"], check=True)


def setup(app):
    """Draw before the pages are read."""
    app.connect("builder-inited", draw)
