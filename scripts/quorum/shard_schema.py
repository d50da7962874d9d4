"""The schema of a shard: every dataset and attribute, with its type, shape, unit and meaning.

The same as a page: workflow/schemas/shard.md. Writer: shard_writer.py; reader: shards.py.
"""

from collections import namedtuple

import h5py

SCHEMA, SCHEMA_VERSION = "quorum-shard", 1
MAX_READERS = 8  # one bit each in a uint8
DATA_KINDS = ("phantom", "scan", "cut_out")
NO_DATA = "empty"  # data_kind of a shard without a nodule
ATTRIBUTES = (
    "data_kind",
    "spacing_mm",
    "shape_vox",
    "mask_rule",
    "image_kernel",
    "coverage_rule",
    "staple_rule",
    "staple_padding_vox",
    "tie_rule",
    "made_by",
)
Field = namedtuple("Field", "name dtype shape unit meaning")
CUBE = "cube"  # stands for (z, y, x) in a field's shape
TEXT = h5py.string_dtype("utf-8")
FIELDS = (
    Field("image", "int16", CUBE, "HU", "the scan on the cube's grid; uncovered: nearest covered"),
    Field("readers", "uint8", CUBE, "", "bit k set: inside the outline of reader k + 1"),
    Field("coverage", "uint8", CUBE, "", "1 where the series really holds data"),
    Field("staple", "float16", CUBE, "probability", "STAPLE's probability of being inside"),
    Field("latent", "uint8", CUBE, "", "phantom only: 1 inside the true surface"),
    Field("coverage_box", "int16", (6,), "voxel", "z0 y0 x0 z1 y1 x1, half-open, of the covered"),
    Field("origin_lps_mm", "float64", (3,), "mm", "centre of voxel (0, 0, 0): x y z in LPS"),
    Field("direction", "float64", (9,), "", "ITK's direction matrix, row by row: columns are axes"),
    Field("center_lps_mm", "float64", (3,), "mm", "the nodule's centre: x y z in LPS"),
    Field("native_spacing_mm", "float64", (3,), "mm", "voxel spacing of the series: z y x"),
    Field("volume_native_mm3", "float64", (8,), "mm3", "each reader's volume on the native grid"),
    Field("consensus_native_mm3", "float64", (), "mm3", "the majority's volume on the native grid"),
    Field("diameter_mm", "float64", (), "mm", "mean of the readers' diameters"),
    Field("is_truncated", "bool", (), "", "some reader's outline reaches beyond the cube"),
    Field("num_readers", "uint8", (), "", "how many readers outlined the nodule"),
    Field("reader_status", "uint8", (8,), "", "0 none, 1 marked, 2 not marked, 3 small or other"),
    Field("ratings", "float64", (9, 8), "", "the nine ratings by reader; nan where there is none"),
    Field("nodule_id", TEXT, (), "", "stable id"),
    Field("series_uid", TEXT, (), "", "SeriesInstanceUID of the images"),
    Field("source_series_uid", TEXT, (), "", "SeriesInstanceUID of the annotated series"),
    Field("patient_id", TEXT, (), "", "PatientID"),
    Field("annotation_ids", TEXT, (), "", "space-separated, in the readers' order"),
    Field("data_kind", TEXT, (), "", "phantom, scan or cut_out"),
)
ARRAYS = tuple(field.name for field in FIELDS if field.shape == CUBE)
COLUMNS = tuple(field.name for field in FIELDS if field.shape != CUBE)
