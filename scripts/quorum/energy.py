"""Energy that the machine spent while a run was at work, where the hardware says it.

A GPU's counter (NVML) is read by nvidia-smi's library when it is there, a CPU's (RAPL) from
/sys/class/powercap when this user may. Both count the whole device, whoever uses it.
"""

import ctypes
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
MICROJOULE = 1e-6
MILLIJOULE = 1e-3


class EnergyMeter:
    """Joules since the last reading; None where nothing can be read.

    Parameters
    ----------
    device : str
        `cpu` or `cuda`.
    folder : Path
        Where Linux shows RAPL's counters.
    """

    def __init__(self, device: str, folder: Path = POWERCAP):
        self.device, self.folder = device, folder
        self.last = self.counters()

    def counters(self) -> dict:
        """Return each counter's joules and where it starts again, by name."""
        found = {}
        for domain in sorted(self.folder.glob("intel-rapl:*")):
            # A package holds its cores: a domain within another one would be counted twice.
            if domain.name.count(":") != 1:
                continue
            try:
                count = int((domain / "energy_uj").read_text())
                highest = int((domain / "max_energy_range_uj").read_text())
            except (OSError, ValueError):
                continue
            found[domain.name] = (count * MICROJOULE, highest * MICROJOULE)
        if self.device == "cuda":
            found |= gpu_counters()
        return found

    def spent_j(self):
        """Return the joules since the last call (or the start), or None where nobody knows."""
        now, last = self.counters(), self.last
        self.last = now
        both = sorted(set(now) & set(last))
        if not both:
            return None
        # A counter that stands lower than before has started again once.
        steps = ((now[name][0] - last[name][0], now[name][1]) for name in both)
        return sum(step if step >= 0 else step + highest for step, highest in steps)


def gpu_counters() -> dict:
    """Return the joules of every GPU by NVML, nothing where it is missing."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return {}
    found, count = {}, ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return {}
    for number in range(count.value):
        handle, total = ctypes.c_void_p(), ctypes.c_ulonglong()
        if library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle)):
            continue
        if not library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(total)):
            found[f"gpu{number}"] = (total.value * MILLIJOULE, float(2**64) * MILLIJOULE)
    library.nvmlShutdown()
    return found
