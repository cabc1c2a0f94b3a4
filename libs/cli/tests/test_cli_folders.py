"""A folder is read recursively: its media files are found, and everything else is counted."""

import os
from pathlib import Path

import pytest
from tests.support.stack import Stack
from tests.support.system import run_command

from phonograph_cli.folders import find_recordings, has_media_signature

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "


def write(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(folder: Path, *locations: Path) -> list[str]:
    paths = find_recordings(map(str, locations or [folder])).paths
    return [str(Path(path).relative_to(folder)) for path in paths]


def test_media_files_are_found_at_any_depth_and_the_rest_is_counted(tmp_path: Path) -> None:
    for name in ("b/2.flac", "b/c/d/3.M4B", "a.mp3", "line\nbreak.ogg"):
        write(tmp_path / name)
    for name in ("cover.jpg", "b/Folder.JPG", "b/notes.txt", "b/c/README", ".DS_Store", "b/._2.flac"):
        write(tmp_path / name, b"not sound")
    write(tmp_path / "take 1", WAV)
    content = find_recordings([str(tmp_path)])
    assert names(tmp_path) == ["a.mp3", "b/2.flac", "b/c/d/3.M4B", "line\nbreak.ogg", "take 1"]
    assert content.left_out == {".jpg": 2, ".txt": 1, "without suffix": 1, "hidden": 2}
    assert content.describe_left_out().startswith("Left out: 6 (2 hidden, 2 .jpg, 1 ")


def test_link_and_its_target_are_one_recording_under_the_name_of_the_target(tmp_path: Path) -> None:
    target = write(tmp_path / "z" / "mix.mp3")
    (tmp_path / "a-link.mp3").symlink_to(target)
    (tmp_path / "z" / "other link.mp3").symlink_to("mix.mp3")
    content = find_recordings([str(tmp_path)])
    assert content.paths == [str(target)]
    assert content.left_out == {"further name of an included file": 2}
    assert names(tmp_path, tmp_path / "a-link.mp3", target) == ["z/mix.mp3"]
    assert names(tmp_path, tmp_path / "a-link.mp3") == ["a-link.mp3"]
    assert find_recordings(["n" * 300]).paths == ["n" * 300]
    assert find_recordings(["s3://b/x.mp3", "/nowhere/x.mp3"]).paths == ["s3://b/x.mp3", "/nowhere/x.mp3"]


def test_file_that_is_also_named_itself_keeps_the_name_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mix.mp3")
    monkeypatch.chdir(tmp_path)
    found = find_recordings([str(tmp_path), "mix.mp3"])
    assert (found.paths, found.left_out.total()) == (["mix.mp3"], 1)


def test_linked_file_and_folder_elsewhere_are_included(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "mix.mp3").parent
    write(tmp_path / "single.wav")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "all").symlink_to(elsewhere)
    (folder / "one.wav").symlink_to(tmp_path / "single.wav")
    assert names(folder) == ["all/mix.mp3", "one.wav"]


def test_links_in_a_circle_and_overlapping_folders_end(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "mix.mp3")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    assert names(tmp_path, tmp_path / "a", tmp_path) == ["a/b/mix.mp3"]


def test_entries_that_are_no_readable_files_are_counted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "dangling.mp3").symlink_to(tmp_path / "nowhere")
    content = find_recordings([str(tmp_path)])
    assert content.paths == []
    assert content.left_out == {"not a file": 1, "unreadable": 1}


@pytest.mark.parametrize(
    ("head", "is_media"),
    [
        (WAV, True),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", False),
        (b"FORM\x00\x00\x00\x00AIFF", True),
        (b"\x00\x00\x00\x18ftypM4A ", True),
        (b"\x00\x00\x00\x18ftypheic", False),
        (b"\xff\xfb\x90\x64", True),
        ("text".encode("utf-16"), False),
        (b"\xff\xd8\xff\xe0JFIF", False),
        ((b"G" + bytes(187)) * 2, True),
        (b"Good morning. " * 20, False),
        (b"", False),
    ],
)
def test_file_without_a_known_suffix_is_judged_by_its_first_bytes(head: bytes, *, is_media: bool) -> None:
    assert has_media_signature(head[:204]) is is_media


async def test_folder_is_ingested_with_a_request_for_each_recording(stack: Stack, tmp_path: Path) -> None:
    write(tmp_path / "disc 1" / "a.mp3")
    write(tmp_path / "disc 2" / "b.flac")
    write(tmp_path / "cover.jpg")
    answer = await run_command(stack.project, "ingest", str(tmp_path), "/music/single.wav", "--json")
    assert answer.code == 0, answer.err
    assert [Path(each["path"]).name for each in answer.json["files"]] == ["single.wav", "a.mp3", "b.flac"]
    assert answer.json["left_out"] == {".jpg": 1}
    assert "Left out: 1 (1 .jpg)." in answer.err
    (tmp_path / "empty").mkdir()
    nothing = await run_command(stack.project, "ingest", str(tmp_path / "empty"))
    assert (nothing.code, "No recording was found in" in nothing.err) == (1, True)
