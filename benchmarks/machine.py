"""Machine: what everything was measured on."""

import os
import platform
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """One machine, without its name."""

    cpu: str
    cores: int
    """That this process may use."""
    memory_gib: float
    system: str
    python: str

    @property
    def sentence(self) -> str:
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory_gib:.0f} GiB of memory, {self.system}, "
            f"Python {self.python}, no GPU used"
        )


def this_machine() -> Machine:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(_cpu_name(), cores(), memory / 1024**3, _system_name(), platform.python_version())


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _system_name() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
