"""The chapter's model and training loop, from top to bottom. Change `relu` or `net`, and run it.

Run: python examples/train_mnist.py --epochs 3
"""

import sys

from mlp_mx import data, model, runtime, train
from mlp_mx._support import cli
from mlp_mx.runtime import autograd, nd


def relu(X):
    return nd.maximum(X, nd.zeros_like(X))


def softmax_cross_entropy(yhat_linear, y):
    return -nd.sum(y * nd.log_softmax(yhat_linear), axis=0, exclude=True)


def net(X, params):
    W1, b1, W2, b2, W3, b3 = params
    h1 = relu(nd.dot(X, W1) + b1)
    h2 = relu(nd.dot(h1, W2) + b2)
    return nd.dot(h2, W3) + b3


def SGD(params, lr):
    for param in params:
        param[:] = param - lr * param.grad


@cli.command
def main(argv=None):
    """Train by a loop of its own; `mlp_mx.train.fit` does the same in less than half the time."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=cli.integer(1, 1000), default=10)
    parser.add_argument("--dataset", choices=data.DATASETS, default="auto")
    parser.add_argument("--data-dir", type=cli.path, help="folder for the data set")
    args = parser.parse_args(argv)

    ctx = runtime.context("auto")
    train_data, test_data = data.load(
        args.dataset, args.data_dir, batch_size=64, ctx=ctx, progress=True)
    params = model.init_params(
        num_inputs=784, num_hidden=256, num_outputs=10, weight_scale=0.01, seed=0, ctx=ctx)
    learning_rate = 0.001

    for epoch in range(args.epochs):
        train_data.set_epoch(epoch)
        cumulative_loss = 0
        for X, label in train_data:
            X = X.as_in_context(ctx).reshape((-1, 784))
            label = label.as_in_context(ctx)
            label_one_hot = nd.one_hot(label, 10)
            with autograd.record():
                output = net(X, params)
                loss = softmax_cross_entropy(output, label_one_hot)
            loss.backward()
            SGD(params, learning_rate)
            cumulative_loss += nd.sum(loss).asscalar()

        test_accuracy = train.evaluate_accuracy(test_data, params, net)
        train_accuracy = train.evaluate_accuracy(train_data, params, net)
        print(f"Epoch {epoch}. Loss: {cumulative_loss / train_data.num_examples:.5f}, "
              f"Train_acc {train_accuracy:.5f}, Test_acc {test_accuracy:.4f}")


if __name__ == "__main__":
    sys.exit(main())
