"""Results are no pictures to denoise, however the folders are written."""

import pytest
from PIL import Image

from jaxdae.data import picture_files
from jaxdae.errors import InputError


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The folder a with a.png and clean/b.png in it, as it lies and through a link."""
    for name in ("a.png", "clean/b.png"):
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "a" / name)
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("source", ["a", "./a/../a", "link", "{0}/a", "{0}/link"])
@pytest.mark.parametrize("out", ["a/clean", "link/clean", "{0}/a/clean", "{0}/link/../a/clean"])
def test_results_in_the_folder_are_left_out(folders, source, out):
    source, out = (folders.__class__(path.format(folders)) for path in (source, out))
    assert [path.name for path in picture_files.find([source], out)] == ["a.png"]
    assert picture_files.passed_over([source], out) == ""


def test_a_folder_below_that_of_the_results_is_denoised(folders):
    found = picture_files.find([folders / "a" / "clean"], folders / "a")
    assert found == {folders / "a" / "clean" / "b.png": folders / "a" / "b.png"}


def test_a_link_that_leads_nowhere_is_no_free_name(folders):
    (folders / "out").mkdir()
    (folders / "out" / "a.png").symlink_to("gone")
    with pytest.raises(InputError, match=r"a.png exists already"):
        picture_files.find([folders / "a" / "a.png"], folders / "out")
