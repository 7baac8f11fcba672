"""The test accuracy of a saved network, with NumPy alone.

python numpy_predict.py MODEL.npz MNIST_FOLDER
"""

import sys

import mnist
import numpy as np

model = np.load(sys.argv[1])
X, label = mnist.read(sys.argv[2], "t10k")

h1 = np.maximum(X @ model["W1"] + model["b1"], 0)
h2 = np.maximum(h1 @ model["W2"] + model["b2"], 0)
logits = h2 @ model["W3"] + model["b3"]
print("test accuracy", np.mean(logits.argmax(axis=1) == label))
