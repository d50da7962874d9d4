"""How fast training runs: real batches against a tensor in place, memory formats, MONAI's loading.

    python tests/bench/bench_training.py [--steps 20] [--threads 2]

Prints one line a measurement. No assertion on time: a machine that is busy measures itself.

1. Steps a second with batches cut from cubes in memory, over steps a second with one random
   tensor already in place (the same network, loss and optimizer).
2. The same step on channels-last memory and on contiguous memory.
3. Samples a second that the batches give, over MONAI's CacheDataset with the same crop, shift and
   flips in its own transforms, on the same cubes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from shard_factory import make_shard  # noqa: E402

from quorum.batches import cut_batch, draw_batch, load_store  # noqa: E402
from quorum.closed_schema import load_yaml  # noqa: E402
from quorum.losses import total_loss  # noqa: E402
from quorum.optimizers import make_optimizer  # noqa: E402
from quorum.shards import open_shards  # noqa: E402
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
    crop_vox = settings["crop_vox"]
    draw = draw_batch(store, settings, crop_vox, seed=0, number=number)
    inputs, readers, staple, counts = cut_batch(store, draw, crop_vox, settings)
    counted = store.num_readers[draw.cube]
    target, _ = make_target(settings["target"], readers, staple, counted, draw.reader)
    return inputs, target, counts[:, None].float()


def make_step(store, settings, *, is_real, is_last=True):
    """Return a function that does one training step."""
    network = make_network(settings, 0)
    layout = torch.channels_last_3d if is_last else torch.contiguous_format
    network = network.to(memory_format=layout)
    optimizer = make_optimizer(settings, network.parameters())
    fixed = batch_of(store, settings, 0)

    def step(number):
        inputs, target, counts = batch_of(store, settings, number) if is_real else fixed
        optimizer.zero_grad()
        logits = network(inputs.contiguous(memory_format=layout))
        total_loss(settings["losses"], logits, target, counts).backward()
        optimizer.step()

    return step


def make_monai(cubes, settings):
    """Return a function that takes a batch from MONAI's CacheDataset, augmented alike."""
    from monai import transforms
    from monai.data import CacheDataset, DataLoader

    keys, crop_vox = ["image", "mask"], settings["crop_vox"]
    lower, upper = settings["hu_window"]
    chain = transforms.Compose(
        [
            transforms.EnsureChannelFirstd(keys, channel_dim="no_channel"),
            transforms.ScaleIntensityRanged("image", lower, upper, -1, 1, clip=True),
            transforms.RandSpatialCropd(keys, crop_vox, random_size=False),
            transforms.RandFlipd(keys, 0.5, spatial_axis=1),
            transforms.RandFlipd(keys, 0.5, spatial_axis=2),
        ]
    )
    items = [{"image": cubes.image(k), "mask": cubes.readers(k)} for k in range(len(cubes))]
    dataset = CacheDataset(items, chain, progress=False)
    loader = DataLoader(dataset, batch_size=settings["batch_size"], shuffle=True, num_workers=0)
    endless = (batch for _ in iter(int, 1) for batch in loader)
    return lambda number: next(endless)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = load_yaml(ROOT / "config" / "config.yaml")["train_model"]
    with tempfile.TemporaryDirectory() as folder:
        cubes = open_shards([make_shard(Path(folder, "shard00.h5"), 16)])
        store = load_store(cubes, range(len(cubes)))
        for channels in ([8, 16, 32, 64], [16, 32, 64, 128]):
            settings["network"]["channels"] = channels
            real, fixed, plain = timed(
                args.steps,
                make_step(store, settings, is_real=True),
                make_step(store, settings, is_real=False),
                make_step(store, settings, is_real=False, is_last=False),
            )
            print(f"channels {channels}: {real:.3f} s a step with real batches")
            print(f"  steps a second over those with a tensor in place: {fixed / real:.3f}")
            print(f"  channels last over contiguous: {plain / fixed:.2f} times as fast")
        ours, theirs = timed(
            args.steps,
            lambda number: batch_of(store, settings, number),
            make_monai(cubes, settings),
        )
        print(f"a batch: {ours * 1e3:.1f} ms, MONAI's CacheDataset {theirs * 1e3:.1f} ms")
        print(f"  samples a second over MONAI's: {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
