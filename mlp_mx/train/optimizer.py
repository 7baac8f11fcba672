"""The chapter's optimizer."""

from .. import fast

__all__ = ["SGD"]


@fast.elementwise
def SGD(params, lr):
    """Take one step of stochastic gradient descent, in place.

    Parameters
    ----------
    params : list of NDArray
        With gradients attached and computed. Those without a gradient are not changed.
    lr : float
        Learning rate.
    """
    for param in params:
        grad = param.grad
        if grad is not None:  # not of grad_req "null"
            fast.add_scaled(param, -lr, grad)  # param[:] = param - lr * param.grad, at once
