"""The published accuracy: two runs of the chapter, as its authors committed them.

From zackchase/mxnet-the-straight-dope, ``chapter03_deep-neural-networks/mlp-scratch.ipynb``, at
commits f9c53e5 (2018-06-21) and 0ef5948 (2017-12-13): MNIST, the chapter's settings.
"""

__all__ = ["RUNS", "after"]

# For each run, (loss, train accuracy, test accuracy) per epoch; loss in nats per example.
RUNS = tuple(zip(*(
    ((1.25152, 0.87512, 0.8787), (1.20781, 0.88363, 0.8877)),
    ((0.32968, 0.92738, 0.9287), (0.32839, 0.92402, 0.9244)),
    ((0.22200, 0.94840, 0.9453), (0.22106, 0.94903, 0.9464)),
    ((0.16146, 0.96215, 0.9600), (0.16259, 0.95743, 0.9535)),
    ((0.12706, 0.96815, 0.9655), (0.12928, 0.96935, 0.9637)),
    ((0.10350, 0.97287, 0.9648), (0.10519, 0.97390, 0.9703)),
    ((0.08724, 0.97777, 0.9685), (0.08902, 0.97903, 0.9728)),
    ((0.07477, 0.97943, 0.9703), (0.07616, 0.98228, 0.9723)),
    ((0.06436, 0.98593, 0.9728), (0.06546, 0.98472, 0.9728)),
    ((0.05623, 0.98763, 0.9754), (0.05725, 0.98743, 0.9751)),
)))


def after(epoch):
    """The train and the test accuracies of the runs after an epoch, or after their last one.

    Returns
    -------
    train_accuracies, test_accuracies : str
        Such as "0.9754 and 0.9751".
    """
    last = [run[min(epoch, len(run) - 1)] for run in RUNS]
    return (" and ".join(f"{accuracy:.5f}" for _, accuracy, _ in last),
            " and ".join(f"{accuracy:.4f}" for _, _, accuracy in last))
