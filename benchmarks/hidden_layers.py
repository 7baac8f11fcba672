"""What the hidden layers are worth: the chapter's network against a linear softmax.

Both are trained with the chapter's settings: 10 epochs, batches of 64, learning rate 0.001.

    python benchmarks/hidden_layers.py --dataset glyphs
"""

import argparse

import numpy as np

from mlp_mx import data, model, train
from mlp_mx.runtime import autograd, nd


def mlp(train_data, test_data, seed):
    """Test accuracy of the chapter's network."""
    *_, record = train.fit(model.init_params(seed=seed), train_data, test_data)
    return record.test_accuracy


def linear_softmax(train_data, test_data, seed):
    """Test accuracy of the network without its hidden layers."""
    params = W, b = model.init_params(num_hidden=10, seed=seed)[:2]
    for epoch in range(10):
        train_data.set_epoch(epoch)
        for X, label in train_data:
            with autograd.record():
                loss = model.softmax_cross_entropy(
                    nd.dot(X.flatten(), W) + b, nd.one_hot(label, 10)
                )
            loss.backward()
            train.SGD(params, 0.001)
    output = nd.dot(test_data.data.flatten(), W) + b
    return nd.mean(nd.argmax(output, axis=1) == test_data.label).asscalar()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=data.DATASETS, default="glyphs")
    parser.add_argument("--seeds", type=int, default=3, help="number of runs of each")
    args = parser.parse_args()
    print(f"{'seed':<6}{'MLP':>8}{'linear':>8}")
    rows = []
    for seed in range(args.seeds):
        loaders = data.load(args.dataset, seed=seed, progress=True)
        rows.append((mlp(*loaders, seed), linear_softmax(*loaders, seed)))
        print(f"{seed:<6}{rows[-1][0]:>8.4f}{rows[-1][1]:>8.4f}", flush=True)
    mlp_mean, linear_mean = np.mean(rows, axis=0)
    print(f"{'mean':<6}{mlp_mean:>8.4f}{linear_mean:>8.4f}")
    points = 100 * (mlp_mean - linear_mean)
    print(f"{loaders[0].name}: the hidden layers are worth {points:.1f} points")


if __name__ == "__main__":
    main()
