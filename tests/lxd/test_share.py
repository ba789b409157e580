"""The shared directory, of both kinds, as the host's root and the clones' users meet it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.host import nfs_server
from lab.settings import Settings, load
from lab.share.base import Share
from lab.share.choose import choose
from lab.share.export import escape, export_id, unescape
from lab.share.export import ours as exports_of
from lab.share.nfs import mounts_at

pytestmark = pytest.mark.require("root")

BASE = 100_000
"""The containers' root, as the host sees it."""
WWW_DATA = BASE + 33
STRANGER = 4711
LAB = "sharetest"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="lab-share-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    for kind in ("nfs", "directory"):
        choose(settings_for(path, kind), BASE, removing=True).down(True)
    shutil.rmtree(path)


def settings_for(place: Path, kind: str) -> Settings:
    values = {
        "lab.name": LAB,
        "lab.state_dir": str(place / "state"),
        "share.path": str(place / "pages"),
        "share.kind": kind,
    }
    return load(None, tuple(f"{key}={value}" for key, value in values.items())).settings


@pytest.fixture(params=["directory", "nfs"])
def share(request: pytest.FixtureRequest, place: Path, require) -> Share:
    if request.param == "nfs":
        require("nfs")
    return bring_up(choose(settings_for(place, request.param), BASE))


@pytest.fixture
def nfs(place: Path, require) -> Share:
    require("nfs")
    return bring_up(choose(settings_for(place, "nfs"), BASE))


def bring_up(share: Share) -> Share:
    """Up, and open to this host's users: a container gets the mount past the closed door."""
    share.up()
    if share.kind == "nfs":
        share.source.parent.chmod(0o755)
    return share


def works_as(uid: int, command: str, *paths: Path) -> bool:
    """Whether a shell command, with the paths as its $1, $2, succeeds for this user."""
    done = subprocess.run(
        ["sh", "-c", command, "sh", *map(str, paths)],
        user=uid,
        group=uid,
        extra_groups=[],
        capture_output=True,
        timeout=60,
    )
    return done.returncode == 0


def exported(path: Path) -> bool:
    lines = subprocess.run(["exportfs", "-s"], capture_output=True, text=True, timeout=60).stdout
    return any(line.split(" ")[0] == str(path) for line in lines.splitlines())


# --- both kinds


def test_the_first_page_is_there_for_everybody(share, place):
    page = share.source / "index.html"
    assert "shared page" in page.read_text()
    assert works_as(STRANGER, 'cat "$1"', page)


@pytest.mark.parametrize("user", [BASE, WWW_DATA])
def test_a_clones_users_can_edit_make_and_delete(share, place, user):
    source = share.source
    assert works_as(user, 'echo edited >"$1/index.html"', source)
    assert works_as(user, 'echo new >"$1/new" && mkdir "$1/folder"', source)
    assert works_as(user, 'echo new >"$1/folder/new" && rm "$1/new"', source)
    pages = place / "pages"
    assert (pages / "index.html").read_text() == "edited\n"
    assert sorted(p.name for p in pages.iterdir()) == ["folder", "index.html"]


def test_what_one_of_a_clones_users_made_the_other_can_edit(share):
    for one, other in ((BASE, WWW_DATA), (WWW_DATA, BASE)):
        file = share.source / f"of-{one}"
        assert works_as(one, 'umask 022; echo a >"$1"', file)
        assert works_as(other, 'echo b >>"$1"', file)
        assert file.read_text() == "a\nb\n"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_the_hosts_root_makes_can_be_edited_in_a_clone(share, place, umask):
    before = os.umask(umask)
    try:
        (place / "pages" / "by-root").write_text("root\n")
    finally:
        os.umask(before)
    for user in (BASE, WWW_DATA):
        assert works_as(user, 'echo clone >>"$1"', share.source / "by-root")
    assert (place / "pages" / "by-root").read_text() == "root\nclone\nclone\n"


def test_an_edit_shows_at_once_on_both_sides(share, place):
    page, seen = place / "pages" / "index.html", share.source / "index.html"
    for number in range(30):
        page.write_text(f"in place {number}")
        assert seen.read_text() == f"in place {number}"
        draft = page.with_suffix(".new")
        draft.write_text(f"by renaming {number}")
        draft.replace(page)
        assert seen.read_text() == f"by renaming {number}"
        fresh = share.source / f"fresh{number}"
        assert not fresh.exists()
        (place / "pages" / fresh.name).touch()
        assert fresh.exists()
    assert works_as(WWW_DATA, 'echo back >"$1/back"', share.source)
    assert (place / "pages" / "back").read_text() == "back\n"


def test_up_again_changes_nothing(share, place):
    page = place / "pages" / "index.html"
    page.write_text("mine")
    before = (page.stat(), mounts_at(share.source), mounts_at(place / "pages"))
    share.up()
    assert (page.stat(), mounts_at(share.source), mounts_at(place / "pages")) == before


def test_down_leaves_nothing_when_nobody_added_anything(share, place):
    settings = settings_for(place, "nfs")
    assert share.down(purge=True) == ""
    assert share.down(purge=True) == ""
    assert not (place / "pages").exists()
    assert not (settings.directory / "share").exists()
    assert mounts_at(settings.directory / "share" / "mount") == []


def test_down_without_purge_keeps_the_pages(share, place):
    assert share.down(purge=False) == ""
    assert (place / "pages" / "index.html").exists()


def test_purge_keeps_what_the_lab_did_not_make_and_says_so(share, place):
    (place / "pages" / "mine").write_text("mine")
    assert "mine" in share.down(purge=True)
    assert [p.name for p in (place / "pages").iterdir()] == ["mine"]
    (place / "pages" / "mine").unlink()
    assert share.down(purge=True) == ""
    assert not (place / "pages").exists()


def test_purge_keeps_an_edited_page(share, place):
    assert works_as(WWW_DATA, 'echo edited >"$1/index.html"', share.source)
    assert "index.html" in share.down(purge=True)
    assert (place / "pages" / "index.html").read_text() == "edited\n"
    (place / "pages" / "index.html").unlink()


# --- the directory's own past


def test_a_directory_with_somebodys_files_keeps_its_ownership(place):
    pages = place / "pages"
    pages.mkdir(mode=0o750)
    (pages / "diary").write_text("private")
    os.chown(pages, STRANGER, STRANGER)
    share = choose(settings_for(place, "directory"), BASE)
    share.up()
    assert "held files before the lab" in share.notice
    assert (pages.stat().st_uid, stat.S_IMODE(pages.stat().st_mode)) == (STRANGER, 0o750)
    assert [p.name for p in pages.iterdir()] == ["diary"]
    assert share.down(purge=True) == ""
    assert (pages / "diary").read_text() == "private"


def test_an_empty_directory_is_adopted_and_given_back(place):
    pages = place / "pages"
    pages.mkdir()
    pages.chmod(0o700)
    os.chown(pages, STRANGER, STRANGER)
    share = choose(settings_for(place, "directory"), BASE)
    share.up()
    assert works_as(WWW_DATA, 'touch "$1/index.html"', pages)
    assert share.down(purge=True) == ""
    assert (pages.stat().st_uid, stat.S_IMODE(pages.stat().st_mode)) == (STRANGER, 0o700)
    assert os.listxattr(pages) == []


def test_a_link_that_a_clone_left_in_place_of_the_page_is_not_followed(place):
    share = choose(settings_for(place, "directory"), BASE)
    share.up()
    page, secret = place / "pages" / "index.html", place / "secret"
    page.unlink()
    page.symlink_to(secret)
    share.up()
    assert not secret.exists()
    secret.write_text("secret")
    share.up()
    assert secret.stat().st_uid == 0
    assert "index.html" in share.down(purge=True)
    page.unlink()


def test_another_labs_directory_is_refused(place):
    choose(settings_for(place, "directory"), BASE).up()
    settings = settings_for(place, "directory")
    other = settings.model_copy(update={"lab": settings.lab.model_copy(update={"name": "other"})})
    with pytest.raises(LabError, match="belongs to the lab 'sharetest'"):
        choose(other, BASE).up()


def test_a_path_that_cannot_be_is_one_line(place):
    (place / "pages").write_text("a file")
    with pytest.raises(LabError, match="is no directory"):
        choose(settings_for(place, "directory"), BASE).up()
    (place / "pages").unlink()


# --- which kind


def test_without_nfs_auto_takes_the_directory_and_says_why(place, monkeypatch):
    lacking = nfs_server.Obstacle("this kernel has no NFS server", "boot another")
    monkeypatch.setattr(nfs_server, "obstacle", lambda: lacking)
    share = choose(settings_for(place, "auto"), BASE)
    assert share.kind == "directory"
    assert "no NFS: this kernel has no NFS server" in share.notice
    with pytest.raises(LabError, match="no NFS server: boot another"):
        choose(settings_for(place, "nfs"), BASE)
    assert choose(settings_for(place, "nfs"), BASE, removing=True).kind == "nfs"


def test_when_nfs_turns_out_to_fail_auto_takes_the_directory(place, monkeypatch):
    def fail(_: str) -> None:
        raise LabError("the NFS server did not start: see its journal")

    monkeypatch.setattr(nfs_server, "obstacle", lambda: None)
    monkeypatch.setattr(nfs_server, "start", fail)
    share = choose(settings_for(place, "auto"), BASE)
    assert share.kind == "nfs"
    share.up()
    assert share.kind == "directory"
    assert "did not start" in share.notice
    assert share.source == place / "pages"
    assert works_as(WWW_DATA, 'touch "$1/x" && rm "$1/x"', share.source)


# --- what the kernel and the NFS server write


def test_the_lab_knows_its_own_lines_in_the_servers_table():
    ours = f"/srv/my\\040lab\t127.0.0.1(rw,fsid={export_id(LAB, '/srv/my lab')},anonuid=1)"
    another_labs = f"/srv/b\t127.0.0.1(rw,fsid={export_id('other', '/srv/b')},anonuid=1)"
    somebodys = "/srv/lab\t127.0.0.1(rw,sync,anonuid=65534)"
    assert exports_of(LAB, "\n".join((ours, another_labs, somebodys))) == {"/srv/my lab"}


def test_paths_are_escaped_as_the_server_reads_them():
    assert escape('/srv/my "lab"') == "/srv/my\\040\\042lab\\042"
    for path in ("/srv/lab-1.x", "/srv/my lab", "/srv/ü", "/a\\b#c"):
        assert unescape(escape(path)) == path


def test_stacked_mounts_are_all_found():
    mountinfo = (
        "22 1 0:21 / / rw - ext4 /dev/vda rw\n"
        "90 22 0:48 / /my\\040lab rw,nosuid shared:131 - nfs4 127.0.0.1:/srv/a\\040b rw,vers=4.2\n"
        "91 90 0:49 / /my\\040lab rw - tmpfs x rw\n"
    )
    assert mounts_at(Path("/my lab"), mountinfo) == [
        ("nfs4", "127.0.0.1:/srv/a b"),
        ("tmpfs", "x"),
    ]
    assert mounts_at(Path("/my"), mountinfo) == []


# --- NFS alone


def test_only_this_host_may_mount_and_nobody_is_root(nfs, place):
    lines = subprocess.run(["exportfs", "-s"], capture_output=True, text=True, timeout=60).stdout
    [line] = [line for line in lines.splitlines() if line.startswith(str(place))]
    assert "127.0.0.1(" in line and "*" not in line
    assert "all_squash" in line and f"anonuid={BASE}" in line and f"anongid={BASE}" in line


def test_this_hosts_own_users_do_not_get_to_the_mount(place, require):
    require("nfs")
    share = choose(settings_for(place, "nfs"), BASE)
    share.up()
    assert not works_as(STRANGER, 'cat "$1/index.html" || touch "$1/new"', share.source)


def test_down_takes_away_mount_and_export(nfs, place):
    export_file = Path(f"/etc/exports.d/lab-{LAB}.exports")
    assert mounts_at(nfs.source) == [("nfs4", f"127.0.0.1:{place}/pages")]
    assert exported(place / "pages") and export_file.exists()
    nfs.down(purge=True)
    assert mounts_at(nfs.source) == []
    assert not exported(place / "pages") and not export_file.exists()


def test_down_takes_away_exports_d_only_if_the_lab_made_it(place, require):
    require("nfs")
    directory = Path("/etc/exports.d")
    if directory.exists():
        pytest.skip("/etc/exports.d is this host's own")
    share = choose(settings_for(place, "nfs"), BASE)
    share.up()
    share.down(purge=True)
    assert not directory.exists()
    directory.mkdir()
    try:
        share.up()
        share.down(purge=True)
        assert directory.exists()
    finally:
        directory.rmdir()


def test_other_exports_stay(place, require):
    require("nfs")
    other = place / "other"
    other.mkdir()
    subprocess.run(["exportfs", "-o", "ro,no_subtree_check", f"127.0.0.1:{other}"], check=True)
    try:
        share = choose(settings_for(place, "nfs"), BASE)
        share.up()
        assert exported(other)
        share.down(purge=True)
        assert exported(other)
    finally:
        subprocess.run(["exportfs", "-u", f"127.0.0.1:{other}"], check=True)


def interrupt_after_the_mount_was_lost(nfs, place):
    subprocess.run(["umount", str(nfs.source)], check=True)


def interrupt_after_the_export_was_lost(nfs, place):
    subprocess.run(["exportfs", "-u", f"127.0.0.1:{place}/pages"], check=True)


def interrupt_after_the_export_file_was_lost(nfs, place):
    Path(f"/etc/exports.d/lab-{LAB}.exports").unlink()


def interrupt_with_the_mount_stacked_twice(nfs, place):
    source = f"127.0.0.1:{place}/pages"
    subprocess.run(["mount", "-t", "nfs4", source, str(nfs.source)], check=True)


def interrupt_with_something_else_mounted(nfs, place):
    subprocess.run(["umount", str(nfs.source)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "lab-test", str(nfs.source)], check=True)


def interrupt_by_deleting_the_directory(nfs, place):
    shutil.rmtree(place / "pages")


def interrupt_by_stopping_the_server(nfs, place):
    subprocess.run(["systemctl", "stop", "nfs-server"], check=True, timeout=120)


INTERRUPTIONS = [
    interrupt_after_the_mount_was_lost,
    interrupt_after_the_export_was_lost,
    interrupt_after_the_export_file_was_lost,
    interrupt_with_the_mount_stacked_twice,
    interrupt_with_something_else_mounted,
    interrupt_by_deleting_the_directory,
    interrupt_by_stopping_the_server,
]


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_up_mends_what_an_interruption_left(nfs, place, interrupt):
    interrupt(nfs, place)
    bring_up(nfs)
    assert mounts_at(nfs.source) == [("nfs4", f"127.0.0.1:{place}/pages")]
    assert works_as(WWW_DATA, 'echo edited >"$1/index.html"', nfs.source)
    assert (place / "pages" / "index.html").read_text() == "edited\n"


@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_down_clears_what_an_interruption_left(nfs, place, interrupt):
    interrupt(nfs, place)
    nfs.down(purge=True)
    assert mounts_at(nfs.source) == []
    assert not nfs.source.parent.exists()
    assert not exported(place / "pages")
    assert not (place / "pages").exists()
    subprocess.run(["systemctl", "start", "nfs-server"], check=True, timeout=120)


def test_a_mount_in_use_still_goes(nfs, place):
    user = subprocess.Popen(["sleep", "600"], cwd=nfs.source)
    try:
        nfs.down(purge=True)
        assert mounts_at(nfs.source) == []
    finally:
        user.kill()
        user.wait()


def test_a_server_that_the_lab_started_is_stopped_again(place, require):
    require("nfs")
    subprocess.run(["systemctl", "stop", "nfs-server"], check=True, timeout=120)
    try:
        share = choose(settings_for(place, "nfs"), BASE)
        share.up()
        assert nfs_server.is_running()
        share.up()
        share.down(purge=True)
        assert not nfs_server.is_running()
    finally:
        subprocess.run(["systemctl", "start", "nfs-server"], check=True, timeout=120)
    share.up()
    share.down(purge=True)
    assert nfs_server.is_running()


def test_a_server_that_restarts_is_only_a_pause(nfs):
    subprocess.run(["systemctl", "restart", "nfs-server"], check=True, timeout=120)
    assert works_as(WWW_DATA, 'echo after >"$1/index.html"', nfs.source)
    assert (nfs.source / "index.html").read_text() == "after\n"


def test_a_dead_server_is_an_error_and_not_a_hang(nfs):
    subprocess.run(["systemctl", "stop", "nfs-server"], check=True, timeout=120)
    try:
        assert not works_as(WWW_DATA, 'cat "$1/index.html"', nfs.source)  # within its 60 s
    finally:
        subprocess.run(["systemctl", "start", "nfs-server"], check=True, timeout=120)


def test_another_path_or_kind_replaces_the_share(nfs, place):
    moved = settings_for(place, "nfs")
    elsewhere = moved.share.model_copy(update={"path": place / "else where"})
    share = choose(moved.model_copy(update={"share": elsewhere}), BASE)
    share.up()
    assert mounts_at(share.source) == [("nfs4", f"127.0.0.1:{place}/else where")]
    assert not exported(place / "pages")
    assert "shared page" in (share.source / "index.html").read_text()
    assert (
        escape(f"{place}/else where")
        in Path("/etc/exports").parent.joinpath("exports.d", f"lab-{LAB}.exports").read_text()
    )
    choose(settings_for(place, "directory"), BASE).up()
    assert mounts_at(share.source) == []
    assert share.down(purge=True) == ""


def test_a_directory_of_a_users_is_written_as_that_user(place, require):
    require("nfs")
    pages = place / "pages"
    pages.mkdir()
    (pages / "mine").write_text("mine")
    os.chown(pages, STRANGER, STRANGER)
    share = choose(settings_for(place, "nfs"), BASE)
    bring_up(share)
    assert f"write as user {STRANGER}" in share.notice
    assert works_as(WWW_DATA, 'touch "$1/new"', share.source)
    assert (pages / "new").stat().st_uid == STRANGER
    share.down(purge=True)
    assert sorted(p.name for p in pages.iterdir()) == ["mine", "new"]


def test_roots_directory_is_never_written_as_root(place, require):
    require("nfs")
    pages = place / "pages"
    pages.mkdir(mode=0o755)
    (pages / "mine").write_text("mine")
    share = choose(settings_for(place, "nfs"), BASE)
    bring_up(share)
    assert not works_as(BASE, 'touch "$1/new"', share.source)
    assert (share.source / "mine").read_text() == "mine"


def test_a_file_system_without_an_id_can_be_shared(place, require):
    require("nfs")
    memory = place / "memory"
    memory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "lab-test", str(memory)], check=True)
    settings = settings_for(place, "nfs")
    shared = settings.share.model_copy(update={"path": memory / "pages"})
    share = choose(settings.model_copy(update={"share": shared}), BASE)
    try:
        bring_up(share)
        assert works_as(WWW_DATA, 'echo x >"$1/index.html"', share.source)
    finally:
        share.down(purge=False)
        # The server lets go of what it exported some time later; longest after its restarts.
        wait = 'for i in $(seq 1200); do umount "$1" 2>&1 && exit; sleep 0.1; done; exit 1'
        subprocess.run(["sh", "-c", wait, "sh", str(memory)], check=True)
