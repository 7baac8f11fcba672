"""The chapter's formulas, verbatim, to compare the package with."""

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


def SGD(params, lr):
    for param in params:
        param[:] = param - lr * param.grad


def step(X, label, params, lr, net=net, loss=softmax_cross_entropy, update=SGD):
    """Run one step of the training loop; return the summed loss."""
    with autograd.record():
        losses = loss(net(X.reshape((len(X), -1)), params), nd.one_hot(label, 10))
    losses.backward()
    update(params, lr)
    return nd.sum(losses).asscalar()
