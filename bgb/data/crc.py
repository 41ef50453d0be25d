"""CRC-32 of the end of a stretch of bytes, from that of the whole: nothing is summed up twice.

A CRC is the remainder of a polynomial over GF(2); bytes in front add their own remainder, shifted
by the length of what follows (the method of `crc32_combine` in zlib, which Python does not offer).
"""

_POLYNOMIAL = 0xEDB88320  # CRC-32 of zip, lowest power in the highest bit
_ONE = 1 << 31


def crc32_of_end(whole: int, beginning: int, num_bytes: int) -> int:
    """Return the CRC-32 of the last `num_bytes`, given that of everything and of what is before."""
    shift, power = _ONE, _ONE >> 8  # x to the power of 0, and of the 8 bits of a byte
    while num_bytes:
        if num_bytes & 1:
            shift = _multiply(shift, power)
        power = _multiply(power, power)
        num_bytes >>= 1
    return whole ^ _multiply(beginning, shift)


def _multiply(first: int, second: int) -> int:
    """Return the product of two remainders."""
    product = 0
    while first:
        if first & _ONE:
            product ^= second
        first = (first << 1) & 0xFFFFFFFF
        second = second >> 1 ^ (_POLYNOMIAL if second & 1 else 0)
    return product
