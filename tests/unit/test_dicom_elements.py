"""Plain headers are read as pydicom reads them; all others are left to pydicom."""

import pydicom
import pytest
from dicom_factory import edit, recode, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from quorum.dicom_elements import plain_header
from quorum.dicom_files import GEOMETRY_TAGS, open_checked, read_headers
from quorum.dicom_pixels import SIZE_TAGS, decode, plain_pixels

# Damaged headers are meant: a line for each would hide what failed.
pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")

PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless]


def plain(path):
    with open_checked(path) as stream:
        header = plain_header(stream, GEOMETRY_TAGS)
        return header, stream.read(4)


@pytest.fixture
def path(tmp_path):
    return write_series(tmp_path, [1.5], Manufacturer="MÜLLER", SpecificCharacterSet="ISO_IR 100")[
        0
    ]


@pytest.mark.parametrize("syntax", PLAIN)
def test_a_plain_header_says_what_pydicom_says(path, syntax):
    recode(path, syntax)
    edit(path, AcquisitionNumber="")
    header, following = plain(path)
    whole = pydicom.dcmread(path, stop_before_pixels=True)
    wanted = {tag for tag in set(whole.keys()) if tag in GEOMETRY_TAGS}
    assert header.keys() - {0x00080005} == wanted
    for tag in wanted:
        assert header[tag] == whole[tag]
    assert header.Manufacturer == "MÜLLER"
    assert header.file_meta.TransferSyntaxUID == syntax
    assert following == b"\xe0\x7f\x10\x00"


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_another_header_is_left_to_pydicom(path, syntax):
    recode(path, syntax)
    assert plain(path)[0] is None


def test_a_sequence_of_undefined_length_is_left_to_pydicom(path):
    data = pydicom.dcmread(path)
    data.ReferencedImageSequence = [pydicom.Dataset()]
    data["ReferencedImageSequence"].is_undefined_length = True
    data.save_as(path)
    assert plain(path)[0] is None


@settings(deadline=None, max_examples=60)
@given(place=st.integers(132, 900), value=st.integers(0, 255))
def test_a_damaged_header_says_the_same_or_nothing(tmp_path_factory, place, value):
    path = write_series(tmp_path_factory.mktemp("damaged"), [1.5])[0]
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)
    header, following = plain(path)
    if header is None:
        return
    assert following == b"\xe0\x7f\x10\x00"
    whole = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(GEOMETRY_TAGS))
    raw = {tag: whole.get_item(tag).value for tag in set(whole.keys())}
    assert {tag: header.get_item(tag).value for tag in set(header.keys())} == raw


@pytest.mark.parametrize("syntax", PLAIN[:2])
@pytest.mark.parametrize("is_signed", [0, 1])
def test_plain_pixels_are_those_that_pydicom_decodes(path, syntax, is_signed):
    edit(path, PixelRepresentation=is_signed)
    recode(path, syntax)
    with open_checked(path) as stream:
        header = plain_header(stream, SIZE_TAGS)
        stored = plain_pixels(stream, header)
    expected = decode(path, header, None)
    assert stored.dtype == expected.dtype
    assert (stored == expected).all()


def test_slices_that_differ_in_any_shared_element_keep_their_own_values(tmp_path):
    paths = write_series(tmp_path, [0.0, 1.0, 2.0])
    edit(paths[1], RescaleIntercept="-2000")
    found = [read_headers(path, path.name)[0] for path in paths]
    assert [header.intercept for header in found].count(-2000.0) == 1
    assert [header.position_lps_mm[2] for header in found] == [0.0, 1.0, 2.0]
