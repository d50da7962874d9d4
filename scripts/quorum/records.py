"""The record of a run: what it was, what it ran on, and what of it may differ another time."""

import json
import platform
import resource
import subprocess
import sys
from pathlib import Path

import torch

from quorum.files import write_whole

# ASSUME: on a disk where git takes longer, a record goes without it (choice).
GIT_S = 60.0


def hardware() -> dict:
    """Return what this process runs on, and the peak memory of it, its children and its GPU.

    Of its children, that of the largest one that has ended: processes that read cubes, other GPUs'.
    """
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []:
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    has_gpu = torch.cuda.is_available()
    children_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "processor": processor,
        "gpu": torch.cuda.get_device_name(0) if has_gpu else None,
        "gpu_peak_memory_mb": torch.cuda.max_memory_allocated() // 10**6 if has_gpu else None,
        "threads": torch.get_num_threads(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6,
        "peak_memory_children_mb": children_kib * 1024 // 10**6,
    }


def git_state(folder) -> dict | None:
    """Return the commit that a folder is at and whether files differ from it; None without git."""
    calls = (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    try:
        texts = [
            subprocess.run(
                ["git", "-C", str(folder), *words],
                capture_output=True,
                text=True,
                check=True,
                timeout=GIT_S,
            ).stdout.strip()
            for words in calls
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": texts[0], "is_changed": bool(texts[1])}


def not_deterministic(settings: dict) -> str:
    """Say what of a run may differ between two machines or two runs."""
    if settings["method"] != "network":
        return "nothing"
    where = "between machines, thread counts and releases of torch"
    if settings["is_deterministic"]:
        return f"the weights' last digits {where}"
    return f"the weights' last digits {where}, and on a GPU between two runs"


def write_record(path, plan: dict, *, notes: dict, made_by: dict):
    """Write record.json whole.

    Parameters
    ----------
    path : str or Path
    plan : dict
        Of `quorum.plans.read_plan`.
    notes : dict
        experiment, fold, seed, data_kind, duration_s, total_duration_s, num_gpus,
        num_parameters, num_steps and what else the run found.
    made_by : dict
        `quorum.command.provenance(...)`: flags, digests of splits and shards, versions.
    """
    record = {
        **notes,
        "plan": plan,
        "hardware": hardware(),
        "git": git_state(Path(__file__).resolve().parent),
        "not_deterministic": not_deterministic(plan["settings"]),
        "made_by": made_by,
    }
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
