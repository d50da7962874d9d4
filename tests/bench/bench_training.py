"""How fast training runs: real batches against a tensor in place, options, MONAI's loading.

    python tests/bench/bench_training.py [--steps 20] [--threads 1] [--compile]

Prints one line a measurement. No assertion on time: a machine that is busy measures itself, so
what is compared is done in turn, and the median of each is taken.

1. Steps a second with batches cut from cubes in memory, over steps a second with one random
   tensor already in place (the same network, loss and optimizer).
2. The same step in bf16 and fp32, on channels-last and on contiguous memory, and compiled.
3. Samples a second that the batches give, over MONAI's CacheDataset with the same crop, shift,
   flips, intensity and noise in its own transforms, on the same cubes; elastic bending apart.
4. Cubes a second that worker processes stream from the shards.
5. Peak memory of all of it.
"""

import argparse
import copy
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from shard_factory import make_shard  # noqa: E402

from quorum.batches import cut_batch, draw_batch  # noqa: E402
from quorum.closed_schema import load_yaml  # noqa: E402
from quorum.losses import supervised_loss  # noqa: E402
from quorum.optimizers import make_optimizer  # noqa: E402
from quorum.plans import training_crop  # noqa: E402
from quorum.shards import open_shards  # noqa: E402
from quorum.speed import choose_speed  # noqa: E402
from quorum.step_batches import StepBatches  # noqa: E402
from quorum.stores import StreamedStore, load_store  # noqa: E402
from quorum.targets import make_target  # noqa: E402
from quorum.training import make_network  # noqa: E402


def timed(rounds, *tasks):
    """Return the median seconds of each `task(number)`, taken in turn; the first round is apart.

    In turn, so that a machine that others use slows all of them alike.
    """
    seconds = [[] for _ in tasks]
    for number in range(rounds + 1):
        for task, kept in zip(tasks, seconds, strict=True):
            start = time.perf_counter()
            task(number)
            kept.append(time.perf_counter() - start)
    return [statistics.median(kept[1:]) for kept in seconds]


def batch_of(store, settings, number):
    """Return inputs, target and what counts of one batch."""
    crop_vox = training_crop(settings)
    draw = draw_batch(store, settings, crop_vox, seed=0, number=number)
    inputs, readers, staple, counts = cut_batch(store, draw, crop_vox, settings)
    counted = store.num_readers[draw.cube]
    target, _ = make_target(settings["target"], readers, staple, counted, draw.reader)
    return inputs, target, counts[:, None].float()


def make_step(store, settings, *, is_real, **speed):
    """Return a function that does one training step, with changes to the block `speed`."""
    settings = {**settings, "speed": {**settings["speed"], **speed}}
    chosen, network = choose_speed(settings["speed"], "cpu"), make_network(settings, 0)
    compiled, optimizer = chosen.compiled(network), make_optimizer(settings, network.parameters())
    fixed = batch_of(store, settings, 0)
    fixed = (torch.randn(fixed[0].shape), *fixed[1:])

    def step(number):
        inputs, target, counts = batch_of(store, settings, number) if is_real else fixed
        optimizer.zero_grad()
        with chosen.mixed():
            logits = compiled(inputs.contiguous(memory_format=chosen.layout()))
        supervised_loss(settings["losses"], logits, target, counts).backward()
        optimizer.step()

    return step


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
    """Print steps with real batches over those with a tensor in place, and what options do."""
    real, fixed, plain, full, *compiled = timed(
        args.steps,
        make_step(store, settings, is_real=True),
        make_step(store, settings, is_real=False),
        make_step(store, settings, is_real=False, is_channels_last=False),
        make_step(store, settings, is_real=False, precision="fp32"),
        *([make_step(store, settings, is_real=False, is_compiled=True)] if args.compile else []),
    )
    chosen = choose_speed(settings["speed"], "cpu").precision
    print(f"a step of {settings['network']['name']} in {chosen}: {real:.3f} s with real batches")
    print(f"  steps a second over those with a tensor in place: {fixed / real:.3f}")
    print(f"  {chosen} over fp32: {full / fixed:.2f} times as fast")
    print(f"  channels last over contiguous: {plain / fixed:.2f} times as fast")
    for seconds in compiled:
        print(f"  compiled over not (after its first step): {fixed / seconds:.2f} times as fast")


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


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = load_yaml(ROOT / "config" / "config.yaml")["train_model"]
    with tempfile.TemporaryDirectory() as folder:
        cubes = open_shards([make_shard(Path(folder, "shard00.h5"), 16)])
        store = load_store(cubes, range(len(cubes)))
        bench_batches(store, cubes, settings, args)
        bench_streaming(cubes, settings, args)
        bench_steps(store, settings, args)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory: {peak_mb} MiB, all networks and MONAI's cache of 16 cubes included")


if __name__ == "__main__":
    main()
