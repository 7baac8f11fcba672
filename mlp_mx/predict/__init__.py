"""The network's probability of each digit for each image."""

from ..runtime.lazy import nd

__all__ = ["probabilities"]


def probabilities(X, params):
    """The network's probability of each class for each example.

    Parameters
    ----------
    X : NDArray or ndarray, shape (batch, 28, 28) or (batch, 28, 28, 1)
        White on black, values in [0, 1].
    params : list of NDArray
        ``[W1, b1, W2, b2, W3, b3]``.

    Returns
    -------
    ndarray of float32, shape (batch, num_outputs)
        Each row sums to 1.
    """
    from .. import model  # here, because --help does not need NumPy

    X = nd.array(X, params[0].context)
    return model.softmax(model.net(X, params)).asnumpy()
