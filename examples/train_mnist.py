"""The chapter, from top to bottom, with its own loop. Change `relu`, `net` or the loop, and run it.

Run: python examples/train_mnist.py --epochs 3
"""

import argparse
import sys

from mlp_mx import Error, data, fast, model, runtime, train
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


# Run both as graphs. Leave out this line, and `packed` below, and training is 2 to 3 times slower.
net, loss = fast.traced(net), fast.traced(softmax_cross_entropy)


def main(argv=None):
    """Train, evaluate, print: the chapter's loop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--dataset", choices=data.DATASETS, default="auto")
    parser.add_argument("--data-dir", help="folder for the data set")
    args = parser.parse_args(argv)

    ctx = runtime.context("auto")
    train_data, test_data = data.load(args.dataset, args.data_dir, ctx=ctx, progress=True)
    params = model.init_params(num_hidden=256, weight_scale=0.01, seed=0, ctx=ctx)
    learning_rate = 0.001

    with fast.packed(params) as params:
        for epoch in range(args.epochs):
            train_data.set_epoch(epoch)  # each epoch has its own order
            cumulative_loss = 0
            for X, label in train_data:
                X = X.reshape((-1, 784))
                label_one_hot = nd.one_hot(label, 10)
                with autograd.record():
                    output = net(X, params)
                    losses = loss(output, label_one_hot)
                losses.backward()
                train.SGD(params, learning_rate)
                cumulative_loss += nd.sum(losses)

            mean_loss = cumulative_loss.asscalar() / train_data.num_examples
            test_accuracy = train.evaluate_accuracy(test_data, params, net)
            train_accuracy = train.evaluate_accuracy(train_data, params, net)
            print(f"Epoch {epoch}. Loss: {mean_loss:.5f}, "
                  f"Train_acc {train_accuracy:.5f}, Test_acc {test_accuracy:.4f}")


if __name__ == "__main__":
    try:
        main()
    except Error as error:  # a message for people, without a traceback
        print("error:", error, file=sys.stderr)
        sys.exit(error.exit_code)
