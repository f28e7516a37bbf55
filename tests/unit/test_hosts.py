# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts files: our block in a text, and files that are changed in place, made and taken away."""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import hosts
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError
from hypothesis import given
from hypothesis import strategies as st

ONE = hosts.block_of(["192.168.20.2\tweb1 www"])
TWO = hosts.block_of(["192.168.20.2\tweb1", "2001:db8::3\tweb2"])
BASE = "127.0.0.1\tlocalhost\n"

# Lines of others: whatever a file may hold but our own marks.
texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=60).filter(
    lambda text: "netops.underlay" not in text
)
blocks = st.sampled_from(["", ONE, TWO])


@given(texts, texts, blocks, blocks)
def test_nothing_but_our_block_ever_changes(before, after, first, second):
    text = before + ("\n" if before and not before.endswith("\n") else "")
    # A line of others behind the block that looks like one of ours is told from it by the block's end.
    there = hosts.with_block(text, first) + (after if first else "")
    changed = hosts.with_block(there, second)
    assert hosts.block_in(changed) == second
    assert hosts.without_block(changed) == hosts.without_block(there)
    assert hosts.with_block(changed, second) == changed


@given(texts, blocks)
def test_taken_out_the_text_is_what_it_was(text, block):
    assert hosts.without_block(hosts.with_block(text, block)) == text
    assert hosts.with_block(hosts.with_block(hosts.with_block(text, block), ONE), "") == text


@pytest.mark.parametrize("cut", range(1, len(TWO)))
def test_a_block_that_was_cut_off_is_ours_as_far_as_it_goes(cut):
    torn = BASE + TWO[:-cut]
    mended = hosts.with_block(torn, ONE)
    if hosts.block_in(torn):  # its mark is there
        assert mended == BASE + ONE
    else:
        assert mended == torn + hosts.with_block("x", ONE)[1:]


def test_without_its_end_a_block_takes_no_line_of_others():
    text = BASE + TWO.replace("# END netops.underlay\n", "") + "10.0.0.1 mine\n# a word\n"
    assert hosts.without_block(text) == BASE + "10.0.0.1 mine\n# a word\n"


def test_of_several_blocks_one_stays():
    assert hosts.with_block(BASE + ONE + "10.0.0.1 mine\n" + TWO, ONE) == BASE + ONE + "10.0.0.1 mine\n"


# --- files ----------------------------------------------------------------------------------------------------


def test_a_file_is_changed_in_place(tmp_path: Path):
    path = tmp_path / "hosts"
    path.write_text(BASE)
    inode = path.stat().st_ino
    with path.open() as reader:
        hosts.put_block(str(path), TWO)
        assert reader.read() == BASE + TWO
        hosts.put_block(str(path), "")
        reader.seek(0)
        assert reader.read() == BASE
    assert path.stat().st_ino == inode


def test_a_long_file_is_changed_where_it_differs(tmp_path: Path):
    path = tmp_path / "hosts"
    lines = [f"10.0.{n // 250}.{n % 250}\tweb{n}" for n in range(3000)]
    path.write_text(BASE + hosts.block_of(lines))
    lines[1500] = "10.9.9.9\tother"
    hosts.put_block(str(path), hosts.block_of(lines))
    assert path.read_text() == BASE + hosts.block_of(lines)


def test_bytes_that_are_no_text_stay(tmp_path: Path):
    path = tmp_path / "hosts"
    path.write_bytes(b"10.0.0.1 caf\xe9\n")
    hosts.put_block(str(path), ONE)
    assert path.read_bytes() == b"10.0.0.1 caf\xe9\n" + ONE.encode()


def test_a_file_that_is_gone_is_no_error(tmp_path: Path):
    hosts.put_block(str(tmp_path / "hosts"), ONE)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_has_a_problem(tmp_path: Path):
    target = tmp_path / "target"
    target.write_text(BASE)
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert "symbolic link" in hosts.read(str(tmp_path / "link")).problem
    assert "not a hosts file" in hosts.read(str(tmp_path / "pipe")).problem
    assert hosts.read(str(tmp_path / "folder")).problem
    with pytest.raises(UnderlayError, match="symbolic link"):
        hosts.put_block(str(tmp_path / "link"), ONE)
    assert target.read_text() == BASE


MINE = "10.0.0.1 mine\n"


@pytest.mark.parametrize("after", ["", MINE])
@pytest.mark.parametrize(("old", "new"), [(TWO, ONE), (ONE, TWO), (ONE, ""), (TWO, "")])
def test_what_a_kill_cut_off_is_put_right_and_nobody_elses_line_is_harmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, after: str
):
    """Killed in front of each call; where others have lines after our block, empty lines may stay at the end."""

    class Killed(BaseException):
        pass

    path = tmp_path / "hosts"
    calls = {name: getattr(os, name) for name in ("pwrite", "ftruncate")}

    def call(number: int, done: list[str], name: str, *arguments: int) -> int:
        if len(done) == number:
            raise Killed
        done.append(name)
        return calls[name](*arguments)

    for number in range(10):
        path.write_text(BASE + old + after)
        done: list[str] = []
        with monkeypatch.context() as patch:
            for name in calls:
                patch.setattr(os, name, functools.partial(call, number, done, name))
            with suppress(Killed):
                hosts.put_block(str(path), new)
        hosts.put_block(str(path), new)
        text = path.read_text()
        assert (text.rstrip("\n") + "\n", hosts.block_in(text)) == (BASE + new + after, new)
        assert text == BASE + new + after or after
        if len(done) < number:
            return
    raise AssertionError("more calls than that")


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "netns"
    monkeypatch.setattr(hosts, "NETNS_ETC", str(place))
    return place


def test_a_file_is_made_with_its_folders_and_taken_away_with_them(etc: Path):
    path = hosts.path_for("web1")
    assert hosts.read(path).missing == (str(etc), str(etc / "web1"))
    hosts.make_file(path, BASE + ONE)
    assert Path(path).read_text() == BASE + ONE
    assert os.listdir(etc / "web1") == ["hosts"]
    hosts.remove_file(path, hosts.digest(BASE), [str(etc / "web1"), str(etc)])
    assert not etc.exists()


def test_what_a_kill_left_does_not_stand_in_the_way(etc: Path):
    (etc / "web1").mkdir(parents=True)
    (etc / "web1" / ".hosts.netops-underlay").write_text("half")
    hosts.make_file(hosts.path_for("web1"), BASE)
    assert os.listdir(etc / "web1") == ["hosts"]


def test_a_file_that_somebody_wrote_to_stays_without_our_names(etc: Path):
    path = hosts.path_for("web1")
    hosts.make_file(path, BASE + ONE)
    Path(path).write_text(BASE + ONE + "10.0.0.1 mine\n")
    hosts.remove_file(path, hosts.digest(BASE), [str(etc / "web1"), str(etc)])
    assert Path(path).read_text() == BASE + "10.0.0.1 mine\n"


def test_a_folder_that_holds_more_stays(etc: Path):
    path = hosts.path_for("web1")
    hosts.make_file(path, BASE)
    (etc / "web1" / "resolv.conf").write_text("")
    hosts.remove_file(path, hosts.digest(BASE), [str(etc / "web1"), str(etc)])
    assert os.listdir(etc / "web1") == ["resolv.conf"]


@pytest.mark.parametrize("where", ["", "web1"])
def test_a_folder_that_is_a_link_is_not_followed(etc: Path, tmp_path: Path, where: str):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (etc / where).parent.mkdir(exist_ok=True)
    (etc / where if where else etc).symlink_to(elsewhere)
    path = hosts.path_for("web1")
    assert "symbolic link" in hosts.read(path).problem
    with pytest.raises(UnderlayError, match="symbolic link"):
        hosts.make_file(path, BASE)
    assert list(elsewhere.iterdir()) == []


def test_a_file_that_came_meanwhile_is_not_overwritten(etc: Path):
    path = hosts.path_for("web1")
    hosts.make_file(path, "mine\n")
    with pytest.raises(UnderlayError, match="File exists"):
        hosts.make_file(path, BASE)
    assert Path(path).read_text() == "mine\n"
    assert os.listdir(etc / "web1") == ["hosts"]
