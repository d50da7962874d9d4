"""The files of config/published, checked against their schema.

Read when Snakemake reads the Snakefile, so nothing here imports more than yaml and jsonschema.
"""

import yaml

from quorum.closed_schema import SCHEMAS, check_against, load_yaml
from quorum.errors import InputError


def read_published(paths) -> dict:
    """Return the rows of every file of config/published by topic.

    Raises
    ------
    InputError
        When a file is missing, no YAML, or breaks its schema.
    """
    schema, found = load_yaml(SCHEMAS / "published.schema.yaml"), {}
    for path in paths:
        try:
            content = load_yaml(path)
        except (OSError, yaml.YAMLError) as error:
            raise InputError(
                f"the published numbers {path} can't be read ({str(error).splitlines()[0]})",
                "a file of config/published",
                "name an existing file",
            ) from error
        check_against(content, schema, str(path))
        found[content["topic"]] = content["rows"]
    return found


def nearest_experiments(paths) -> list:
    """Return the experiments that the published rows call nearest, each row's first, once."""
    rows = [row for rows in read_published(paths).values() for row in rows]
    return list(dict.fromkeys(row["nearest"][0] for row in rows if row.get("nearest")))
