"""How fast training runs: real batches against a tensor in place, options, MONAI's loading.

    python tests/bench/bench_training.py [--device cpu|cuda] [--steps 20] [--threads 1]
                                         [--compile] [--five-folds]

Prints one line a measurement. No assertion on time: a machine that is busy measures itself, so
what is compared is done in turn, the median of each is taken, and the load is printed.

1. Samples a second that the batches give, over MONAI's CacheDataset with the same crop, shift,
   flips, intensity and noise in its own transforms, on the same cubes; elastic bending apart.
2. Cubes a second that worker processes stream from the shards.
3. In bf16 and in fp32: steps a second with batches cut from cubes in memory, over steps a second
   with one random tensor already in place (the same network, loss and optimizer); the step's
   operations a second over those of a product of two large matrices of that type, measured here;
   the time of the steps of five folds, as 5 x max_steps of them.
4. The same step on contiguous memory, and compiled.
5. The same of a run as train_model starts it, from the end of a step to the end of the next one,
   with all that it does there (Lightning, clipping, the weights' average, history): half of the
   steps take a batch in place of the one that they would cut, as many of them after a checkpoint
   as of the others. Which cubes a batch holds is drawn in both. A checkpoint, of which each epoch
   has one, is timed apart.
6. With --five-folds: five folds of the default, trained to their end, validations included.
7. Peak memory of all of it.
"""

import argparse
import copy
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import train_model  # noqa: E402
from model_factory import make_cohort  # noqa: E402
from shard_factory import make_shard  # noqa: E402

from quorum import training  # noqa: E402
from quorum.batches import draw_batch  # noqa: E402
from quorum.closed_schema import load_yaml  # noqa: E402
from quorum.losses import network_loss  # noqa: E402
from quorum.optimizers import make_optimizer  # noqa: E402
from quorum.plans import training_crop  # noqa: E402
from quorum.shards import open_shards  # noqa: E402
from quorum.speed import choose_speed  # noqa: E402
from quorum.step_batches import StepBatches, learning_batch  # noqa: E402
from quorum.stores import StreamedStore, load_store  # noqa: E402
from quorum.trainers import fit  # noqa: E402
from quorum.training import Run, make_network  # noqa: E402

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Sides of the two matrices: large enough that a device is as fast as it gets.
MATRIX_SIDE = {"cpu": 1536, "cuda": 8192}


def timed(rounds, *tasks):
    """Return the median seconds of each `task(number)`, taken in turn; the first round is apart.

    In turn, so that a machine that others use slows all of them alike.
    """
    seconds = [[] for _ in tasks]
    for number in range(rounds + 1):
        for task, kept in zip(tasks, seconds, strict=True):
            start = time.perf_counter()
            task(number)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            kept.append(time.perf_counter() - start)
    return [statistics.median(kept[1:]) for kept in seconds]


def batch_of(store, settings, number):
    """Return inputs, target and what counts of one batch."""
    draw = draw_batch(store, settings, training_crop(settings), seed=0, number=number)
    return learning_batch(store, draw, settings)


def make_step(store, settings, *, is_real, **speed):
    """Return a function that does one training step, with changes to the block `speed`."""
    settings, device = {**settings, "speed": {**settings["speed"], **speed}}, store.image.device
    chosen = choose_speed(settings["speed"], device.type)
    network = make_network(settings, 0, device.type).to(device)
    compiled, optimizer = chosen.compiled(network), make_optimizer(settings, network.parameters())
    fixed = batch_of(store, settings, 0)
    fixed = (torch.randn_like(fixed[0]), *fixed[1:])
    options = {"losses": settings["losses"], "speed": chosen}

    def step(number):
        batch = batch_of(store, settings, number) if is_real else fixed
        optimizer.zero_grad()
        network_loss(compiled, network, batch, **options).backward()
        optimizer.step()

    return step


def make_product(device: str, precision: str):
    """Return a function that multiplies two large matrices of a type, and its operations."""
    side = MATRIX_SIDE[device]
    one = torch.randn((side, side), device=device, dtype=KINDS[precision])
    return lambda _: one @ one, 2 * side**3


def make_monai(cubes, settings):
    """Return a function that takes a batch from MONAI's CacheDataset, augmented alike."""
    from monai import transforms
    from monai.data import CacheDataset, DataLoader

    keys, crop_vox = ["image", "mask"], training_crop(settings)
    (lower, upper), intensity = settings["hu_window"], settings["intensity"]
    chain = transforms.Compose(
        [
            transforms.EnsureChannelFirstd(keys, channel_dim="no_channel"),
            transforms.CastToTyped("image", torch.float32),
            transforms.RandSpatialCropd(keys, crop_vox, random_size=False),
            transforms.RandFlipd(keys, 0.5, spatial_axis=1),
            transforms.RandFlipd(keys, 0.5, spatial_axis=2),
            transforms.RandScaleIntensityd("image", intensity["max_scale"], prob=1.0),
            transforms.RandShiftIntensityd("image", intensity["max_shift_hu"], prob=1.0),
            transforms.RandGaussianNoised(
                "image", prob=1.0, std=intensity["noise_hu"], sample_std=False
            ),
            transforms.ScaleIntensityRanged("image", lower, upper, -1, 1, clip=True),
        ]
    )
    items = [{"image": cubes.image(k), "mask": cubes.readers(k)} for k in range(len(cubes))]
    dataset = CacheDataset(items, chain, progress=False)
    loader = DataLoader(dataset, batch_size=settings["batch_size"], shuffle=True, num_workers=0)
    endless = (batch for _ in iter(int, 1) for batch in loader)
    return lambda number: next(endless)


def bench_steps(store, settings, args):
    """Print the table of both types, and what memory's layout and compiling do."""
    device, name = store.image.device.type, settings["network"]["name"]
    print(f"steps of {name}, {settings['batch_size']} crops of {training_crop(settings)}")
    print("type  real s  in place s  ratio  Gop/s  share of matrix peak  5 x max_steps h")
    for precision in KINDS:
        tasks = [
            make_step(store, settings, is_real=is_real, precision=precision)
            for is_real in (True, False)
        ]
        product, num_operations = make_product(device, precision)
        real, fixed, product_s = timed(args.steps, *tasks, product)
        with FlopCounterMode(display=False) as counter:
            tasks[1](0)
        speed = counter.get_total_flops() / real
        share = speed / (num_operations / product_s)
        hours = 5 * settings["max_steps"] * real / 3600
        row = f"{precision}  {real:6.4f}  {fixed:10.4f}  {fixed / real:5.3f}"
        print(f"{row}  {speed / 1e9:5.1f}  {share:20.3f}  {hours:15.3f}")
    changes = {"contiguous": {"is_channels_last": False}}
    changes |= {"compiled": {"is_compiled": True}} if args.compile else {}
    tasks = [make_step(store, settings, is_real=False, **c) for c in ({}, *changes.values())]
    plain, *others = timed(args.steps, *tasks)
    for name, seconds in zip(changes, others, strict=True):
        print(f"  {name} (after its first step): {plain / seconds:.2f} times as fast as auto")


class TimedRun(Run):
    """A run whose steps are timed, half of them with a batch in place, checkpoints apart."""

    def start_clock(self, batch):
        """Keep the batch in place; start the clock."""
        self.fixed, self.cut = batch, training.learning_batch
        self.steps, self.save_s = [], []
        self.started = time.perf_counter()

    def backward_batch(self, number, store, draw):
        """Give half of the steps the batch in place of the one that they would cut."""
        self.was_real = self.is_real()
        if not self.was_real:
            training.learning_batch = lambda *_: self.fixed
        try:
            return super().backward_batch(number, store, draw)
        finally:
            training.learning_batch = self.cut

    def is_real(self) -> bool:
        """Tell whether it is the turn of a real batch: other parity after each checkpoint."""
        step = self.state["step"]
        return (step + self.epoch_of(step)) % 2 == 0

    def save(self):
        """Write a checkpoint on a clock of its own."""
        start = self.now()
        super().save()
        self.save_s.append(self.now() - start)
        self.started += self.save_s[-1]

    def on_train_batch_end(self, *args):
        """End the step as every run does, and keep its seconds."""
        super().on_train_batch_end(*args)
        end = self.now()
        self.steps.append((self.was_real, end - self.started))
        self.started = end

    def seconds(self, is_real: bool) -> float:
        """Return the median of the steps with real batches, or in place.

        Without the first, which makes buffers, and the last, which ends with a validation.
        """
        return statistics.median(s for kind, s in self.steps[1:-1] if kind == is_real)

    def now(self) -> float:
        """Return the time when all that was started is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def bench_runs(store, cubes, settings, *, args, folder: Path):
    """Print a whole run's steps with real batches over its steps in place, by type."""
    print("a run's own steps: type  real s  in place s  ratio  a checkpoint s")
    validation, fixed = load_store(cubes, [0], consensus="majority"), batch_of(store, settings, 0)
    for precision in KINDS:
        speed = {**settings["speed"], "precision": precision, "is_compiled": False}
        rest = {"max_steps": 4 * args.steps, "validate_every_steps": 4 * args.steps}
        run = TimedRun(
            {**settings, **rest, "speed": speed},
            0,
            stores=(store, validation),
            folder=folder,
            options={"device": args.device},
        )
        run.start_clock((torch.randn_like(fixed[0]), *fixed[1:]))
        fit(run)
        real, in_place = run.seconds(True), run.seconds(False)
        row = f"{precision}  {real:6.4f}  {in_place:10.4f}  {in_place / real:5.3f}"
        print(f"{row}  {statistics.median(run.save_s):6.4f}")


def bench_batches(store, cubes, settings, args):
    """Print samples a second over MONAI's, and what elastic bending costs."""
    bent = copy.deepcopy(settings)
    bent["elastic"]["max_displacement_vox"] = 3.0
    ours, theirs, elastic = timed(
        args.steps,
        lambda number: batch_of(store, settings, number),
        make_monai(cubes, settings),
        lambda number: batch_of(store, bent, number),
    )
    print(f"a batch: {ours * 1e3:.1f} ms, MONAI's CacheDataset {theirs * 1e3:.1f} ms")
    print(f"  samples a second over MONAI's: {theirs / ours:.1f}")
    print(f"  with elastic bending: {elastic * 1e3:.1f} ms")


def bench_streaming(cubes, settings, args):
    """Print how many cubes a second one worker process reads for the batches to come."""
    settings = {**settings, "max_steps": 4 * args.steps}
    streamed = StreamedStore(cubes, range(len(cubes)))
    steps = StepBatches(streamed, settings, seed=0, ranks=(0, 1), first=0)
    start, count = time.perf_counter(), 0
    for _, pairs in steps.loader(1):
        count += sum(len(store) for store, _ in pairs)
    print(f"streamed by one worker: {count / (time.perf_counter() - start):.0f} cubes/s")


def bench_five_folds(folder: Path, settings, args):
    """Print how long five folds of the default take, trained to their end."""
    cohort = make_cohort(folder, shape=(40, 80, 80))
    plan = folder / "plan.yaml"
    whole = {"name": "five_folds", "consensus": "majority", "settings": settings}
    plan.write_text(yaml.safe_dump(whole))
    start = time.perf_counter()
    for fold in range(5):
        flags = cohort.train_flags(plan, folder / f"fold{fold}", fold=fold)
        train_model.main([*flags, "--threads", str(args.threads)])
    print(f"five folds of {settings['max_steps']} steps: {time.perf_counter() - start:.0f} s")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    parser.add_argument("--five-folds", action="store_true", help="train five folds to their end")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    load, cores = os.getloadavg()[0], os.cpu_count()
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{name}, {args.threads} threads; load {load:.1f} on {cores} cores before the start")
    settings = load_yaml(ROOT / "config" / "config.yaml")["train_model"]
    with tempfile.TemporaryDirectory() as folder:
        cubes = open_shards([make_shard(Path(folder, "shard00.h5"), 16)])
        store = load_store(cubes, range(len(cubes)), device=args.device)
        bench_batches(store, cubes, settings, args)
        bench_streaming(cubes, settings, args)
        bench_steps(store, settings, args)
        bench_runs(store, cubes, settings, args=args, folder=Path(folder))
        if args.five_folds:
            bench_five_folds(Path(folder), settings, args)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory: {peak_mb} MiB, all networks and MONAI's cache of 16 cubes included")
    if args.device == "cuda":
        print(f"  of the GPU: {torch.cuda.max_memory_allocated() // 2**20} MiB")


if __name__ == "__main__":
    main()
