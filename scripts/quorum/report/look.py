"""The report's templates, style and script, and the digest by which they rerun its rule."""

from pathlib import Path

from quorum.files import sha256_file, sha256_text

LOOK = Path(__file__).resolve().parents[3] / "workflow" / "report"


def look_digest() -> str:
    """Return the digest of every file of workflow/report."""
    files = sorted(path for path in LOOK.rglob("*") if path.is_file())
    names = [f"{path.relative_to(LOOK)} {sha256_file(path)}" for path in files]
    return sha256_text("\n".join(names))[:16]
