"""What is handed on with the report: cards, checklists, references and the page for a meeting."""

import os
from pathlib import Path

from quorum.errors import InputError

WORDS = {
    "summary.pdf": "One page for a meeting, PDF",
    "model_card.html": "Model card",
    "data_card.html": "Data card",
    "methods.html": "Methods paragraph",
    "checklist_claim.html": "Checklist CLAIM",
    "checklist_tripod_ai.html": "Checklist TRIPOD+AI",
    "checklist_dome.html": "Checklist DOME",
    "references.bib": "References, BibTeX",
}


def handed_links(paths, page) -> list:
    """Return what a person opens of the files, in WORDS' order, with links relative to the page.

    Raises
    ------
    InputError
        When a named file is missing.
    """
    for path in paths:
        if not Path(path).is_file():
            raise InputError(
                f"the file {path}, which the report links to, is missing",
                "a file that write_cards or write_summary made",
                "make it with that rule, or leave it out of --handed",
            )
    by_name = {Path(path).name: path for path in paths}
    folder = Path(page).resolve().parent
    return [
        {"words": words, "link": os.path.relpath(Path(by_name[name]).resolve(), folder)}
        for name, words in WORDS.items()
        if name in by_name
    ]
