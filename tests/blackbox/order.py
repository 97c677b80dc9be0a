"""The order of an epoch, written a second time: a keyed permutation of the positions of a snapshot."""

import hashlib


def _round(seed, epoch, count, number, half):
    words = (seed.to_bytes(8), epoch.to_bytes(4), count.to_bytes(8), number.to_bytes(1), half.to_bytes(8))
    return int.from_bytes(hashlib.sha256(b"idvault/order/v1" + b"".join(words)).digest()[:8])


def index(seed, epoch, count, position):
    """Which record of a snapshot of `count` stands at `position`: a Feistel network of 8 rounds, cycle-walking."""
    bits = (count - 1).bit_length()
    half = max(2, bits + bits % 2) // 2
    mask = (1 << half) - 1
    value = position
    while True:
        left, right = value >> half, value & mask
        for number in range(8):
            left, right = right, left ^ _round(seed, epoch, count, number, right) & mask
        value = left << half | right
        if value < count:
            return value


def order(seed, epoch, count):
    """The indices of all positions."""
    return [index(seed, epoch, count, position) for position in range(count)]
