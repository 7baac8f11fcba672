"""An epoch of the chapter's network with gluon's layers, saved as gluon saves.

python gluon_train.py MNIST_FOLDER NEW_MODEL.params
"""

import sys

import mnist
import numpy as np
from mlp_mx.runtime import autograd, gluon, nd

net = gluon.nn.HybridSequential()
net.add(gluon.nn.Dense(256, "relu"), gluon.nn.Dense(256, "relu"), gluon.nn.Dense(10))
net.initialize()
net.hybridize()
trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.064})
loss = gluon.loss.SoftmaxCrossEntropyLoss()

X, label = mnist.read(sys.argv[1], "train")
for batch in np.split(np.random.permutation(len(X)), range(64, len(X), 64)):
    with autograd.record():
        losses = loss(net(nd.array(X[batch])), nd.array(label[batch]))
    losses.backward()
    trainer.step(len(batch))  # the mean over the batch, hence the learning rate

X, label = mnist.read(sys.argv[1], "t10k")
print("test accuracy", np.mean(net(nd.array(X)).asnumpy().argmax(axis=1) == label))
net.save_parameters(sys.argv[2])
