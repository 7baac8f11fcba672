"""The folder that `mlp_mx.runtime.inherited` puts on PYTHONPATH."""
