"""The test accuracy of a saved network, with PyTorch.

python torch_predict.py MODEL.npz MNIST_FOLDER
"""

import sys

import mnist
import numpy as np
import torch
from torch import nn


def load(path):
    """The network in an .npz file. PyTorch's layers keep their weights transposed."""
    model = np.load(path)
    net = nn.Sequential()
    for W, b in (("W1", "b1"), ("W2", "b2"), ("W3", "b3")):
        layer = nn.Linear(*model[W].shape)
        layer.weight.data = torch.from_numpy(model[W].T)
        layer.bias.data = torch.from_numpy(model[b])
        net.extend([layer, nn.ReLU()])
    return net[:-1]  # no ReLU after the last layer


def accuracy(net, X, label):
    with torch.no_grad():
        return (net(X).argmax(dim=1) == label).double().mean().item()


if __name__ == "__main__":
    net = load(sys.argv[1])
    X, label = map(torch.from_numpy, mnist.read(sys.argv[2], "t10k"))
    print("test accuracy", accuracy(net, X, label))
