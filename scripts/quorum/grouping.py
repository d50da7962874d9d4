"""Which annotations of one series outline the same nodule: pylidc's rule, exactly, but faster.

pylidc's `Scan.cluster_annotations` measures the smallest distance between two annotations' points
(of inclusions and exclusions alike) in voxel indices: row, column, index of the nearest slice. It
joins annotations whose distance is at most a tolerance, which starts at the slice thickness in mm
and shrinks by 0.9, down to 0.1, while any group of the series has more than four. So indices are
compared with millimetres, a quirk that is reproduced here and named in the report.
"""

import hashlib

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from quorum.outlines import slice_index_of

# ASSUME: voxel indices are compared with a tolerance in mm, as pylidc 0.2.3 does (FACTS: 2651
# groups, 897 of exactly four)
SHRINK = 0.9
MIN_TOLERANCE = 0.1
MAX_READERS = 4


def group_series(points: list, tolerance: float) -> tuple:
    """Return the group of each annotation of one series.

    Parameters
    ----------
    points : list of ndarray of int, shape (points, 3)
        Each annotation's points as voxel indices: row, column, slice.
    tolerance : float
        The series' slice thickness in mm, compared with distances in voxel indices.

    Returns
    -------
    labels : ndarray of int, shape (annotations,)
    is_resolved : bool
        False when a group of more than four is left at the smallest tolerance.
    """
    first, second, distance = near_pairs(points, tolerance)
    while True:
        joined = distance <= tolerance
        shape = (len(points), len(points))
        edges = coo_array((joined[joined], (first[joined], second[joined])), shape=shape)
        labels = connected_components(edges, directed=False)[1]
        if np.bincount(labels).max() <= MAX_READERS:
            return labels, True
        if tolerance * SHRINK < MIN_TOLERANCE:
            return labels, False
        tolerance *= SHRINK


def near_pairs(points: list, reach: float) -> tuple:
    """Return the pairs of annotations with points at most `reach` apart, and their distances.

    Pairs whose boxes lie further apart are never measured.

    Returns
    -------
    first, second : ndarray of int, shape (pairs,)
        Places in `points`, first < second.
    distance : ndarray of float, shape (pairs,)
        Smallest distance of two points, in voxel indices.
    """
    low = np.array([p.min(axis=0) for p in points])
    high = np.array([p.max(axis=0) for p in points])
    gap = np.maximum(low[:, None] - high[None], low[None] - high[:, None]).clip(min=0)
    is_near = np.triu((gap**2).sum(axis=-1) <= reach**2, k=1)
    found, trees = [], {}
    for i, j in np.argwhere(is_near):
        small, large = (i, j) if len(points[i]) <= len(points[j]) else (j, i)
        candidates = points[small]
        within = (candidates >= low[large] - reach) & (candidates <= high[large] + reach)
        candidates = candidates[within.all(axis=1)]
        if not len(candidates):
            continue
        if large not in trees:
            trees[large] = cKDTree(points[large], balanced_tree=False, compact_nodes=False)
        # The bound is exclusive: a pair exactly at `reach` must be found too.
        bound = np.nextafter(reach, np.inf)
        smallest = trees[large].query(candidates, distance_upper_bound=bound)[0].min()
        if smallest <= reach:
            found.append((i, j, smallest))
    first, second, distance = np.array(found).reshape(-1, 3).T
    return first.astype(int), second.astype(int), distance


def voxel_points(contours, slices) -> dict:
    """Return each annotation's points as voxel indices.

    Parameters
    ----------
    contours, slices : DataFrame
        Their tables.

    Returns
    -------
    dict of str to ndarray of int, shape (points, 3)
        By annotation_id: row, column, index of the nearest stored slice.
    """
    z_of = {uid: z.to_numpy(float) for uid, z in slices.groupby("series_uid")["z_mm"]}
    index = np.empty(len(contours), int)
    for uid, rows in contours.groupby("series_uid").indices.items():
        index[rows] = slice_index_of(contours["z_mm"].to_numpy(float)[rows], z_of[uid])
    row_lists = [np.asarray(rows) for rows in contours["rows"]]
    column_lists = [np.asarray(columns) for columns in contours["columns"]]
    lengths = np.array([len(rows) for rows in row_lists])
    stacked = np.column_stack(
        [np.concatenate(row_lists), np.concatenate(column_lists), np.repeat(index, lengths)]
    )
    starts = np.cumsum(lengths) - lengths
    points = {}
    for annotation_id, rows in contours.groupby("annotation_id").indices.items():
        pieces = [stacked[starts[row] : starts[row] + lengths[row]] for row in rows]
        points[annotation_id] = np.concatenate(pieces)
    return points


def sort_ids(annotation_ids) -> list:
    """Return annotation ids in order: numerically when all are digits, else as text."""
    ids = [str(annotation_id) for annotation_id in annotation_ids]
    return sorted(ids, key=int) if all(name.isdigit() for name in ids) else sorted(ids)


def nodule_id(series_uid: str, annotation_ids) -> str:
    """Return the stable name of a nodule, from its series and its annotations alone.

    Returns
    -------
    str
        `<last 8 hex of sha256(series_uid)>-<first 8 hex of sha256("id id id")>`.
    """
    series = hashlib.sha256(series_uid.encode()).hexdigest()[-8:]
    members = hashlib.sha256(" ".join(sort_ids(annotation_ids)).encode()).hexdigest()[:8]
    return f"{series}-{members}"
