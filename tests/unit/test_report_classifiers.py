"""What the report makes of classifiers: a section where there are any, nothing where not."""

import numpy as np
import pandas as pd
import pytest
import write_report
from report_inputs import make_inputs, save

from quorum.errors import InputError
from quorum.explanation_files import write_explanations
from quorum.shards import open_shards
from quorum.suspicion import calibrate, summarize

RUN = {"experiment": "classifier_median_without_3", "fold": 0, "seed": 0, "data_kind": "phantom"}


def classifier_tables(folder, names, patients) -> list:
    """Write a classifier's tables of some nodules, in which every answer is right; their paths."""
    count = len(names)
    scores = pd.DataFrame({
        "label_rule": "median_without_3", "fold": 0, "seed": 0, "data_kind": "phantom",
        "nodule_id": names, "patient_id": patients,
        "label": ["suspicious", "unsuspicious"] * (count // 2),
        "probability": [0.9, 0.1] * (count // 2), "threshold": 0.5, "diameter_mm": 10.0,
        "diameter_probability": 0.5, "diameter_threshold": 0.5,
    })  # fmt: skip
    rows = {
        "classifier_scores": scores.to_dict("records"),
        "classifier_summary": summarize(scores, resamples=20, seed=0),
        "classifier_calibration": calibrate(scores),
        "explanation_sanity": [
            {**RUN, "nodule_id": names[0], "method": "cam", "randomised_share": 1.0,
             "spearman": 0.25}
        ],
    }  # fmt: skip
    return [save(folder, table, rows[table], table) for table in rows]


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """A report with a classifier and its map of one nodule: (folder, flags)."""
    folder = tmp_path_factory.mktemp("classified")
    flags = make_inputs(folder / "inputs", 8)
    cubes = open_shards(flags[flags.index("--shards") + 1 : flags.index("--findings")])
    names, patients = ([str(one) for one in cubes.columns[c]] for c in ("nodule_id", "patient_id"))
    tables = classifier_tables(folder, names, patients)
    values = np.zeros((1, 1, *cubes.shape_vox))
    values[0, 0, 15:25, 30:50, 30:50] = 1
    maps = folder / "maps.h5"
    attributes = RUN | {"methods": ["cam"], "made_by": {}}
    found = {"map": values, "random": values * 0}
    write_explanations(maps, attributes, nodule_id=names[:1], found=found)
    place = flags.index("--tables") + 1
    flags = [*flags[:place], *tables, *flags[place:], "--explanations", str(maps)]
    write_report.main([*flags, *outputs(folder / "report")])
    return folder / "report", flags


def outputs(folder) -> list:
    """Return the output flags."""
    return ["--out-page", str(folder / "index.html"), "--out-assets", str(folder / "assets")]


def test_the_section_names_the_label_for_what_it_is(classified):
    text = (classified[0] / "models.html").read_text(encoding="utf-8")
    assert "Suspicion of malignancy by radiologists, not a diagnosis" in text
    assert "claim nothing" in text, "phantoms"
    assert "AUROC 1.000 (1.000 to 1.000) by the classifier, 0.500" in text
    assert "8 nodules of 4 patients, 4 suspicious" in text
    table = pd.read_csv(classified[0] / "assets" / "tables" / "classifiers.csv")
    assert len(table) == 15, "three subjects, five measures"
    for figure in ("classifier-auroc", "classifier-calibration"):
        assert (classified[0] / "assets" / "figures" / f"{figure}.svg").is_file()
    assert (classified[0] / "assets" / "tables" / "classifiers-by-nodule.csv").is_file()


def test_maps_of_a_classifier_are_shown_over_the_nodule(classified):
    text = (classified[0] / "explanations.html").read_text(encoding="utf-8")
    assert "class activation map, classifier_median_without_3" in text
    assert "A classifier’s is exact" in text
    pictures = list((classified[0] / "assets" / "explanations").glob("classifier_*.webp"))
    assert len(pictures) == 2, "the map, and the one of drawn weights"
    assert all(path.with_suffix(".svg").is_file() for path in pictures)


def test_without_classifiers_the_report_does_not_speak_of_them(tmp_path):
    write_report.main([*make_inputs(tmp_path / "inputs", 4), *outputs(tmp_path / "report")])
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("report/*.html")}
    assert len(pages) == 10
    for name, text in pages.items():
        assert 'id="classifiers"' not in text, name
        assert "classifier’s" not in text, name
        assert "not a diagnosis" not in text, name


def test_scores_of_nodules_of_another_cohort_are_refused(classified, tmp_path):
    strangers = classifier_tables(tmp_path, ["strange", "stranger"], ["p1", "p2"])
    flags = list(classified[1])
    place = next(k for k, flag in enumerate(flags) if str(flag).endswith("classifier_scores.csv"))
    flags[place] = strangers[0]
    with pytest.raises(InputError, match="classifier_scores names 2 nodules of another cohort"):
        write_report.main([*flags, *outputs(tmp_path / "report")])
