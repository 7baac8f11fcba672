"""The test accuracy of a saved network, with JAX.

python jax_predict.py MODEL.npz MNIST_FOLDER
"""

import sys

import jax
import jax.numpy as jnp
import mnist
import numpy as np


@jax.jit
def net(params, X):
    h1 = jax.nn.relu(X @ params["W1"] + params["b1"])
    h2 = jax.nn.relu(h1 @ params["W2"] + params["b2"])
    return h2 @ params["W3"] + params["b3"]


model = np.load(sys.argv[1])
params = {name: jnp.asarray(model[name]) for name in ("W1", "b1", "W2", "b2", "W3", "b3")}
X, label = mnist.read(sys.argv[2], "t10k")
predictions = np.asarray(net(params, X).argmax(axis=1))
print("test accuracy", np.mean(predictions == label))
