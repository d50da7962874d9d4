"""Cards, checklists and references: templates of workflow/handover filled from the run."""

import re

import jinja2
import markdown
import pandas as pd

from quorum.card_files import CARDS, CHECKLISTS, TEMPLATES
from quorum.closed_schema import load_yaml
from quorum.references import EXPLANATIONS, keys_of, references, training_keys

REPORT = "../write_report"
REPORTED, LACKING = "reported", "not reported"
STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto;
  padding: 0 1rem; overflow-wrap: break-word; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #8886; padding: .25rem .6rem; text-align: left;
  vertical-align: top; }
"""


def environment() -> jinja2.Environment:
    """Return the templates' environment: unknown names are refused."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markdown is no HTML; what goes into it are our own tables' words.
        autoescape=False,
    )


def fill_answers(facts: dict) -> dict:
    """Return each answer with its text filled, its status and its link into the report."""
    templates, filled = environment(), {}
    for name, answer in load_yaml(TEMPLATES / "answers.yaml").items():
        text = templates.from_string(answer["text"]).render(facts).strip()
        status = answer.get("status", REPORTED if text else LACKING)
        link = None
        if "page" in answer:
            link = f"{REPORT}/{answer['page']}.html#{answer['section']}"
        filled[name] = {"text": text, "status": status, "link": link if text else None}
    return filled


def checklist_rows(answers: dict) -> pd.DataFrame:
    """Return the table `checklists`: one row an item."""
    rows = []
    for name, checklist in load_yaml(TEMPLATES / "checklists.yaml").items():
        for item, section, topic, answer in checklist["items"]:
            found = answers[answer]
            rows.append(
                {
                    "checklist": name,
                    "item": str(item),
                    "section": section,
                    "topic": topic,
                    "status": found["status"],
                    "answer": found["text"] or None,
                    "link": found["link"],
                }
            )
    return pd.DataFrame(rows)


def checklist_page(name: str, table: pd.DataFrame, mark: str) -> str:
    """Return one checklist as Markdown."""
    checklist, rows = load_yaml(TEMPLATES / "checklists.yaml")[name], table["checklist"] == name
    counts = table.loc[rows, "status"].value_counts()
    counted = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"# Checklist: {checklist['title']}", ""]
    lines += [f"{mark}Items in short words of our own; {counted}. Source: references.bib, "
              f"`{checklist['reference']}`.", ""]  # fmt: skip
    lines += ["| item | section | topic | answer | where |", "|---|---|---|---|---|"]
    for row in table[rows].fillna("").to_dict("records"):
        answer = (
            row["answer"] if row["status"] == REPORTED else f"*{row['status']}* {row['answer']}"
        )
        link = f"[{row['link'].split('/')[-1]}]({row['link']})" if row["link"] else ""
        cells = [row["item"], row["section"], row["topic"], answer.replace("|", "/"), link]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def to_html(text: str, title: str) -> str:
    """Return Markdown as a whole HTML page without network."""
    body = markdown.markdown(text, extensions=["tables"])
    body = re.sub(r"<th>", '<th scope="col">', body)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n"
        "</main></body></html>\n"
    )


def make_pages(facts: dict) -> tuple:
    """Return the texts of all files but checklists.csv by name, and the table of checklists."""
    answers, templates = fill_answers(facts), environment()
    texts = {name: found["text"] or LACKING for name, found in answers.items()}
    cited = {
        "training": "; ".join(training_keys(facts["network"])) if facts["network"] else "",
        "explanations": "; ".join(keys_of(EXPLANATIONS, facts["explained_by"])),
    }
    pages = {
        name: templates.get_template(f"{name}.md.j2").render(**facts, a=texts, cited=cited)
        for name in CARDS
    }
    table = checklist_rows(answers)
    for name in CHECKLISTS:
        pages[f"checklist_{name}"] = checklist_page(name, table, facts["mark"])
    files = {"references.bib": references(facts)}
    for name, text in pages.items():
        files[f"{name}.md"] = text
        files[f"{name}.html"] = to_html(text, text.splitlines()[0].removeprefix("# "))
    return files, table
