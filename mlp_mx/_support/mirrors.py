"""Where data sets can be downloaded, now that the hosts in MXNet's URLs are gone."""

import os
import re

from .errors import InputError

__all__ = ["MIRRORS", "own_first", "without_password"]

# By gluon's names for data sets: URLs of folders with the files that gluon knows by SHA-1. LeCun's
# own host answers 403 now.
MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    "fashion-mnist": (
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/",),
    "cifar100": ("https://www.cs.toronto.edu/~kriz/",),
}


def own_first(public, folder=""):
    """Base URLs to try: those in `public`, after ``$MLP_MX_MIRROR`` if that is set.

    It is the URL of a folder with MNIST's files; gluon's other data sets are in a `folder` in it.
    """
    own = os.environ.get("MLP_MX_MIRROR")
    if not own:
        return public
    if not own.startswith(("http://", "https://")):
        raise InputError("MLP_MX_MIRROR: expected a URL that begins with http, found "
                         f"{without_password(own)!r}")
    return (f"{own.rstrip('/')}/{folder}", *public)


def without_password(text):
    """Remove the passwords from the URLs in a text, even those that are not quoted."""
    return re.sub("(?<=//).*@", "***@", text, flags=re.DOTALL)
