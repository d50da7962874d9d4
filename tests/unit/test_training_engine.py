"""The engine: streamed cubes, several processes, memory that runs out, energy, TensorBoard."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from types import SimpleNamespace

import h5py
import pandas as pd
import pytest
import torch
from model_factory import tiny_settings
from terminations import told_to_end
from train_model import main

from quorum import fitting, memory_limits, training, trials, validations
from quorum.checkpoints import list_checkpoints, save_checkpoint
from quorum.energy import EnergyMeter
from quorum.errors import InputError
from quorum.memory_limits import bounded_memory, is_out_of_memory, out_of_memory
from quorum.shards import open_shards
from quorum.speed import choose_speed
from quorum.step_batches import StepBatches
from quorum.stores import StreamedStore, fits_memory, load_store, store_digest
from quorum.training import make_network
from quorum.trials import Trial, find_batch_size, largest_batch, measure_compiling, step_fits


def weights_of(out):
    """Return a run's weights."""
    return torch.load(out / "model.pt", weights_only=True)["weights"]


def store_of(cohort):
    """Return all cubes in memory."""
    cubes = open_shards(cohort.shards)
    return load_store(cubes, list(range(len(cubes))))


def test_streamed_cubes_give_the_very_same_run(cohort, tmp_path):
    plan = cohort.plan("streamed", max_steps=4, accumulate_batches=2, target="staple")
    for loading in ("memory", "workers"):
        flags = cohort.train_flags(plan, tmp_path / loading)
        assert main([*flags, "--loading", loading]) == 0
    outs = [tmp_path / "memory", tmp_path / "workers"]
    histories = [pd.read_csv(out / "history.csv").drop(columns="duration_s") for out in outs]
    pd.testing.assert_frame_equal(*histories)
    for name, weights in weights_of(outs[0]).items():
        assert torch.equal(weights, weights_of(outs[1])[name])
    digests = [json.loads((out / "record.json").read_text())["data_sha256"] for out in outs]
    assert digests[0] == digests[1]


def test_a_streamed_store_holds_what_is_in_memory(cohort):
    cubes = open_shards(cohort.shards)
    chosen = [3, 1, 8, 20]
    options = {"has_staple": True, "consensus": 0.75}
    whole, streamed = load_store(cubes, chosen, **options), StreamedStore(cubes, chosen, **options)
    assert store_digest(whole) == store_digest(streamed)
    assert store_digest(whole) != store_digest(load_store(cubes, chosen[::-1], **options))
    steps = StepBatches(streamed, tiny_settings(), seed=0, ranks=(0, 1), first=2)
    assert len(steps) == 4
    step, pairs = steps[0]
    store, draw = pairs[0]
    _, expected = StepBatches(whole, tiny_settings(), seed=0, ranks=(0, 1), first=0)[2]
    assert step == 2
    for row, cube in enumerate(expected[0][1].cube.tolist()):
        assert torch.equal(store.image[draw.cube[row]], whole.image[cube])
        assert torch.equal(store.staple[draw.cube[row]], whole.staple[cube])


def test_a_damaged_cube_is_named_by_worker_processes_too(cohort, tmp_path, monkeypatch):
    bad = tmp_path / "bad.h5"
    shutil.copyfile(cohort.shards[0], bad)
    with h5py.File(bad) as file:
        place = file["image"].id.get_chunk_info(3).byte_offset
    with open(bad, "r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 64)
    monkeypatch.setattr("quorum.stores.MIN_CUBES_FOR_WORKERS", 1)
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"bad\.h5"):
            load_store(open_shards([str(bad)]), range(6), workers=workers)


def test_what_fits_into_memory(monkeypatch):
    assert fits_memory(100, (40, 80, 80), device="cpu", memory_mb=3000)
    assert not fits_memory(897, (40, 80, 80), device="cpu", memory_mb=2000)
    # On a GPU: 897 cubes take 1.6 GB with their masks, half of what is free may hold them.
    for free_mb, fits in ((3000, False), (4000, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free_mb: (free * 10**6, 0))
        assert fits_memory(897, (40, 80, 80), device="cuda") is fits


def test_processes_that_read_side_by_side_read_the_same(cohort, monkeypatch):
    cubes, chosen = open_shards(cohort.shards), [5, 2, 17, 9]
    options = {"has_staple": True, "consensus": "majority"}
    alone = load_store(cubes, chosen, **options)
    monkeypatch.setattr("quorum.stores.MIN_CUBES_FOR_WORKERS", 1)
    assert store_digest(load_store(cubes, chosen, workers=2, **options)) == store_digest(alone)


def run_processes(cohort, plan, out, num_processes, *flags):
    """Train on so many CPU processes from the command line; return what was printed."""
    script = fitting.__file__.replace("quorum/fitting.py", "train_model.py")
    words = [sys.executable, script, *cohort.train_flags(plan, out), *flags]
    result = subprocess.run(
        [*words, "--devices", str(num_processes)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(cohort, tmp_path):
    calm = {"flip_axes": [], "max_shift_vox": [0, 0, 0], "network": {"dropout": 0.0}}
    calm["speed"] = {"precision": "fp32"}
    # SGD's steps are as long as the gradient; Adam's hardly tell by how much it was divided.
    calm["optimizer"] = {"name": "sgd", "learning_rate": 0.05}
    shared = {"losses": {"dice": 1.0, "cross_entropy": 0.0}, "max_steps": 6, **calm}
    one = cohort.plan("one", batch_size=4, **shared)
    two = cohort.plan("two", batch_size=2, **shared)
    halves = cohort.plan("halves", batch_size=1, accumulate_batches=2, **shared)
    one_out = tmp_path / "one"
    assert main(cohort.train_flags(one, one_out)) == 0
    for name, plan in (("two", two), ("halves", halves)):
        run_processes(cohort, plan, tmp_path / name, 2)
    expected = pd.read_csv(one_out / "history.csv")
    for name in ("two", "halves"):
        found = pd.read_csv(tmp_path / name / "history.csv")
        assert found["loss"].tolist() == pytest.approx(expected["loss"].tolist(), rel=1e-3)
        assert found["epoch"].tolist() == expected["epoch"].tolist()
        start, whole = make_network(tiny_settings(**shared), 0).state_dict(), weights_of(one_out)
        assert max(float((value - start[key]).abs().max()) for key, value in whole.items()) > 0.01
        for key, weights in whole.items():
            assert torch.allclose(weights, weights_of(tmp_path / name)[key], atol=1e-4), key


def test_bf16_is_recorded_and_learns_about_the_same(cohort, tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        plan = cohort.plan("speed", speed={"precision": precision}, max_steps=2)
        main(cohort.train_flags(plan, tmp_path / precision))
        record = json.loads((tmp_path / precision / "record.json").read_text())
        assert record["speed"]["precision"] == precision
        losses[precision] = pd.read_csv(tmp_path / precision / "history.csv")["loss"]
        assert {w.dtype for w in weights_of(tmp_path / precision).values()} == {torch.float32}
    assert losses["bf16"].tolist() != losses["fp32"].tolist()
    assert losses["bf16"].tolist() == pytest.approx(losses["fp32"].tolist(), rel=0.05)


def test_auto_is_settled_by_the_device(monkeypatch):
    block = {"precision": "auto", "is_channels_last": False, "is_compiled": False}
    for has_bf16, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("quorum.speed.has_fast_bf16", lambda _, found=has_bf16: found)
        assert choose_speed(block, "cpu").precision == precision
    assert choose_speed({**block, "precision": "fp32"}, "cpu").precision == "fp32"
    assert choose_speed(block, "cpu").layout() == torch.contiguous_format
    block |= {"is_channels_last": "auto", "is_compiled": "auto"}
    for device, has_bf16, is_last in (("cpu", False, True), ("cuda", True, True)):
        monkeypatch.setattr("quorum.speed.has_fast_bf16", lambda _, found=has_bf16: found)
        assert choose_speed(block, device).is_channels_last is is_last
    assert not choose_speed({**block, "precision": "fp32"}, "cuda").is_channels_last
    assert not choose_speed(block, "cuda").is_compiled  # until it was measured


class Machine:
    """A stand-in for a run on a GPU, whose steps are done on the CPU."""

    def __init__(self, store, **changes):
        self.settings = tiny_settings(is_deterministic=False, max_steps=9000, **changes)
        self.speed = choose_speed(self.settings["speed"], "cpu")
        self.network, self.train_store = make_network(self.settings, 0), store
        self.state = {"step": 0}


@pytest.mark.parametrize(("factor", "is_faster"), [(0.5, True), (0.99, False)])
def test_compiling_is_measured_on_a_copy_where_it_may_pay(cohort, monkeypatch, factor, is_faster):
    run = Machine(store_of(cohort))
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    assert measure_compiling(run) == {
        "is_faster": False,
        "plain_step_s": None,
        "compiled_step_s": None,
    }  # a CPU
    seconds = trials.step_seconds(run, is_compiled=False)
    assert seconds > 0
    assert all(torch.equal(before[k], value) for k, value in run.network.state_dict().items())
    run.speed.device = "cuda"
    took = {False: 2.0, True: 2.0 * factor}
    monkeypatch.setattr(trials, "step_seconds", lambda _, is_compiled: took[is_compiled])
    found = measure_compiling(run)
    assert found == {
        "is_faster": is_faster,
        "plain_step_s": 2.0,
        "compiled_step_s": 2.0 * factor,
    }
    for name, value in (("is_deterministic", True), ("max_steps", 1999)):
        run.settings[name], kept = value, run.settings[name]
        assert measure_compiling(run)["plain_step_s"] is None
        run.settings[name] = kept
    run.state["step"] = 7001  # 1999 are left
    assert measure_compiling(run)["plain_step_s"] is None


def test_a_network_that_the_compiler_refuses_runs_without(cohort, monkeypatch, caplog):
    caplog.set_level("INFO")
    run = Machine(store_of(cohort))

    def refuse(_, is_compiled):
        if is_compiled:
            raise RuntimeError("backend='inductor' raised:\nno compiler")
        return 2.0

    run.speed.device = "cuda"
    monkeypatch.setattr(trials, "step_seconds", refuse)
    assert measure_compiling(run) == {
        "is_faster": False,
        "plain_step_s": 2.0,
        "compiled_step_s": None,
    }
    assert "not compiled: RuntimeError" in caplog.text


@pytest.mark.parametrize("is_faster", [True, False])
def test_what_was_measured_is_done_and_recorded(cohort, tmp_path, monkeypatch, is_faster):
    found = {"is_faster": is_faster, "plain_step_s": 2.0, "compiled_step_s": 1.0}
    monkeypatch.setattr("quorum.training.measure_compiling", lambda _: found)
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    plan = cohort.plan("compiling", max_steps=1, speed={"is_compiled": "auto"})
    main(cohort.train_flags(plan, tmp_path))
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["speed"]["is_compiled"] is is_faster
    assert record["speed"]["compiling"] == found
    assert len(compiled) == is_faster


def test_the_largest_batch_is_found_by_trying():
    for limit in (0, 1, 2, 3, 5, 8, 13, 40):
        tried = []
        fits = lambda size, top=limit, seen=tried: seen.append(size) or size <= top  # noqa: E731
        assert largest_batch(fits, 32) == min(limit, 32)
        assert len(tried) == len(set(tried))


def test_a_batch_that_fits_is_said_on_request_and_nothing_written(cohort, tmp_path, caplog):
    caplog.set_level("INFO")
    flags = cohort.train_flags(cohort.plan("fits"), tmp_path)
    assert main([*flags, "--find-batch-size"]) == 0
    assert "12 crops (up to 12 were tried)" in caplog.text
    assert "beside 12 cubes to train on and 4 to validate on" in caplog.text
    assert not any(tmp_path.iterdir())


def test_a_step_that_does_not_fit_is_told_from_one_that_fails(cohort):
    class Hungry(torch.nn.Conv3d):
        def forward(self, image):
            torch.empty(2**40 if len(image) > 3 else 1, dtype=torch.uint8)
            return super().forward(image)

    def largest(network):
        settings = tiny_settings()
        speed = choose_speed(settings["speed"], "cpu")
        return find_batch_size(Trial(network, settings, store_of(cohort), speed), most=9)

    assert largest(Hungry(1, 1, 1)) == 3
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        largest(torch.nn.Linear(3, 2))
    with bounded_memory(50), pytest.raises(RuntimeError) as caught:
        torch.empty(400 * 2**20, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_a_trial_holds_what_a_run_s_step_holds(cohort):
    settings = tiny_settings(accumulate_batches=3, speed={"precision": "bf16"})
    network, seen = make_network(settings, 0), []
    trial = Trial(network, settings, store_of(cohort), choose_speed(settings["speed"], "cpu"))

    def note(_, inputs, outputs):
        held = [p.grad is not None for p in network.parameters()]
        moments = sum(v.numel() for s in trial.optimizer.state.values() for v in s.values())
        seen.append((len(inputs[0]), outputs.dtype, all(held), moments))

    network.register_forward_hook(note)
    weights = sum(p.numel() for p in network.parameters())
    assert step_fits(trial, 5)
    sizes, kinds, has_gradient, moments = zip(*seen, strict=True)
    # Two steps of two batches each: the second is added to gradients, the second step has moments.
    assert sizes == (5,) * 4
    assert set(kinds) == {torch.bfloat16}
    assert has_gradient == (False, True) * 2
    assert moments[:2] == (0, 0)
    assert min(moments[2:]) >= 2 * weights
    assert sum(value.numel() for value in trial.average.values()) == weights
    assert trial.average.keys() == dict(network.named_parameters()).keys()


def test_a_job_s_memory_counts_what_it_holds_already(cohort, monkeypatch):
    settings = tiny_settings()
    speed = choose_speed(settings["speed"], "cpu")
    trial = Trial(make_network(settings, 0), settings, store_of(cohort), speed)
    bounds = []

    def note(limit_mb):
        bounds.append(limit_mb)
        return contextlib.nullcontext()

    monkeypatch.setattr(trials, "bounded_memory", note)
    monkeypatch.setattr(trials, "used_mb", lambda: 300)
    monkeypatch.setattr(trials, "memory_mb", lambda _: (900, 1000))
    for limit_mb in (None, 700, 5000, 200):
        find_batch_size(trial, most=1, limit_mb=limit_mb)
    assert bounds == [900, 400, 900, 0]


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("quorum.training.learning_batch", id="in a step"),
        pytest.param("quorum.training.Run.update_average", id="beside the weights"),
        pytest.param("quorum.training.Run.place_stores", id="when the cubes are placed"),
        pytest.param("quorum.validations.mean_dice", id="in a validation"),
        pytest.param("quorum.evaluation.choose_answer", id="at the end"),
    ],
)
def test_memory_that_runs_out_says_what_was_asked(cohort, tmp_path, monkeypatch, where):
    def fail(*_, **__):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 99 bytes")

    monkeypatch.setattr(where, fail)
    with pytest.raises(InputError) as caught:
        main(cohort.train_flags(cohort.plan("memory"), tmp_path))
    asked = "unet3d on 2 crops of [16, 32, 32]"
    for phrase in (asked, "99 bytes", "MiB free", "--find-batch-size"):
        assert phrase in str(caught.value)


@pytest.mark.parametrize("flags", [[], ["--find-batch-size"]])
@pytest.mark.parametrize(
    "where",
    [
        pytest.param("quorum.fitting.load_store", id="when the cubes are read"),
        pytest.param("quorum.training.build_network", id="when the network is built"),
    ],
)
def test_memory_that_runs_out_before_the_first_step(cohort, tmp_path, monkeypatch, where, flags):
    def fail(*_, **__):
        raise MemoryError("Unable to allocate 99 bytes")

    monkeypatch.setattr(where, fail)
    with pytest.raises(InputError) as caught:
        main([*cohort.train_flags(cohort.plan("room"), tmp_path), *flags])
    for phrase in ("99 bytes", "16 cubes", "the cpu's memory", "MiB free", "--loading workers"):
        assert phrase in str(caught.value)


def test_what_is_out_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert "cpu" in str(out_of_memory(tiny_settings(), "cpu", MemoryError("none")))
    assert memory_limits.memory_mb("cpu")[0] <= memory_limits.memory_mb("cpu")[1]


def test_a_gradient_that_is_no_number_changes_no_weight(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_, **__: torch.tensor(torch.nan))
    with pytest.raises(InputError, match="the gradient became nan at step 1 on the nodules"):
        main(cohort.train_flags(cohort.plan("gradient"), tmp_path))
    assert not list(tmp_path.rglob("step*.pt"))


def test_a_finite_loss_that_explodes_stops_too(cohort, tmp_path):
    plan = cohort.plan("explodes", losses={"dice": 0.0, "cross_entropy": 1.0}, max_steps=40)
    content = plan.read_text().replace("learning_rate: 0.003", "learning_rate: 100000.0")
    plan.write_text(content.replace("weight_decay: 0.01", "weight_decay: 0.0"))
    with pytest.raises(InputError, match=r"the loss became [0-9.e+]+ at step"):
        main(cohort.train_flags(plan, tmp_path))


def counter(folder, name, value):
    """Write one of RAPL's counters."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{value}\n")
    (folder / name / "max_energy_range_uj").write_text("10000000\n")


def test_energy_is_what_the_counters_moved_and_none_without_them(tmp_path):
    assert EnergyMeter("cpu", tmp_path).spent_j() is None
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        counter(tmp_path, name, 4_000_000)
    meter = EnergyMeter("cpu", tmp_path)
    counter(tmp_path, "intel-rapl:0", 6_500_000)
    counter(tmp_path, "intel-rapl:1", 1_000_000)  # it has started again at 10 J
    counter(tmp_path, "intel-rapl:0:0", 6_000_000)  # a part of the first package
    assert meter.spent_j() == pytest.approx(2.5 + 7)
    assert meter.spent_j() == 0


def test_the_record_holds_the_diff_and_what_it_took(cohort, tmp_path):
    plan = cohort.plan("recorded", max_steps=1)
    plan.write_text(plan.read_text() + "diff: {max_steps: 1}\n")
    main(cohort.train_flags(plan, tmp_path))
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["plan"]["diff"] == {"max_steps": 1}
    assert record["training_s"] > 0
    assert record["total_duration_s"] == record["duration_s"]
    assert record["num_gpus"] == (1 if torch.cuda.is_available() else 0)
    assert (record["hardware"]["gpu_peak_memory_mb"] is None) == (record["num_gpus"] == 0)
    assert record["hardware"]["peak_memory_children_mb"] >= 0
    assert {"plain", "flips"} == set(record["answer"]["answers"])
    assert "energy_j" in record


def make_run(cohort, **changes):
    """Return a run over three nodules and one, in memory, that no trainer has yet."""
    cubes = open_shards(cohort.shards)
    stores = (load_store(cubes, [0, 1, 2]), load_store(cubes, [3], consensus="majority"))
    return training.Run(tiny_settings(**changes), 0, stores=stores, folder=None)


def test_the_cubes_lie_on_the_device_that_the_process_was_given(cohort):
    run, cubes = make_run(cohort), open_shards(cohort.shards)
    run.train_store = StreamedStore(cubes, [0, 1, 2])
    run.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")))
    run.setup("fit")
    for store in (run.train_store.part(0, 2), run.validation_store):
        for name in ("image", "readers", "coverage", "box"):
            assert getattr(store, name).device.type == "meta", name
        assert store.num_readers.device.type == "cpu"


def test_the_first_process_s_dice_is_what_all_go_by(cohort, monkeypatch):
    run = make_run(cohort, patience_validations=1)
    run.state |= {"step": 3, "history": [[3, 0, 1.0, 0.1, None, 0.1]]}
    run.state["best"] = {"dice": 0.4, "step": 1, "weights": {}}
    own = iter((0.5, 0.3))
    monkeypatch.setattr(validations, "mean_dice", lambda *_: next(own))
    first = iter((0.3, 0.5))
    strategy = SimpleNamespace(
        broadcast=lambda _: next(first), reduce_boolean_decision=lambda told, all: told
    )
    run.trainer = SimpleNamespace(strategy=strategy, should_stop=False)
    run.validate()
    assert run.state["history"][-1][validations.DICE] == 0.3
    assert run.trainer.should_stop
    run.validate()
    assert (run.state["best"]["dice"], run.state["num_worse"]) == (0.5, 0)


def test_every_epoch_has_its_checkpoint(cohort, tmp_path, monkeypatch):
    saved = []

    def save(folder, step, state):
        saved.append(step)
        return save_checkpoint(folder, step, state)

    monkeypatch.setattr(training, "save_checkpoint", save)
    rare = {"checkpoint_every_steps": 100, "validate_every_steps": 100}
    main(cohort.train_flags(cohort.plan("epochs", max_steps=14, **rare), tmp_path))
    epochs = pd.read_csv(tmp_path / "history.csv")["epoch"].tolist()
    assert epochs == [0] * 6 + [1] * 6 + [2] * 2
    assert saved == [6, 12, 14]


@pytest.mark.parametrize("which", [1, 2, 3])
def test_told_to_end_within_a_validation(cohort, tmp_path, which):
    settings = {"max_steps": 6, "validate_every_steps": 2, "patience_validations": 5}
    plan = cohort.plan("told", **settings)
    assert main(cohort.train_flags(plan, tmp_path / "calm")) == 0
    flags = cohort.train_flags(plan, tmp_path / "told")
    with told_to_end(which):
        assert main(flags) == fitting.EXIT_TEMPORARY
    folder = next((tmp_path / "told" / "checkpoints").iterdir())
    assert int(list_checkpoints(folder)[0].name[4:12]) == 2 * which
    assert main(flags) == 0
    outs = [tmp_path / "calm", tmp_path / "told"]
    histories = [pd.read_csv(out / "history.csv").drop(columns="duration_s") for out in outs]
    pd.testing.assert_frame_equal(*histories)
    for name, weights in weights_of(outs[0]).items():
        assert torch.equal(weights, weights_of(outs[1])[name]), name


def test_the_validation_that_is_made_up_for_may_be_the_last(cohort, tmp_path):
    slow = {"learning_rate": 1e-12}
    settings = {"max_steps": 50, "validate_every_steps": 2, "optimizer": slow}
    plan = cohort.plan("stalled", patience_validations=1, **settings)
    flags = cohort.train_flags(plan, tmp_path)
    with told_to_end(2):
        assert main(flags) == fitting.EXIT_TEMPORARY
    assert main(flags) == 0
    assert len(pd.read_csv(tmp_path / "history.csv")) == 4


def test_a_cube_that_breaks_while_it_is_streamed_stays_one_sentence(cohort, tmp_path, monkeypatch):
    def fail(*_):
        raise InputError("the shard bad.h5 is damaged", "a whole shard", "make it again")

    monkeypatch.setattr(StreamedStore, "holding", fail)
    flags = [*cohort.train_flags(cohort.plan("breaks"), tmp_path), "--loading", "workers"]
    with pytest.raises(InputError, match=r"^the shard bad\.h5 is damaged; expected a whole shard"):
        main(flags)


def test_a_run_goes_on_from_the_folder_that_is_named(cohort, tmp_path, caplog):
    plan, other = cohort.plan("resumed"), cohort.plan("another", max_steps=7)
    with told_to_end(1):
        assert main(cohort.train_flags(plan, tmp_path / "first")) == fitting.EXIT_TEMPORARY
    elsewhere = tmp_path / "elsewhere"
    shutil.move(next((tmp_path / "first" / "checkpoints").iterdir()), elsewhere)
    second = cohort.train_flags(plan, tmp_path / "second")
    with pytest.raises(InputError, match=r"another run: .*plan\.name was resumed and is another"):
        main([*cohort.train_flags(other, tmp_path / "other"), "--resume", str(elsewhere)])
    empty = tmp_path / "empty"
    shutil.copytree(elsewhere, empty, ignore=shutil.ignore_patterns("step*.pt"))
    with pytest.raises(InputError, match="empty holds no whole checkpoint"):
        main([*second, "--resume", str(empty)])
    caplog.set_level("INFO")
    assert main([*second, "--resume", str(elsewhere)]) == 0
    assert "going on after step 3" in caplog.text
    record = json.loads((tmp_path / "second" / "record.json").read_text())
    assert record["earlier_sessions_s"] > 0
    whole_s = record["duration_s"] + record["earlier_sessions_s"]
    assert record["total_duration_s"] == pytest.approx(whole_s)
    assert len(pd.read_csv(tmp_path / "second" / "history.csv")) == 6
    assert not elsewhere.exists()
    assert not (tmp_path / "second" / "checkpoints").exists()
