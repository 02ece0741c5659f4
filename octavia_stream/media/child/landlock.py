"""Landlock: from now on this process reaches only the named files. Linux, by raw system calls.

Source: Linux, Documentation/userspace-api/landlock.rst; numbers from include/uapi/linux/landlock.h.
"""

import ctypes
import os
import struct
from enum import IntFlag

# The three calls have the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_TCP_BIND_AND_CONNECT = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class Access(IntFlag):
    """LANDLOCK_ACCESS_FS_*."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Access.READ_FILE
WRITE_BENEATH = Access.READ_FILE | Access.WRITE_FILE | Access.MAKE_REG | Access.REMOVE_FILE | Access.TRUNCATE


def abi_version(libc: ctypes.CDLL) -> int:
    """Version the kernel speaks; 0 when it has no Landlock or it is switched off."""
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))))


def restrict(libc: ctypes.CDLL, allowed: dict[bytes, Access]) -> int:
    """Allow these paths (files, or directories with all beneath) and nothing else; also no TCP, no signals outside.

    Needs no_new_privs. Returns the ABI version that holds, 0 when Landlock is not to be had. Raises OSError.
    """
    abi = abi_version(libc)
    if abi == 0:
        return 0
    handled = _handled_accesses(abi)
    attributes = struct.pack("<QQQ", handled, _TCP_BIND_AND_CONNECT, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _checked(libc, libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        for path, access in allowed.items():
            _allow(libc, ruleset, path, access & handled)
        _checked(libc, libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)
    return abi


def _handled_accesses(abi: int) -> int:
    count = 13 if abi == 1 else 14 if abi == 2 else 15 if abi < 5 else 16
    return (1 << count) - 1


def _allow(libc: ctypes.CDLL, ruleset: int, path: bytes, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("<Qi", access, descriptor)
        arguments = (ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), rule, ctypes.c_uint32(0))
        _checked(libc, libc.syscall(_ADD_RULE, *arguments))
    finally:
        os.close(descriptor)


def _checked(libc: ctypes.CDLL, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
