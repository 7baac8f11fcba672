"""The test accuracy of a saved network, with gluon's layers.

python gluon_predict.py MODEL.npz MNIST_FOLDER
"""

import os
import sys
import tempfile

import mnist
import numpy as np
from mlp_mx.runtime import gluon, nd

model = np.load(sys.argv[1])
net, params = gluon.nn.HybridSequential(), {}
for layer, activation in enumerate(("relu", "relu", None)):
    W, b = model[f"W{layer + 1}"], model[f"b{layer + 1}"]
    net.add(gluon.nn.Dense(b.size, activation))
    params[f"{layer}.weight"] = nd.array(W.T)  # gluon's are (outputs, inputs)
    params[f"{layer}.bias"] = nd.array(b)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "gluon.params")
    nd.save(path, params)
    net.load_parameters(path)

X, label = mnist.read(sys.argv[2], "t10k")
print("test accuracy", np.mean(net(nd.array(X)).asnumpy().argmax(axis=1) == label))
