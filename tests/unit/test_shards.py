"""Shards: schema, round trip, lazy and safe reading, refusal of what is no shard."""

import json
import multiprocessing
import pickle
from functools import partial

import h5py
import numpy as np
import pytest
from shard_factory import make_cube, make_shard

from quorum.errors import InputError
from quorum.files import write_whole
from quorum.shard_schema import ARRAYS, ATTRIBUTES, COLUMNS, FIELDS
from quorum.shard_writer import ShardWriter
from quorum.shards import open_shards

SMALL = (8, 12, 12)
make_small = partial(make_shard, shape=SMALL)


def checksum(cubes, index):
    return int(cubes.image(index).astype(np.int64).sum())


def test_what_is_written_is_read(tmp_path):
    cubes = open_shards(make_small(tmp_path / "a.h5", 3, seed=5))
    for index in range(3):
        wanted = make_cube(index, 5, SMALL, 4, "phantom", 0)
        for name in ARRAYS:
            assert np.array_equal(getattr(cubes, name)(index), wanted[name]), name
        for name in COLUMNS:
            found = cubes.columns[name][index]
            if isinstance(wanted[name], str):
                assert found == wanted[name]
            else:
                assert np.array_equal(found, wanted[name], equal_nan=True), name


def test_several_shards_are_one_sequence(tmp_path):
    paths = [
        make_small(tmp_path / "a.h5", 2),
        make_small(tmp_path / "empty.h5", 0),
        make_small(tmp_path / "b.h5", 3, first=2),
    ]
    cubes, whole = open_shards(paths), open_shards(make_small(tmp_path / "all.h5", 5))
    assert len(cubes) == 5
    assert cubes.nodule_id.tolist() == whole.nodule_id.tolist()
    assert [checksum(cubes, k) for k in range(5)] == [checksum(whole, k) for k in range(5)]
    assert cubes.table()["shard"].tolist() == [str(paths[0])] * 2 + [str(paths[2])] * 3


def test_an_empty_shard_is_valid(tmp_path):
    cubes = open_shards(make_small(tmp_path / "a.h5", 0))
    assert len(cubes) == 0
    assert cubes.data_kind == "empty"
    assert len(cubes.table()) == 0
    assert cubes.ratings.shape == (0, 9, 8)


def test_plain_h5py_reads_it_one_chunk_a_nodule(tmp_path):
    with h5py.File(make_small(tmp_path / "a.h5", 2)) as shard:
        assert set(shard) == {field.name for field in FIELDS}
        for name in ARRAYS:
            assert shard[name].chunks == (1, *SMALL)
            assert shard[name].compression == "gzip"
            assert shard[name].shuffle
        assert shard["image"].attrs["unit"] == "HU"
        assert shard["nodule_id"].asstr()[0] == make_cube(0, 0, SMALL, 4, "phantom", 0)["nodule_id"]


def test_real_images_have_no_latent_surface(tmp_path):
    cubes = open_shards(make_small(tmp_path / "a.h5", 1, data_kind="scan"))
    assert not cubes.has_latent
    with pytest.raises(KeyError):
        cubes.latent(0)


def test_it_travels_to_another_process_without_open_files(tmp_path):
    cubes = open_shards(make_small(tmp_path / "a.h5", 2))
    wanted = checksum(cubes, 1)
    assert checksum(pickle.loads(pickle.dumps(cubes)), 1) == wanted
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.starmap(checksum, [(cubes, 1)] * 4) == [wanted] * 4


def test_it_reopens_after_close(tmp_path):
    cubes = open_shards(make_small(tmp_path / "a.h5", 1))
    wanted = checksum(cubes, 0)
    cubes.close()
    assert checksum(cubes, 0) == wanted


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path, share):
    path = make_small(tmp_path / "cut.h5", 2)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"cut\.h5"):
        open_shards(path)


def test_damaged_voxels_are_named_when_they_are_read(tmp_path):
    path = make_small(tmp_path / "bad.h5", 1)
    with h5py.File(path) as shard:
        chunk = shard["image"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.h5"):
        open_shards(path).image(0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.h5"):
        open_shards(tmp_path / "none.h5")


def test_a_foreign_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["image"] = np.zeros(3)
    with pytest.raises(InputError, match="quorum-shard"):
        open_shards(tmp_path / "other.h5")


def test_another_version_is_refused(tmp_path):
    path = make_small(tmp_path / "a.h5", 1)
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(InputError, match="version 99"):
        open_shards(path)


def test_shards_of_different_grids_are_refused(tmp_path):
    paths = [make_small(tmp_path / "a.h5", 1), make_shard(tmp_path / "b.h5", 1, shape=(8, 8, 8))]
    with pytest.raises(InputError, match="shape_vox"):
        open_shards(paths)


def test_phantoms_beside_real_images_are_refused(tmp_path):
    paths = [
        make_small(tmp_path / "a.h5", 1),
        make_small(tmp_path / "b.h5", 1, data_kind="scan", first=1),
    ]
    with pytest.raises(InputError, match="mix phantoms"):
        open_shards(paths)


def test_a_cut_out_among_scans_makes_the_set_cut_out(tmp_path):
    paths = [
        make_small(tmp_path / "a.h5", 1, data_kind="scan"),
        make_small(tmp_path / "b.h5", 1, data_kind="cut_out", first=1),
    ]
    assert open_shards(paths).data_kind == "cut_out"


def attributes_of(path):
    found = open_shards(path).attributes
    return {**{name: found[name] for name in ATTRIBUTES}, "made_by": json.loads(found["made_by"])}


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_the_writer_refuses_a_cube_that_breaks_the_schema(tmp_path, change):
    attributes = attributes_of(make_small(tmp_path / "a.h5", 1))
    cube = make_cube(0, 0, SMALL, 4, "phantom", 0)
    if change == "missing":
        del cube["coverage"]
    elif change == "unknown":
        cube["more"] = 1
    else:
        cube["image"] = cube["image"][1:]
    with (
        pytest.raises(ValueError, match=r"coverage|more|image"),
        ShardWriter(tmp_path / "b.h5", attributes, has_latent=True) as writer,
    ):
        writer.add(cube)
    assert not (tmp_path / "b.h5").exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    attributes = attributes_of(make_small(tmp_path / "a.h5", 1))
    # /dev/full answers every write with "no space left on device".
    with (
        pytest.raises(InputError, match="disk filled up"),
        write_whole(tmp_path / "b.h5"),
        ShardWriter("/dev/full", attributes, has_latent=True) as writer,
    ):
        writer.add(make_cube(0, 0, SMALL, 4, "phantom", 0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5"]


def test_the_page_of_the_schema_tells_every_dataset(root):
    page = (root / "workflow" / "schemas" / "shard.md").read_text()
    for field in FIELDS:
        assert f"| `{field.name}` |" in page
    for name in ATTRIBUTES:
        assert f"| `{name}` |" in page
