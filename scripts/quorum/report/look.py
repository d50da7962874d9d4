"""The report's pages, templates, style and script, and the digest by which they rerun its rule."""

from pathlib import Path

from quorum.files import sha256_file, sha256_text

LOOK = Path(__file__).resolve().parents[3] / "workflow" / "report"
# File name without suffix, title, and what a reader finds there. The first is index.html.
PAGES = (
    ("index", "Overview", "what was run, and what came out"),
    ("data", "Data", "sources, licences, what was repaired or excluded"),
    ("cohort", "Cohort", "from all marks to scored nodules"),
    ("readers", "Readers", "how far radiologists agree"),
    ("cubes", "Cubes", "every nodule with its outlines"),
    ("training", "Training", "curves and runs"),
    ("models", "Models", "failures first, then scores and tests"),
    ("papers", "Papers", "published numbers with their protocols"),
    ("explanations", "Explanations", "where the networks look"),
    ("provenance", "Provenance", "configuration, digests, versions, costs"),
)
OTHER_PAGES = tuple(name for name, _, _ in PAGES[1:])


def look_digest() -> str:
    """Return the digest of every file of workflow/report that a page is made of."""
    files = sorted(path for path in LOOK.rglob("*") if path.is_file() and path.suffix != ".png")
    names = [f"{path.relative_to(LOOK)} {sha256_file(path)}" for path in files]
    return sha256_text("\n".join(names))[:16]
