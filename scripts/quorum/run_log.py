"""What one of Snakemake's logs tells: which jobs were started, submitted, done, failed.

Nothing is imported that a bare Python lacks, and the log may still be growing.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime

STAMP = re.compile(r"^\s*\[(\w{3} \w{3} +\d+ [\d:]+ \d{4})\]")
RULE = re.compile(r"^\s*(?:local)?(?:rule|checkpoint) (\w+):$")
JOB = re.compile(r"^\s+jobid: (\d+)$")
LOG_FILE = re.compile(r"^\s+log: (\S+)")
FINISHED = re.compile(r"^Finished jobid: (\d+) ")
FAILED = re.compile(r"^\s*Error in rule (\w+):$")
STEPS = re.compile(r"^(\d+) of (\d+) steps")
PLANNED = re.compile(r"^(\w+) +(\d+)$")
SUBMITTED = re.compile(r"^Job (\S+) has been submitted with SLURM jobid (\w+) \(log: (\S+)\)")
ARRAY = re.compile(
    r"^Submitted array job with Snakemake IDs (\S+) and SLURM job ID (\w+)\. "
    r"The individual task IDs are (\d+)-"
)
GROUP = re.compile(r"^\[.*\] Group job (\S+) ")
GROUP_LOG = re.compile(r"/group_([^/_]+)_")
ENDS = ("Complete log", "Elapsed time")


@dataclass
class Status:
    """What a log tells: jobs by rule as planned; of each its rule, log, start and fate."""

    rules: dict = field(default_factory=dict)
    logs: dict = field(default_factory=dict)
    done: set = field(default_factory=set)
    failed: set = field(default_factory=set)
    groups: dict = field(default_factory=dict)
    slurm_jobs: dict = field(default_factory=dict)
    planned: dict = field(default_factory=dict)
    started: dict = field(default_factory=dict)
    num_done: int = 0
    num_steps: int = 0
    times: list = field(default_factory=list)
    has_ended: bool = False

    @property
    def running(self) -> list:
        """The jobs that were started, or submitted, and neither ended nor failed."""
        return [job for job in self.rules if job not in self.done | self.failed]

    def last_submissions(self) -> dict:
        """Return the jobs of each SLURM job, but for those that were submitted again since."""
        latest = {job: number for number, jobs in self.slurm_jobs.items() for job in jobs}
        return {
            number: jobs for number, jobs in self.slurm_jobs.items() if number in latest.values()
        }

    def on_cluster(self, queue: dict, states) -> set:
        """Return the running jobs whose SLURM job is in one of the states."""
        numbers = [number for number in self.last_submissions() if queue.get(number) in states]
        return {job for number in numbers for job in self.slurm_jobs[number]} & set(self.running)


def read_status(lines) -> Status:
    """Return what the lines of one of Snakemake's logs tell.

    Parameters
    ----------
    lines : iterable of str
        An empty log gives an empty status. A job that is started again counts as running.
    """
    status, rule, job, is_error, group = Status(), None, None, False, None
    for line in lines:
        line = line.rstrip("\n")
        if line and not line.startswith(" "):
            group = None
        if match := GROUP.match(line):
            group = status.groups[match[1]] = set()
        elif match := STAMP.match(line):
            status.times.append(datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y").timestamp())
        elif match := RULE.match(line):
            rule, job, is_error = match[1], None, False
        elif match := FAILED.match(line):
            rule, job, is_error = match[1], None, True
        elif (match := JOB.match(line)) and rule:
            job = match[1]
            status.rules[job] = rule
            (status.failed.add if is_error else status.failed.discard)(job)
            if group is not None:
                group.add(job)
            status.started |= {job: status.times[-1]} if status.times and not is_error else {}
        elif match := FINISHED.match(line):
            status.done.add(match[1])
        elif match := STEPS.match(line):
            status.num_done, status.num_steps = int(match[1]), int(match[2])
        elif match := PLANNED.match(line):
            status.planned[match[1]] = int(match[2])
            status.num_steps = status.planned.pop("total", status.num_steps)
        elif match := SUBMITTED.match(line):
            name = GROUP_LOG.search(match[3])
            status.slurm_jobs[match[2]] = status.groups[name[1]] if name else {match[1]}
        elif match := ARRAY.match(line):
            tasks = enumerate(match[1].split(","), int(match[3]))
            status.slurm_jobs |= {f"{match[2]}_{task}": {member} for task, member in tasks}
        read_log_path(status, line, rule, job)
        status.has_ended |= line.startswith(ENDS)
    return status


def read_log_path(status: Status, line: str, rule, job):
    """Keep the path of a rule's log, which stands before or after its job's number."""
    if match := LOG_FILE.match(line):
        status.logs[(rule, job)] = match[1]
    elif job and (rule, None) in status.logs:
        status.logs[(rule, job)] = status.logs.pop((rule, None))
