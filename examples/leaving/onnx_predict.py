"""The test accuracy of an exported network, with ONNX Runtime.

python onnx_predict.py MODEL.onnx MNIST_FOLDER
"""

import sys

import mnist
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
X, label = mnist.read(sys.argv[2], "t10k")
output, = session.run(None, {"images": X.reshape(-1, 28, 28, 1)})  # logits or probabilities
print("test accuracy", np.mean(output.argmax(axis=1) == label))
