"""The cubes as the page's viewer loads them: NiiVue, and one data file a nodule.

A data file is a script, so that a page opened from the disk may load it when it is wanted. It calls
`quorumCube(id, cube)`. A layer's voxels are little-endian (z, y, x), their bytes shuffled as HDF5
does, deflated (zlib), in base64; image and readers are the shard's own bytes, so that nothing is
packed twice.
"""

import base64
import json
import sys
import zlib
from pathlib import Path

import numpy as np

from quorum.report import niivue
from quorum.report.gallery import prediction_sources, reference_mask, tone_of
from quorum.report.look import LOOK

# Probabilities, spreads and maps are sent as whole steps of 1 / 250.
LEVELS = 250


def shown_cubes(inputs, nodule_ids) -> list:
    """Return the nodules that get a data file: the first ones, up to the configured number.

    Parameters
    ----------
    inputs : quorum.report.inputs.Inputs
    nodule_ids : list of str
        In the order of the gallery.
    """
    if not inputs.viewer_bundle:
        return []
    return list(nodule_ids)[: inputs.max_viewer_nodules]


def viewer_words(inputs, num_shown: int) -> str:
    """Return the sentence by which the page says what can be looked at, and what not."""
    if not inputs.viewer_bundle:
        return (
            "This report has no viewer of cubes: its library, NiiVue, was not installed "
            "when it was written (run make viewer, or python scripts/fetch_viewer.py)."
        )
    if num_shown < len(inputs.cubes):
        return (
            f"{num_shown} of {len(inputs.cubes)} cubes can be opened in three planes and in 3D; "
            "write_report.max_viewer_nodules leaves out the others."
        )
    return "Every cube can be opened in three planes and in 3D, from its card."


def viewer_files(inputs, nodule_ids):
    """Yield the viewer's files for the assets folder: relative name, and text or bytes.

    Parameters
    ----------
    inputs : quorum.report.inputs.Inputs
    nodule_ids : list of str
        Of `shown_cubes`; none: nothing is yielded.
    """
    if not nodule_ids:
        return
    niivue.check_bundle(inputs.viewer_bundle)
    yield "viewer/niivue.umd.js", Path(inputs.viewer_bundle).read_bytes()
    yield "viewer/LICENSE.niivue.txt", niivue.LICENCE
    yield "viewer/viewer.js", (LOOK / "viewer.js").read_text(encoding="utf-8")
    yield "viewer/viewer.css", (LOOK / "viewer.css").read_text(encoding="utf-8")
    place = {str(name): index for index, name in enumerate(inputs.cubes.nodule_id)}
    sources = prediction_sources(inputs)
    for name in nodule_ids:
        cube = cube_data(inputs, place[name], sources)
        yield f"viewer/{name}.js", f"quorumCube({json.dumps(name)},{json.dumps(cube)});\n"


def cube_data(inputs, index: int, sources: dict) -> dict:
    """Return one nodule's cube and layers as the page reads them."""
    cubes, name = inputs.cubes, str(inputs.cubes.nodule_id[index])
    layers = [
        {"kind": "image", "label": "image", **stored_layer(cubes, "image", index)},
        {"kind": "readers", "label": "readers", **stored_layer(cubes, "readers", index)},
        mask_layer("consensus", "consensus", reference_mask(inputs, index, cubes.readers(index))),
    ]
    if cubes.has_latent:
        layers.append(mask_layer("latent", "phantom’s true surface", cubes.latent(index)))
    for experiment, tone in tone_of(inputs).items():
        run = sources.get((experiment, name))
        if run is not None:
            is_shown = experiment == inputs.shown_experiment
            layers += prediction_layers(run, name, {"tone": f"tone{tone}", "is_shown": is_shown})
    for maps in inputs.explanations:
        for label, values in maps.of_nodule(name):
            layers.append({"kind": "map", "label": label, **share_layer(values)})
    return {
        "shape": list(cubes.shape_vox),
        "spacing_mm": cubes.spacing_mm,
        "origin_lps_mm": [float(v) for v in cubes.origin_lps_mm[index]],
        "direction": [float(v) for v in cubes.direction[index].ravel()],
        "num_readers": int(cubes.num_readers[index]),
        "data_kind": cubes.data_kind,
        "levels": LEVELS,
        "layers": layers,
    }


def prediction_layers(run, name: str, look: dict) -> list:
    """Return a run's answer, and a network's probability, whose uncertainty the page works out."""
    probability = run.probability(name)
    answer = mask_layer("model", run.experiment, probability >= run.threshold)
    layers = [answer | look]
    if run.method == "network":
        label = f"probability, {run.experiment}"
        layers.append({"kind": "probability", "label": label, **share_layer(probability)})
    return layers


def stored_layer(cubes, name: str, index: int) -> dict:
    """Return a dataset of the shard, its own bytes where they are packed in the usual way."""
    filters_left_out, packed = cubes.packed(name, index)
    dtype = {"image": "int16", "readers": "uint8"}[name]
    if filters_left_out:
        return packed_layer(getattr(cubes, name)(index))
    return {"dtype": dtype, "data": base64.b64encode(packed).decode()}


def mask_layer(kind: str, label: str, mask) -> dict:
    """Return a mask as a layer."""
    return {"kind": kind, "label": label, **packed_layer(np.asarray(mask, np.uint8))}


def share_layer(values) -> dict:
    """Return values from 0 to 1 as a layer of whole steps."""
    return packed_layer(np.rint(np.clip(values, 0, 1) * LEVELS).astype(np.uint8))


def packed_layer(array) -> dict:
    """Return an integer array's type and bytes: shuffled, deflated, base64."""
    if sys.byteorder != "little":
        array = array.byteswap()
    size = array.dtype.itemsize
    shuffled = np.ascontiguousarray(array).view(np.uint8).reshape(-1, size).T.tobytes()
    data = base64.b64encode(zlib.compress(shuffled, 1)).decode()
    return {"dtype": array.dtype.name, "data": data}
