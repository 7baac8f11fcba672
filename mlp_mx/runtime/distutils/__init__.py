"""``distutils``, which Python 3.12 removed: the two modules that scripts and MXNet use.

`mlp_mx.runtime.removed` finds it for old code where setuptools, which has all of it, is missing.
"""
