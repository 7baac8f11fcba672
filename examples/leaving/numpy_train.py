"""The chapter's training with NumPy alone: the backward pass by hand, on any machine.

python numpy_train.py MNIST_FOLDER NEW_MODEL.npz [EPOCHS]
"""

import sys

import mnist
import numpy as np


def forward(X, params):
    W1, b1, W2, b2, W3, b3 = params
    h1 = np.maximum(X @ W1 + b1, 0)
    h2 = np.maximum(h1 @ W2 + b2, 0)
    return h1, h2, h2 @ W3 + b3


def backward(X, h1, h2, delta3, params):
    """The gradients of W1 … b3, from the loss's gradient in the logits, `delta3`."""
    W1, b1, W2, b2, W3, b3 = params
    delta2 = delta3 @ W3.T * (h2 > 0)
    delta1 = delta2 @ W2.T * (h1 > 0)
    return [X.T @ delta1, delta1.sum(axis=0), h1.T @ delta2, delta2.sum(axis=0),
            h2.T @ delta3, delta3.sum(axis=0)]


(X, label), test = (mnist.read(sys.argv[1], half) for half in ("train", "t10k"))
random = np.random.RandomState(0)
params = [random.normal(0, 0.01, shape).astype(np.float32)
          for shape in ((784, 256), 256, (256, 256), 256, (256, 10), 10)]
for epoch in range(int(sys.argv[3]) if len(sys.argv) > 3 else 10):
    order, loss = np.arange(len(X)), 0
    np.random.RandomState([0, epoch]).shuffle(order)  # the package's order for seed 0
    for batch in np.split(order, range(64, len(X), 64)):
        h1, h2, logits = forward(X[batch], params)
        logits -= logits.max(axis=1, keepdims=True)
        log_yhat = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        y = np.eye(10, dtype=np.float32)[label[batch]]
        loss -= (y * log_yhat).sum()
        for param, grad in zip(params, backward(X[batch], h1, h2, np.exp(log_yhat) - y, params)):
            param -= 0.001 * grad
    accuracy = np.mean(forward(test[0], params)[-1].argmax(axis=1) == test[1])
    print(f"epoch {epoch}, loss {loss / len(X):.4f}, test accuracy {accuracy:.4f}", flush=True)
np.savez(sys.argv[2], **dict(zip(("W1", "b1", "W2", "b2", "W3", "b3"), params)), metadata="{}")
