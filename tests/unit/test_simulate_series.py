"""The phantom scanner: geometry, marks, true surfaces, noise, and what a threshold can't do."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import simulate_series
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import require
from phantom_inputs import write_inputs
from scipy import ndimage

from quorum.errors import InputError
from quorum.outlines import annotation_mask, outline_box, outlines_by_annotation
from quorum.phantom_body import AXIAL_PIXELS, Chest, Raster, Site, lung_with_sites, make_chest
from quorum.phantom_dicom import decimal, phantom_uid
from quorum.phantom_latent import Latent, latent_path, read_latent, read_latent_ids, write_latent
from quorum.phantom_nodules import WALL_CONTACT_MM, fine_share, make_body, slice_cells
from quorum.phantom_patient import generator, slab_of
from quorum.phantom_scanner import enlarge, noise_slices, render_slices
from quorum.phantom_vessels import feeders
from quorum.tables import read_table

TURNED, THICK, UNEVEN = "LIDC-IDRI-0262", "LIDC-IDRI-0001", "LIDC-IDRI-0002"
SOLID = {"texture": 5.0, "calcification": 6.0}


def made_up_scans() -> list:
    """Return three scans: rows and columns turned, thick slices, and slices with a gap."""
    gap = np.concatenate([np.arange(-300, -210, 2.0), np.arange(-190, -150, 2.0)])
    shared = {"pixel_mm": 0.7, "thickness_mm": 2.5}
    return [
        {
            **shared,
            "patient_id": TURNED,
            "z_mm": np.arange(-340, -100, 2.5),
            "nodules": [{"row": 300, "column": 130, "z_mm": -200.0, "radius_mm": 7.0}],
        },
        {
            "pixel_mm": 0.8125,
            "thickness_mm": 5.0,
            "patient_id": THICK,
            "z_mm": np.arange(0, 300, 5.0) + 0.5,
            "nodules": [{"row": 250, "column": 390, "z_mm": 120.0, "radius_mm": 10.0}],
        },
        {
            **shared,
            "patient_id": UNEVEN,
            "z_mm": gap,
            "nodules": [{"row": 220, "column": 150, "z_mm": -222.0, "radius_mm": 6.0}],
        },
    ]


def flags(paths: dict, folder, *, seed=0, noise_hu=25.0) -> list:
    """Return the script's flags for an output folder."""
    inputs = [f"--{name}={path}" for name, path in paths.items()]
    outputs = [f"--out-folder={folder / 'shard00'}", f"--out-files={folder / 'shard00.csv'}"]
    return [*inputs, f"--noise-hu={noise_hu}", f"--seed={seed}", *outputs]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return the paths of the tables of three made-up scans."""
    return write_inputs(tmp_path_factory.mktemp("inputs"), made_up_scans())


@pytest.fixture(scope="module")
def files(inputs, tmp_path_factory):
    """Return the index of the three phantom series."""
    folder = tmp_path_factory.mktemp("phantoms")
    simulate_series.main(flags(inputs, folder))
    return read_table(folder / "shard00.csv", "files")


def of_patient(files, inputs, patient_id):
    """Return one patient's files, datasets from the lowest z up, and the plan's row."""
    plan = read_table(inputs["plan"], "nodules")
    nodule = plan[plan["patient_id"] == patient_id].iloc[0]
    own = files[files["source_series_uid"] == nodule["series_uid"]]
    slices = sorted(
        (pydicom.dcmread(path) for path in own["path"]),
        key=lambda dataset: float(dataset.ImagePositionPatient[2]),
    )
    return own, slices, nodule


@pytest.mark.parametrize("patient_id", [TURNED, THICK, UNEVEN])
def test_slices_lie_where_the_real_ones_do(files, inputs, patient_id):
    _, slices, nodule = of_patient(files, inputs, patient_id)
    scan = next(scan for scan in made_up_scans() if scan["patient_id"] == patient_id)
    z_mm = np.array([float(dataset.ImagePositionPatient[2]) for dataset in slices])
    first = int(np.flatnonzero(scan["z_mm"] == z_mm[0])[0])
    np.testing.assert_array_equal(z_mm, scan["z_mm"][first : first + len(z_mm)])
    assert z_mm[0] <= nodule["center_z_mm"] - 20
    assert z_mm[-1] >= nodule["center_z_mm"] + 20
    assert len(z_mm) < len(scan["z_mm"])
    assert {float(dataset.PixelSpacing[0]) for dataset in slices} == {scan["pixel_mm"]}
    assert {float(dataset.SliceThickness) for dataset in slices} == {scan["thickness_mm"]}


def test_turned_series_keep_their_direction(files, inputs):
    for patient_id, sign in ((TURNED, -1), (THICK, 1)):
        _, slices, _ = of_patient(files, inputs, patient_id)
        assert [float(v) for v in slices[0].ImageOrientationPatient] == [sign, 0, 0, 0, sign, 0]
        x_mm, y_mm, _ = (float(value) for value in slices[0].ImagePositionPatient)
        assert np.sign(x_mm) == np.sign(y_mm) == -sign


def test_a_phantom_is_marked_in_every_way(files, inputs):
    assert set(files["data_kind"]) == {"phantom"}
    for patient_id in (TURNED, THICK, UNEVEN):
        own, slices, nodule = of_patient(files, inputs, patient_id)
        for dataset in slices:
            assert dataset.QualityControlImage == "YES"
            assert list(dataset.ImageType)[:2] == ["DERIVED", "SECONDARY"]
            assert "PHANTOM" in dataset.SeriesDescription
            assert dataset.PatientName.family_name == dataset.Manufacturer == "QUORUM PHANTOM"
            assert dataset.PatientID == f"PHANTOM-{patient_id}"
            for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                assert dataset[name].value.startswith("2.25.")
                assert len(dataset[name].value) <= 64
            assert dataset.FrameOfReferenceUID.startswith("2.25.")
        assert set(own["source_series_uid"]) == {nodule["series_uid"]}
        assert set(own["series_uid"]) == {slices[0].SeriesInstanceUID}
    assert files["sop_instance_uid"].is_unique


def test_dicom_is_valid(files):
    require(shutil.which("dciodvfy") is not None, "dciodvfy (Debian's dicom3tools)")
    for _, own in files.groupby("series_uid"):
        for path in (own["path"].iloc[0], own["path"].iloc[-1]):
            result = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
            lines = (result.stdout + result.stderr).splitlines()
            assert "CTImage" in lines
            assert [line for line in lines if line.startswith("Error")] == []


def test_same_seed_same_pixels_whatever_else_is_in_the_shard(files, inputs, tmp_path):
    alone = write_inputs(tmp_path, made_up_scans())
    plan = read_table(alone["plan"], "nodules")
    one = plan[plan["patient_id"] == THICK]
    outlines = outlines_by_annotation(read_table(alone["contours"], "contours"))
    source = simulate_series.source_of(
        read_table(alone["series"], "series"),
        read_table(alone["slices"], "slices"),
        one["series_uid"].iloc[0],
    )
    own, slices, _ = of_patient(files, inputs, THICK)
    for seed, is_same in ((0, True), (1, False)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        options = {"noise_hu": 25.0, "seed": seed}
        rows = simulate_series.simulate(folder, one, outlines, source, options)
        again = pydicom.dcmread(folder / rows[5]["path"])
        assert (again.PixelData == slices[5].PixelData) is is_same
        assert (rows[5]["sop_instance_uid"] in set(own["sop_instance_uid"])) is is_same


def test_latent_surface_is_on_the_readers_and_on_the_series_raster(files, inputs):
    outlines = outlines_by_annotation(read_table(inputs["contours"], "contours"))
    for patient_id in (TURNED, THICK, UNEVEN):
        own, slices, nodule = of_patient(files, inputs, patient_id)
        path = latent_path(own["path"].iloc[0])
        assert read_latent_ids(path) == [nodule["nodule_id"]]
        latent, z_mm = read_latent(path, nodule["nodule_id"])
        np.testing.assert_array_equal(
            z_mm, [float(dataset.ImagePositionPatient[2]) for dataset in slices]
        )
        readers = [outlines[key] for key in nodule["annotation_ids"]]
        box = outline_box([outline for reader in readers for outline in reader], z_mm)
        votes = np.mean([annotation_mask(reader, z_mm, box) for reader in readers], axis=0)
        placed = np.zeros((len(z_mm), AXIAL_PIXELS, AXIAL_PIXELS), bool)
        window = tuple(
            slice(start, start + length)
            for start, length in zip(latent.start_zyx, latent.mask.shape, strict=True)
        )
        placed[window] = latent.mask
        inside = placed[box.slice0 : box.slice1, box.row0 : box.row1, box.column0 : box.column1]
        assert inside.sum() == placed.sum() > 0
        assert dice(inside, votes >= 0.5) > 0.8


def test_an_unknown_nodule_or_file_is_one_sentence(tmp_path):
    path = tmp_path / "latent.h5"
    with pytest.raises(InputError, match="can't be read"):
        read_latent(path, "a")
    mask = np.ones((2, 3, 4), bool)
    write_latent(path, {"a": Latent(mask, (1, 2, 3), {"origin": "reader1"})}, z_mm=[0, 1, 2])
    latent, z_mm = read_latent(path, "a")
    assert (latent.start_zyx, latent.notes) == ((1, 2, 3), {"origin": "reader1"})
    np.testing.assert_array_equal(latent.mask, mask)
    np.testing.assert_array_equal(z_mm, [0, 1, 2])
    with pytest.raises(InputError, match="no latent surface of the nodule b"):
        read_latent(path, "b")


def dice(one, other) -> float:
    """Return the Dice of two masks."""
    return 2 * np.count_nonzero(one & other) / max(np.count_nonzero(one) + other.sum(), 1)


def ball(radius_px: float, length: int) -> np.ndarray:
    """Return a ball in a cube of this length: bool."""
    index = np.indices((length,) * 3) - (length - 1) / 2
    return (index**2).sum(axis=0) <= radius_px**2


def render_ball(attachment: str):
    """Return a noise-free slab around a ball of 8 mm radius, the ball's place and its mask."""
    raster = Raster(np.arange(-25.0, 26.0), 1.0, 1.0)
    # A chest whose right lung's middle holds the image's own.
    chest = make_chest(AXIAL_PIXELS * 0.7, (-150.0, 150.0), generator(0, "chest"))
    place = np.array([-85.0, 0.0, 0.0])
    foot = place - np.array([8.0, 0.0, 0.0])
    # Far from any wall: the nearest one is bent until it touches the ball's foot.
    free_mm = -float(lung_with_sites(chest, *foot))
    shift_mm = free_mm + WALL_CONTACT_MM if attachment == "wall" else 0.0
    site = Site(place, 8.5, attachment, foot, shift_mm)
    chest = chest.with_sites([site])
    mask = ball(8.0, 21)
    corner = (15, round(float(raster.row_of(0))) - 10, round(float(raster.column_of(-85))) - 10)
    latent = Latent(mask, corner)
    body = make_body(latent, raster, SOLID, generator(0, "body"))
    tubes = feeders(np.zeros((0, 8)), chest, generator(0, "vessel"))
    texture = np.zeros((len(raster.z_mm), AXIAL_PIXELS // 4 + 1, AXIAL_PIXELS // 4 + 1), np.float32)
    image = render_slices(chest, raster, tubes, [body], texture)
    window = tuple(slice(start - 10, start + 31) for start in corner)
    return image[window], np.pad(mask, 10)


def central_component(image) -> np.ndarray:
    """Return what a plain threshold finds: the part above -500 HU that holds the middle."""
    labels, _ = ndimage.label(image > -500)
    middle = labels[tuple(length // 2 for length in image.shape)]
    return labels == middle if middle else np.zeros(image.shape, bool)


def test_the_body_ends_at_the_latent_surface():
    image, mask = render_ball("none")
    half = (image[mask].max() + np.median(image[~mask])) / 2
    assert dice(image > half, mask) > 0.98
    np.testing.assert_allclose((image > half).sum(), mask.sum(), rtol=0.05)


@pytest.mark.parametrize(("attachment", "limit"), [("vessel", 0.85), ("wall", 0.5)])
def test_a_threshold_fails_where_a_nodule_is_attached(attachment, limit):
    free_image, mask = render_ball("none")
    assert dice(central_component(free_image), mask) > 0.95
    image, mask = render_ball(attachment)
    assert dice(central_component(image), mask) < limit
    # What is attached doesn't hide the rest of the surface: most of the shell is still lung.
    shell = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask)
    assert (image[shell] < -700).mean() > 0.6


@pytest.mark.parametrize("carry", [0.0, 0.5])
def test_noise_has_the_stated_size_and_correlations(carry):
    rng = np.random.default_rng(0)
    noise = noise_slices(8, sigma_hu=25.0, carry=carry, previous=None, rng=rng)
    np.testing.assert_allclose(noise.std(axis=(1, 2)), 25.0, rtol=0.02)
    assert abs(noise.mean()) < 0.5
    along_z = np.corrcoef(noise[2].ravel(), noise[3].ravel())[0, 1]
    np.testing.assert_allclose(along_z, carry, atol=0.03)
    along_x = np.corrcoef(noise[:, :, :-1].ravel(), noise[:, :, 1:].ravel())[0, 1]
    assert along_x > 0.5


def test_the_image_carries_the_noise_that_was_asked_for(files, inputs):
    _, slices, _ = of_patient(files, inputs, TURNED)
    image = slices[3].pixel_array.astype(float) + float(slices[3].RescaleIntercept)
    # Air outside the body, less what the scanner's lower end cuts off.
    corner = image[4:60, 4:60]
    assert abs(np.median(corner) + 1000) < 5
    above = corner[corner > -1000] + 1000
    np.testing.assert_allclose(np.sqrt((above**2).mean()), 25.0, rtol=0.1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.floats(0.6, 5.0), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_fine_bodies_keep_the_volume(num_slices, spacing_mm, size, seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((num_slices + 2, size + 8, size + 8), bool)
    mask[1:-1, 4:-4, 4:-4] = rng.random((num_slices, size, size)) < 0.8
    mask[1, 4, 4] = True
    z_mm = np.arange(len(mask)) * spacing_mm
    share, _, steps_mm = fine_share(mask, z_mm)
    volume = (share.sum(axis=(1, 2)) * steps_mm).sum()
    np.testing.assert_allclose(volume, mask.sum() * spacing_mm, rtol=0.01)
    assert share[:, :2].max() == share[:, -2:].max() == 0


def test_slices_next_to_a_gap_do_not_swell():
    low, high = slice_cells(np.array([0.0, 2, 4, 42, 44]))
    np.testing.assert_allclose(high - low, [2, 2, 2.5, 2.5, 2])


@given(st.floats(-20000, 20000))
def test_decimal_strings_fit(value):
    assert len(decimal(value)) <= 16
    assert abs(float(decimal(value)) - value) <= 1e-8


def test_short_decimals_are_exact():
    for value in (0.703125, -118.699997, 0.5566406250, 1.8000000000000114):
        assert abs(float(decimal(value)) - value) < 1e-12 or len(repr(value)) > 16


def test_uids_depend_on_their_words_alone():
    assert phantom_uid("series", "1.2", 0) == phantom_uid("series", "1.2", 0)
    many = {phantom_uid("series", f"1.2.{k}", seed) for k in range(50) for seed in (0, 1)}
    assert len(many) == 100


def test_smooth_anatomy_is_enlarged_linearly():
    nodes = np.arange(AXIAL_PIXELS // 4 + 1, dtype=np.float32) * 4
    pixels = np.arange(AXIAL_PIXELS, dtype=np.float32)
    full = enlarge(nodes[None, :] + 2 * nodes[:, None])
    np.testing.assert_allclose(full, pixels[None, :] + 2 * pixels[:, None], atol=1e-3)


def test_the_slab_holds_every_cube_and_no_more_than_it_needs(inputs):
    plan = read_table(inputs["plan"], "nodules").head(1)
    z_mm = np.arange(-340, -100, 2.5)
    slab = slab_of(plan, z_mm)
    center = plan["center_z_mm"].iloc[0]
    assert slab[0] < center - 20 <= slab[0] + 2.5
    assert slab[-1] - 2.5 <= center + 20 < slab[-1]
    np.testing.assert_array_equal(slab_of(plan, z_mm[-42:-38]), z_mm[-42:-38])


def test_an_empty_shard_is_valid(inputs, tmp_path):
    empty = write_inputs(tmp_path, [])
    assert simulate_series.main(flags({**inputs, "plan": empty["plan"]}, tmp_path)) is None
    assert len(read_table(tmp_path / "shard00.csv", "files")) == 0
    assert list((tmp_path / "shard00").iterdir()) == []


def test_a_series_without_slices_is_one_sentence_and_leaves_nothing(inputs, tmp_path):
    empty = write_inputs(tmp_path / "empty", [])
    with pytest.raises(InputError, match=r"has 1 rows and 0 slices"):
        simulate_series.main(flags({**inputs, "slices": empty["slices"]}, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_chest_is_the_same_for_the_same_series():
    chests = [make_chest(360.0, (-300.0, 0.0), generator(3, "uid", "chest")) for _ in range(2)]
    assert isinstance(chests[0], Chest)
    np.testing.assert_array_equal(chests[0].waves, chests[1].waves)
    assert chests[0].half_width_mm == chests[1].half_width_mm
