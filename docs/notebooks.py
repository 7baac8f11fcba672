"""Run the example notebooks; store what they print and draw, or compare it with what is stored.

Also attaches the diagrams as PNG, the only attachments that Jupyter shows. The exercises store no
outputs, because readers run them. Needs MNIST.

    python docs/notebooks.py
    python docs/notebooks.py --check
"""

import argparse
import base64
import io
import pathlib
import re
import sys

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

DOCS = pathlib.Path(__file__).parent
NOTEBOOKS = sorted((DOCS.parent / "examples").glob("*.ipynb"))
NUMBER = re.compile(r"\d+\.\d+")
PICTURE = re.compile(r'<img alt="(.*?)" src="data:image/png;base64,(.*?)">')
RELATIVE, ABSOLUTE = 0.02, 0.005  # between two CPUs, of losses and accuracies
LEVELS = 6  # of 255, the mean difference between two pictures, reduced: curves and counts may move


def attach(notebook):
    """Attach the pictures named in a notebook's text, from this folder."""
    for cell in notebook.cells:
        names = re.findall(r"\(attachment:(.*?)\)", cell.source)
        if names:
            cell.attachments = {
                name: {"image/png": base64.b64encode((DOCS / name).read_bytes()).decode()}
                for name in names}


def run(notebook):
    """Return a copy of a notebook with new outputs, as it will be stored."""
    new = nbformat.from_dict(notebook)
    attach(new)
    NotebookClient(new, timeout=600, coalesce_streams=True, record_timing=False).execute()
    new.metadata = notebook.metadata  # without the version of this Python
    return new


def shown(cell):
    """The text and the pictures, (description, PNG in base64), of a cell's outputs."""
    outputs = cell.get("outputs", [])
    text = "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "")
                   for output in outputs)
    html = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    return text, PICTURE.findall(html)


def is_like(stored, found):
    """Whether two cells show the same, up to rounding."""
    (text, pictures), (new_text, new_pictures) = shown(stored), shown(found)
    numbers, new_numbers = (np.array(NUMBER.findall(each), float) for each in (text, new_text))
    return (stored.get("attachments") == found.get("attachments")
            and NUMBER.sub("", text) == NUMBER.sub("", new_text)
            and np.allclose(new_numbers, numbers, rtol=RELATIVE, atol=ABSOLUTE)
            and [name for name, _ in pictures] == [name for name, _ in new_pictures]
            and all(_distance(*pair) < LEVELS for pair in zip(pictures, new_pictures)))


def _distance(*pictures):
    """The mean difference of two pictures in grey levels, reduced to 100 x 100."""
    pixels = [np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("L").resize(
        (100, 100)), float) for _, png in pictures]
    return np.abs(pixels[0] - pixels[1]).mean()


def main():
    """Run all notebooks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true",
                        help="compare and write nothing; exit code 1 if anything differs")
    is_check, differ = parser.parse_args().check, 0
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        new = run(notebook)
        if not any(cell.get("outputs") for cell in notebook.cells):
            print(f"{path.name}: runs, and stores no outputs")
            continue
        if not is_check:
            nbformat.write(new, path)
            print(f"{path.name}: written")
            continue
        for number, (stored, found) in enumerate(zip(notebook.cells, new.cells)):
            if not is_like(stored, found):
                differ += 1
                print(f"{path.name}, cell {number}: differs from what is stored; run "
                      "python docs/notebooks.py")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
