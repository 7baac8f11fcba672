"""The chapter's formulas to the letter, to hold the package's against."""

from mlp_mx.runtime import autograd, nd


def relu(X):
    return nd.maximum(X, nd.zeros_like(X))


def softmax_cross_entropy(yhat_linear, y):
    return -nd.nansum(y * nd.log_softmax(yhat_linear), axis=0, exclude=True)


def net(X, params):
    W1, b1, W2, b2, W3, b3 = params
    h1 = relu(nd.dot(X, W1) + b1)
    h2 = relu(nd.dot(h1, W2) + b2)
    return nd.dot(h2, W3) + b3


def step(X, label, params, learning_rate):
    """One turn of the training loop; returns the summed loss."""
    with autograd.record():
        loss = softmax_cross_entropy(net(X.reshape((-1, 784)), params), nd.one_hot(label, 10))
    loss.backward()
    for param in params:
        param[:] = param - learning_rate * param.grad
    return nd.sum(loss).asscalar()
