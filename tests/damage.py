"""Damage to files, for the tests of what reads them."""

import numpy as np


def damaged(content, count, seed):
    """Yield copies of some bytes: two in three with a flipped bit, the others cut, anywhere."""
    random = np.random.RandomState(seed)
    for number in range(count):
        copy = bytearray(content)
        if number % 3:
            copy[random.randint(len(content))] ^= 1 << random.randint(8)
        else:
            del copy[random.randint(len(content)):]
        yield copy
