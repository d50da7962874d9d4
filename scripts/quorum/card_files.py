"""Names of the files of cards and of their templates; light, because Snakemake reads it too."""

from pathlib import Path

from quorum.files import sha256_file, sha256_text

TEMPLATES = Path(__file__).resolve().parents[2] / "workflow" / "handover"
CARDS = ("model_card", "data_card", "methods")
CHECKLISTS = ("claim", "tripod_ai", "dome")
PAGES = (*CARDS, *(f"checklist_{name}" for name in CHECKLISTS))
FILES = (
    *(f"{page}.{suffix}" for page in PAGES for suffix in ("md", "html")),
    "checklists.csv",
    "references.bib",
)
# What of the configuration the facts are made of.
BLOCKS = (
    *("source", "select_nodules", "split_patients", "extract_cubes", "predict_cubes"),
    *("explain_predictions", "train_nnunet", "compare_experiments"),
    *("consensus", "experiments", "run_folds", "seeds"),
)


def handover_digest() -> str:
    """Return the digest of the templates, by which they rerun the rule."""
    files = sorted(path for path in TEMPLATES.iterdir() if path.is_file())
    return sha256_text("\n".join(f"{path.name} {sha256_file(path)}" for path in files))[:16]
