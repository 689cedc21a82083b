"""The checksum of MCAP chunks: CRC-32 as zlib's, by ISA-L where it is installed, which takes a third of the time."""

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
