"""Which marks outline the same nodule, counted by readers: at most one annotation a reader.

1. Two marks are linked when they share a voxel, or when their outlines come within one slice
   spacing of each other, in mm.
2. Marks of different readers that links connect, directly or through others, form a cluster. A
   cluster in which no reader has two marks is a nodule: nothing is left to decide.
3. Elsewhere the pieces of one reader are joined first: two marks of a reader are pieces of one
   nodule when, of the other readers that overlap either, more than half have a single mark that
   covers both (holds at least half of the voxels of each). Of two marks of a reader that share
   voxels the larger is kept: that reader outlined one nodule twice.
4. Then readers are joined along the links, the best overlap first, as long as no reader gets two
   annotations; a link refused for that reason is listed. It is open when it is nearly as good as
   the best one that was followed there; both nodules are then unresolved, unless
   config/overrides.csv decides.
"""

from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from quorum.errors import InputError
from quorum.reader_links import linked_pairs, mark_voxels, measure_overlap

# ASSUME: a mark covers a piece when it holds at least half of the piece's voxels, and a majority
# of the other readers decides what is a piece (chosen here; the report counts what hinges on it)
MIN_HELD = 0.5
# ASSUME: a refused link is open when its IoU is at least 0.8 of that of the link by which one of
# its two marks was placed (chosen here: both readings are then about equally good)
OPEN_SHARE = 0.8


class Decision(NamedTuple):
    """One decision about marks of one series.

    Attributes
    ----------
    decision : str
        `joined_pieces`, `outlined_twice`, `refused_link` or `override`.
    annotation_ids : list of str
        The marks; of `outlined_twice` first the one kept.
    iou, gap_mm : float
        Of the two marks.
    is_open : bool
        A refused link that is nearly as good as one that was followed.
    """

    decision: str
    annotation_ids: list
    iou: float
    gap_mm: float
    is_open: bool


class SeriesGroups(NamedTuple):
    """The nodules of one series: annotations by session (pieces joined by `+`), and decisions."""

    nodules: list
    is_unresolved: list
    decisions: list


def group_readers(marks: list, slice_z_mm, overrides=(), *, joins: bool = True) -> SeriesGroups:
    """Group the marks of one series.

    Parameters
    ----------
    marks : list of quorum.reader_links.Mark
    slice_z_mm : ndarray, shape (slices,)
        The series' z, ascending.
    overrides : iterable of (str, list of str)
        `together` or `apart`, and the annotations that a person decided on.
    joins : bool
        False leaves out step 3, to count what the joining of pieces changes.

    Returns
    -------
    SeriesGroups
        Empty for no marks.
    """
    marks = sorted(marks, key=lambda mark: mark.annotation_id)
    slice_z_mm = np.asarray(slice_z_mm, float)
    # ASSUME: outlines on neighbouring slices touch, so the reach is one slice spacing in mm
    # (measured: any reach from 0.7 to 3 mm gives the same number of nodules)
    reach_mm = float(np.median(np.diff(slice_z_mm))) if len(slice_z_mm) > 1 else 1.0
    pairs = linked_pairs(marks, reach_mm, slice_z_mm)
    groups = SeriesGroups([], [], [])
    for places in find_clusters(marks, pairs, overrides):
        members = [marks[place] for place in places]
        names = {mark.annotation_id for mark in members}
        decided = [(action, ids) for action, ids in overrides if len(names & set(ids)) > 1]
        if len({mark.session for mark in members}) == len(members) and not decided:
            by_session = sorted(members, key=lambda mark: mark.session)
            groups.nodules.append([mark.annotation_id for mark in by_session])
            groups.is_unresolved.append(False)
            continue
        links = {
            (places.index(i), places.index(j)): gap
            for (i, j), gap in pairs.items()
            if i in places and j in places
        }
        found = Cluster(members, links, slice_z_mm, decided).resolve(joins)
        for ours, more in zip(groups, found, strict=True):
            ours.extend(more)
    return groups


def find_clusters(marks: list, pairs: dict, overrides) -> list:
    """Return lists of places: what links connect (and overrides), at least one reader apart."""
    place_of = {mark.annotation_id: place for place, mark in enumerate(marks)}
    # Overlapping marks of one reader count too: one nodule outlined twice.
    edges = [(i, j) for (i, j), _ in pairs.items() if marks[i].session != marks[j].session]
    for action, ids in overrides:
        known = [place_of[name] for name in ids if name in place_of]
        if action == "together":
            edges += list(pairwise(known))
    first, second = np.array(edges, int).reshape(-1, 2).T
    shape = (len(marks), len(marks))
    graph = coo_array((np.ones(len(first)), (first, second)), shape=shape)
    labels = connected_components(graph, directed=False)[1]
    return [np.flatnonzero(labels == label).tolist() for label in range(labels.max(initial=-1) + 1)]


class Cluster:
    """Linked marks in which a reader has two or more, until they are taken apart.

    Parameters
    ----------
    members : list of Mark
        Sorted by annotation_id.
    links : dict of (int, int) to float
        Gaps in mm of the linked pairs, by places in `members`.
    slice_z_mm : ndarray
    overrides : list of (str, list of str)
        Those that concern these marks.
    """

    def __init__(self, members: list, links: dict, slice_z_mm, overrides: list):
        self.members, self.links, self.overrides = members, links, overrides
        self.names = [mark.annotation_id for mark in members]
        self.voxels = [mark_voxels(mark, slice_z_mm) for mark in members]
        self.overlaps = {
            (i, j): measure_overlap(self.voxels[i], self.voxels[j])
            for i, j in combinations(range(len(members)), 2)
        }
        self.decisions = []

    def resolve(self, joins: bool = True) -> SeriesGroups:
        """Return the nodules, which of them are unresolved, and the decisions."""
        places = list(range(len(self.members)))
        units = self.join_pieces(self.keep_larger(places)) if joins else [(k,) for k in places]
        groups, refused = self.join_readers(units)
        open_units = {unit for first, second in refused for unit in (first, second)}
        nodules, is_unresolved = [], []
        for group in groups:
            by_session = sorted(group, key=lambda unit: self.members[unit[0]].session)
            nodules.append(["+".join(self.names[place] for place in unit) for unit in by_session])
            is_unresolved.append(any(unit in open_units for unit in group))
        return SeriesGroups(nodules, is_unresolved, self.decisions)

    def decide(self, decision: str, places, iou=np.nan, gap_mm=np.nan, is_open=False):
        """Note a decision."""
        names = [self.names[place] for place in places]
        self.decisions.append(Decision(decision, names, float(iou), float(gap_mm), is_open))

    def same_reader_pairs(self, places) -> list:
        """Return the pairs of places whose marks are of one reader."""
        session = [mark.session for mark in self.members]
        return [(i, j) for i, j in combinations(places, 2) if session[i] == session[j]]

    def keep_larger(self, places) -> list:
        """Return the places without the smaller of two overlapping marks of one reader."""
        dropped = set()
        for i, j in self.same_reader_pairs(places):
            iou = self.overlaps[i, j].iou
            if iou > 0 and not {i, j} & dropped:
                larger, smaller = (i, j) if len(self.voxels[i]) >= len(self.voxels[j]) else (j, i)
                dropped.add(smaller)
                self.decide("outlined_twice", (larger, smaller), iou, 0.0)
        return [place for place in places if place not in dropped]

    def join_pieces(self, places: list) -> list:
        """Return the units: tuples of places, each one reader's pieces of one nodule."""
        joined = []
        for i, j in self.same_reader_pairs(places):
            wanted = self.override_of((i,), (j,))
            if wanted == "together" or (wanted is None and self.are_pieces(i, j, places)):
                joined.append((i, j))
                self.decide("joined_pieces", (i, j), 0.0, self.links.get((i, j), np.nan))
        unit_of = {place: {place} for place in places}
        for i, j in joined:
            union = unit_of[i] | unit_of[j]
            for place in union:
                unit_of[place] = union
        return sorted({tuple(sorted(unit)) for unit in unit_of.values()})

    def are_pieces(self, i: int, j: int, places: list) -> bool:
        """Tell whether most other readers that overlap i or j cover both with a single mark."""
        others, joiners = set(), set()
        for k in places:
            session = self.members[k].session
            if session == self.members[i].session:
                continue
            held = [self.held_share(piece, k) for piece in (i, j)]
            if max(held) > 0:
                others.add(session)
            if min(held) >= MIN_HELD:
                joiners.add(session)
        return 2 * len(joiners) > len(others)

    def held_share(self, piece: int, holder: int) -> float:
        """Return the share of a mark's voxels that another mark holds."""
        if piece < holder:
            return self.overlaps[piece, holder].held_of_first
        return self.overlaps[holder, piece].held_of_second

    def override_of(self, first: tuple, second: tuple):
        """Return what a person decided about two units: `together`, `apart` or None."""
        ours, theirs = ({self.names[place] for place in unit} for unit in (first, second))
        for action, ids in self.overrides:
            if ours & set(ids) and theirs & set(ids):
                return action
        return None

    def unit_links(self, units: list) -> list:
        """Return (is_forced, IoU, gap, first, second) of units of two readers, the best first."""
        links = []
        for first, second in combinations(units, 2):
            if self.members[first[0]].session == self.members[second[0]].session:
                continue
            action = self.override_of(first, second)
            pairs = [tuple(sorted((i, j))) for i in first for j in second]
            gap_mm = min((self.links[pair] for pair in pairs if pair in self.links), default=np.inf)
            voxels = [np.concatenate([self.voxels[i] for i in unit]) for unit in (first, second)]
            iou = measure_overlap(*(np.unique(codes) for codes in voxels)).iou
            if action == "apart":
                self.decide("override", first + second, iou, gap_mm)
            elif action == "together" or np.isfinite(gap_mm):
                links.append((action == "together", iou, gap_mm, first, second))
        return sorted(links, key=lambda link: (not link[0], -link[1], link[2], link[3], link[4]))

    def join_readers(self, units: list) -> tuple:
        """Return the groups of units, and the open refused links as pairs of units."""
        group_of, best, refused = {unit: [unit] for unit in units}, {}, []
        for is_forced, iou, gap_mm, first, second in self.unit_links(units):
            ours, theirs = group_of[first], group_of[second]
            if ours is theirs:
                continue
            sessions = [self.members[unit[0]].session for unit in ours + theirs]
            is_apart = any(self.override_of(a, b) == "apart" for a in ours for b in theirs)
            if len(set(sessions)) < len(sessions) or is_apart:
                self.refuse_forced(is_forced, first + second)
                followed = [best[unit] for unit in (first, second) if unit in best]
                is_open = 0 < iou >= OPEN_SHARE * min(followed, default=0.0) and not is_apart
                self.decide("refused_link", first + second, iou, gap_mm, is_open)
                refused += [(first, second)] if is_open else []
                continue
            if is_forced:
                self.decide("override", first + second, iou, gap_mm)
            for unit in (first, second):
                best.setdefault(unit, iou)  # links come by falling IoU: the first is the best
            merged = ours + theirs
            for unit in merged:
                group_of[unit] = merged
        groups = {id(group): group for group in group_of.values()}
        return list(groups.values()), refused

    def refuse_forced(self, is_forced: bool, places: tuple):
        """Raise an InputError when an override asks for two annotations of one reader."""
        if is_forced:
            raise InputError(
                f"the override of {' '.join(self.names[place] for place in places)} would give "
                "one reader two annotations of a nodule, or contradicts another override",
                "`together` with all pieces of a reader, or `apart`",
                "correct config/overrides.csv",
            )
