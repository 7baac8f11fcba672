"""The chapter's training loop, with this package's pieces, from top to bottom.

Runs from anywhere: python examples/train_mnist.py --epochs 3
"""

import argparse

from mlp_mx import data, model, runtime, train
from mlp_mx._support import cli
from mlp_mx.runtime import autograd, nd

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=cli.integer(1, 1000), default=10)
epochs = parser.parse_args().epochs

# Set contexts
ctx = runtime.context("auto")

# Data
batch_size = 64
train_data, test_data = data.load("mnist", batch_size=batch_size, progress=True)

# Allocate parameters
params = model.init_params(
    num_inputs=784, num_hidden=256, num_outputs=10, weight_scale=0.01, seed=0, ctx=ctx
)

# Execute the training loop
learning_rate = 0.001

for epoch in range(epochs):
    train_data.set_epoch(epoch)
    cumulative_loss = 0
    for X, label in train_data:
        X = X.as_in_context(ctx)
        label = label.as_in_context(ctx)
        label_one_hot = nd.one_hot(label, 10)
        with autograd.record():
            output = model.net(X, params)
            loss = model.softmax_cross_entropy(output, label_one_hot)
        loss.backward()
        train.SGD(params, learning_rate)
        cumulative_loss += nd.sum(loss).asscalar()

    test_accuracy = train.evaluate_accuracy(test_data, params)
    train_accuracy = train.evaluate_accuracy(train_data, params)
    print(
        f"Epoch {epoch}. Loss: {cumulative_loss / train_data.num_examples:.5f}, "
        f"Train_acc {train_accuracy:.5f}, Test_acc {test_accuracy:.4f}"
    )
