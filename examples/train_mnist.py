"""The chapter's model and training loop, from top to bottom. Change `relu` or `net`, and run it.

Two lines make it fast: `fast.traced` executes functions as graphs, and `fast.packed` lays the
parameters out for speed. Without them it computes the same, two to three times slower.
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


def main(argv=None):
    """Train, and evaluate after each epoch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--dataset", choices=data.DATASETS, default="auto")
    parser.add_argument("--data-dir", help="folder for the data set")
    args = parser.parse_args(argv)

    ctx = runtime.context("auto")
    train_data, test_data = data.load(
        args.dataset, args.data_dir, batch_size=64, ctx=ctx, progress=True)
    params = model.init_params(
        num_inputs=784, num_hidden=256, num_outputs=10, weight_scale=0.01, seed=0, ctx=ctx)
    fast_net, loss = fast.traced(net), fast.traced(softmax_cross_entropy)
    learning_rate = 0.001

    for epoch in range(args.epochs):
        train_data.set_epoch(epoch)
        cumulative_loss = 0
        with fast.packed(params) as packed:
            for X, label in train_data:
                X = X.as_in_context(ctx).reshape((-1, 784))
                label = label.as_in_context(ctx)
                label_one_hot = nd.one_hot(label, 10)
                with autograd.record():
                    output = fast_net(X, packed)
                    losses = loss(output, label_one_hot)
                losses.backward()
                train.SGD(packed, learning_rate)
                cumulative_loss += nd.sum(losses)

        test_accuracy = train.evaluate_accuracy(test_data, params, fast_net)
        train_accuracy = train.evaluate_accuracy(train_data, params, fast_net)
        print(f"Epoch {epoch}. Loss: {cumulative_loss.asscalar() / train_data.num_examples:.5f}, "
              f"Train_acc {train_accuracy:.5f}, Test_acc {test_accuracy:.4f}")


if __name__ == "__main__":
    try:
        main()
    except Error as error:  # a message for people, without a traceback
        print("error:", error, file=sys.stderr)
        sys.exit(error.exit_code)
