"""One more epoch for a saved network, with PyTorch, and the way back.

python torch_train.py MODEL.npz MNIST_FOLDER NEW_MODEL.npz
"""

import sys

import mnist
import numpy as np
import torch
from torch_predict import accuracy, load

net = load(sys.argv[1])
train, test = (tuple(map(torch.from_numpy, mnist.read(sys.argv[2], half)))
               for half in ("train", "t10k"))

loss = torch.nn.CrossEntropyLoss(reduction="sum")  # the chapter does not average over the batch
optimizer = torch.optim.SGD(net.parameters(), lr=0.001)
batches = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(*train), batch_size=64, shuffle=True
)
for X, label in batches:
    optimizer.zero_grad()
    loss(net(X), label).backward()
    optimizer.step()
print("test accuracy", accuracy(net, *test))

names = ("W1", "b1", "W2", "b2", "W3", "b3")
arrays = {name: param.detach().numpy().T for name, param in zip(names, net.parameters())}
np.savez(sys.argv[3], **arrays, metadata="{}")  # mlp_mx.checkpoint.load reads it
