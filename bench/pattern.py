"""Bytes whose every position is known; bench/origin makes the same ones."""

# A prime, so that the period falls on no buffer's size.
PERIOD = 65_521
PIECE = 256 * 1024
_TABLE = bytes((i * 2_654_435_761 & 0xFFFFFFFF) >> 16 & 0xFF for i in range(PERIOD)) * (PIECE // PERIOD + 2)


def at(position, length):
    """The `length` bytes from `position`; at most PIECE of them."""
    start = position % PERIOD
    return memoryview(_TABLE)[start : start + length]


def matches(data, position):
    return data == at(position, len(data))
