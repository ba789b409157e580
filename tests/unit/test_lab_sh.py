"""lab.sh on hosts made of stand-ins: a directory tree in place of "/", and PATH leads only there.

The stand-ins are strict: arguments that they do not know make them fail. They write down each call,
and "installing" a package copies its directory of the host's archive into the tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

# All that lab.sh may use before it has installed anything.
BARE = ["bash", "env", "flock", "grep", "mktemp", "readlink", "rm", "setsid", "sha256sum", "tail"]

RELEASES = {
    "debian": ("ID=debian", "VERSION_ID=12", "VERSION_CODENAME=bookworm"),
    "bullseye": ("ID=debian", "VERSION_ID=11", "VERSION_CODENAME=bullseye"),
    "sid": ("ID=debian", "VERSION_CODENAME=forky"),
    "ubuntu": ("ID=ubuntu", "ID_LIKE=debian", "VERSION_ID=24.04", "VERSION_CODENAME=noble"),
    "jammy": ("ID=ubuntu", "ID_LIKE=debian", "VERSION_ID=22.04", "VERSION_CODENAME=jammy"),
    "mint": ("ID=linuxmint", "ID_LIKE='ubuntu debian'", "VERSION_ID=22", "UBUNTU_CODENAME=noble"),
    "fedora": ("ID=fedora", "VERSION_ID=41"),
}

TOOLS = {  # package → the file that it brings
    "haproxy": "usr/sbin/haproxy",
    "nftables": "usr/sbin/nft",
    "btrfs-progs": "usr/sbin/mkfs.btrfs",
    "dnsmasq-base": "usr/sbin/dnsmasq",
    "mmdebstrap": "usr/bin/mmdebstrap",
    "apache2-utils": "usr/bin/ab",
    "iproute2": "usr/sbin/ip",
    "procps": "usr/bin/ps",
}
PYTHON = {"python3": "usr/bin/python3", "python3-venv": "usr/lib/venv-of-python3"}
PYTHON_311 = {
    "python3.11": "usr/bin/python3.11",
    "python3.11-venv": "usr/lib/venv-of-python3.11",
}
NFS = {
    "kmod": "usr/sbin/modprobe",
    "nfs-kernel-server": "usr/sbin/exportfs",
    "nfs-common": "usr/sbin/mount.nfs",
}
LXD = {"lxd": "usr/bin/lxd"}
SNAPD = {"snapd": "usr/bin/snap"}
KEYRING = {"debian-archive-keyring": "usr/share/keyrings/debian-archive-keyring.gpg"}
UBUNTU_KEYRING = {"ubuntu-keyring": "usr/share/keyrings/ubuntu-archive-keyring.gpg"}

PRELUDE = """#!/bin/bash
PATH=/usr/bin:/bin root='{root}' name='{name}'
[[ $name == id ]] || echo "$name $*" >>"$root/calls"
unknown() {{ echo "stand-in $name: unknown arguments: $*" >&2; exit 64; }}
listen() {{
  mkdir -p "$1"; touch "$1/unix.socket"
  echo "0: 2 0 10000 1 01 1 $1/unix.socket" >>"$root/proc/net/unix"
}}
unlocked() {{ [[ ! -e /proc/self/fd/9 ]] || {{ echo "Error: holds lab.sh's lock"; exit 64; }}; }}
fails() {{ [[ -e $root/fails/$1 ]]; }}
"""

APT_INSTALL = (
    "install -y --no-install-recommends"
    " -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "
)

STAND_INS = {
    "id": '[[ $* == -u ]] || unknown "$@"; cat "$root/uid"',
    "apt-get": f"""
        unlocked
        case "$*" in
          update) ! fails update || exit 100 ;;
          "{APT_INSTALL}"*)
            if fails apt-get; then seq -f "line %g" 30; echo "E: disk full"; exit 100; fi
            for package in "${{@:8}}"; do
              [[ -d $root/archive/$package ]] || {{ echo "E: no package $package"; exit 100; }}
              cp -a "$root/archive/$package/." "$root/"
            done ;;
          *) unknown "$@" ;;
        esac""",
    "apt-cache": """
        [[ "${*:1:5}" == "-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= policy" ]] ||
          unknown "$@"
        if [[ -d $root/archive/$6 ]]; then echo "  Candidate: 1:2.3-1"; fi""",
    "snap": """
        case "$*" in
          "wait system seed.loaded") ;;
          "install lxd")
            unlocked
            if fails snap; then echo "error: store unreachable"; exit 1; fi
            mkdir -p "$root/snap/bin"; cp "$root/spare/lxd" "$root/snap/bin/lxd"
            listen "$root/var/snap/lxd/common/lxd" ;;
          "start lxd") listen "$root/var/snap/lxd/common/lxd" ;;
          *) unknown "$@" ;;
        esac""",
    "systemctl": """
        case "$*" in
          "start lxd") listen "$root/var/lib/lxd" ;;
          "disable --now haproxy" | "start nfs-server") ;;
          *) unknown "$@" ;;
        esac""",
    "modprobe": '[[ $* == nfsd ]] || unknown "$@"; echo "nodev nfsd" >>"$root/proc/filesystems"',
    "chown": '[[ $# == 4 && "$1 $2" == "-R --" && -d $4 ]] || unknown "$@"',
    "lxd": """
        case "$*" in
          "--group root")
            unlocked
            if fails lxd; then echo "Error: no cgroups"; exit 1; fi
            listen "$root/var/lib/lxd" ;;
          "waitready --timeout "*)
            for _ in {1..20}; do ! grep -q lxd "$root/proc/net/unix" || exit 0; sleep 0.01; done
            exit 1 ;;
          *) unknown "$@" ;;
        esac""",
    "python": """
        case "$*" in
          "-c import ensurepip"*) [[ -e $root/usr/lib/venv-of-$name ]] && ! fails "$name" ;;
          "-m venv "*)
            [[ ! -e $3 ]] || { echo "$3 is there" >&2; exit 64; }
            mkdir -p "$3/bin"; cp "$root/spare/venv-python" "$3/bin/python" ;;
          *) unknown "$@" ;;
        esac""",
    "venv-python": """
        case "$*" in
          "-m pip install --disable-pip-version-check -c constraints.txt -e .[test]")
            [[ -e pyproject.toml && -e $PIP_CONSTRAINT ]] || unknown "in $PWD"
            if fails pip; then echo "ERROR: no network"; exit 1; fi
            cp "$root/spare/lab" .venv/bin/lab ;;
          "-m pytest"*) shift 2; printf '%s\\n' pytest "$PWD" "$@" ;;
          *) unknown "$@" ;;
        esac""",
    "lab": """printf '%s\\n' "$PWD" "$LAB_HOME" "$@"; exit 7""",
}


class Host:
    """A machine with nothing but a shell and, where the distribution has it, apt."""

    def __init__(self, root: Path, release: str, systemd: bool) -> None:
        self.root, self.home, self.cwd = root, root / "check out", root / "elsewhere"
        self.home.mkdir(parents=True)
        self.cwd.mkdir()
        for name in ("archive", "etc", "fails", "proc/net", "run", "spare", "tmp", "var/log"):
            (root / name).mkdir(parents=True)
        (root / "usr/bin").mkdir(parents=True)
        for tool in BARE:
            (root / "usr/bin" / tool).symlink_to(shutil.which(tool) or "/missing")
        for name in ("venv-python", "lab", "lxd"):
            self._write_stand_in(root / "spare" / name, name)
        self.install({"": "usr/bin/id"}, {"": "usr/bin/chown"})
        if release != "fedora":
            self.install({"": "usr/bin/apt-get"}, {"": "usr/bin/apt-cache"})
        if systemd:
            (root / "run/systemd/system").mkdir(parents=True)
            self.install({"": "usr/bin/systemctl"})
        lines = (*RELEASES[release], f"PRETTY_NAME='The {release} release'", "NAME=leaked")
        (root / "etc/os-release").write_text("\n".join(lines))
        (root / "proc/net/unix").write_text("Num RefCount Protocol Flags Type St Inode Path\n")
        (root / "proc/filesystems").write_text("nodev sysfs\n\text4\n")
        (root / "uid").write_text("0")
        (root / "calls").touch()
        for name in ("lab.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(CHECKOUT / name, self.home / name)

    def offer(self, *packages: dict[str, str]) -> Host:
        """Put packages into apt's archive."""
        for package, file in ((p, f) for group in packages for p, f in group.items()):
            self._write_stand_in(self.root / "archive" / package / file, Path(file).name)
        return self

    def install(self, *packages: dict[str, str]) -> Host:
        """Have packages on the host from the beginning."""
        for file in (f for group in packages for f in group.values()):
            self._write_stand_in(self.root / file, Path(file).name)
        return self

    def break_(self, what: str) -> Host:
        (self.root / "fails" / what).touch()
        return self

    def _write_stand_in(self, path: Path, name: str) -> None:
        kind = "python" if name.startswith("python") else name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PRELUDE.format(root=self.root, name=name) + STAND_INS.get(kind, ""))
        path.chmod(0o755)

    def start(self, *arguments: str, uid: int = 0, **env: str) -> subprocess.Popen[str]:
        (self.root / "uid").write_text(str(uid))
        own = {
            "PATH": str(self.root / "usr/bin"),
            "LAB_SH_ROOT": str(self.root),
            "TMPDIR": str(self.root / "tmp"),
        }
        return subprocess.Popen(
            [self.home / "lab.sh", *arguments],
            cwd=self.cwd,
            env=own | env,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, uid: int = 0, **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, uid=uid, **env)
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err

    def calls(self, *of: str) -> list[str]:
        lines = (self.root / "calls").read_text().splitlines()
        return [line for line in lines if not of or line.split()[0] in of]

    def apt_installed(self) -> set[str]:
        """The packages of the one call that installed any."""
        installs = [c for c in self.calls("apt-get") if c != "apt-get update"]
        assert len(installs) <= 1
        return (
            set(installs[0].removeprefix(f"apt-get {APT_INSTALL}").split()) if installs else set()
        )

    def snapshot(self) -> dict[str, tuple[int, str]]:
        ignored = {self.root / "calls", self.root / "uid"}
        return {
            str(path): (path.lstat().st_mtime_ns, path.read_text() if path.is_file() else "")
            for path in self.root.rglob("*")
            if path not in ignored and not path.is_symlink()
        }


@pytest.fixture
def host(tmp_path: Path):
    def make(release: str = "debian", systemd: bool = False) -> Host:
        return Host(tmp_path / "host", release, systemd)

    return make


def debian(host, systemd: bool = False) -> Host:
    return host("debian", systemd).offer(TOOLS, LXD, PYTHON, KEYRING)


def ubuntu(host, release: str = "ubuntu", systemd: bool = True) -> Host:
    return host(release, systemd).offer(TOOLS, SNAPD, PYTHON, UBUNTU_KEYRING)


def ready(host, systemd: bool = False) -> Host:
    """A host on which a first start has installed everything; its calls are forgotten."""
    it = debian(host, systemd).install(TOOLS, LXD, PYTHON, KEYRING)
    assert it.run()[0] == 7
    (it.root / "calls").write_text("")
    return it


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


# --- installing ----------------------------------------------------------------------------------


def test_bare_debian_gets_everything_from_one_apt_call_and_the_lab_runs(host):
    it = debian(host)
    code, out, err = it.run("demo", "ramp up", "--json")
    assert code == 7, err
    assert out.splitlines() == [str(it.cwd), str(it.home), "demo", "ramp up", "--json"]
    assert it.apt_installed() == {*TOOLS, *LXD, *PYTHON, *KEYRING}
    assert it.calls("apt-get")[0] == "apt-get update"
    first, second = err.splitlines()
    assert first.startswith("lab.sh: installing haproxy (the load balancer), nftables (")
    assert second == "lab.sh: making .venv, once; this takes a minute"
    assert not list((it.root / "tmp").iterdir())


def test_bare_debian_without_systemd_gets_the_lxd_daemon_by_hand(host):
    it = debian(host)
    assert it.run()[0] == 7
    assert "lxd --group root" in it.calls("lxd")
    assert (it.root / "run/lab-lxd.pid").read_text().strip().isdigit()


def test_with_systemd_lxd_is_started_by_it_and_the_haproxy_service_is_off(host):
    it = debian(host, systemd=True)
    assert it.run()[0] == 7
    assert it.calls("systemctl") == ["systemctl disable --now haproxy", "systemctl start lxd"]
    assert "lxd --group root" not in it.calls()


def test_without_systemd_the_init_script_of_a_new_haproxy_is_stopped_and_off(host):
    it = debian(host).install({"": "etc/init.d/haproxy"}, {"": "usr/sbin/update-rc.d"})
    assert it.run()[0] == 7
    assert "haproxy stop" in it.calls()
    assert "update-rc.d haproxy disable" in it.calls()


def test_a_haproxy_that_was_there_keeps_its_service(host):
    it = debian(host, systemd=True).install({"haproxy": TOOLS["haproxy"]})
    assert it.run()[0] == 7
    assert it.calls("systemctl") == ["systemctl start lxd"]


@pytest.mark.parametrize("release", ["ubuntu", "mint"])
def test_bare_ubuntu_gets_lxd_as_a_snap(host, release):
    it = ubuntu(host, release)
    code, _, err = it.run()
    assert code == 7, err
    assert it.apt_installed() == {*TOOLS, *SNAPD, *PYTHON, *UBUNTU_KEYRING}
    assert it.calls("snap") == ["snap wait system seed.loaded", "snap install lxd"]
    assert "systemctl start lxd" not in it.calls()


def test_ubuntus_stub_in_sbin_is_not_taken_for_lxd(host):
    it = ubuntu(host).install(SNAPD, {"lxd-installer": "sbin/lxd"})
    assert it.run()[0] == 7
    assert "snap install lxd" in it.calls()
    assert "snapd" not in it.apt_installed()


def test_ubuntu_2204_gets_python_311(host):
    it = ubuntu(host, "jammy").offer(PYTHON_311).install(PYTHON).break_("python3")
    code, _, err = it.run()
    assert code == 7, err
    assert {*PYTHON_311} < it.apt_installed()
    assert f"python3.11 -m venv {it.home}/.venv" in it.calls()


def test_a_kernel_with_nfs_gets_the_server_and_its_module_is_loaded(host):
    it = debian(host, systemd=True).offer(NFS)
    module = it.root / "lib/modules/6.1/kernel/fs/nfsd/nfsd.ko.xz"
    module.parent.mkdir(parents=True)
    module.touch()
    (it.root / "proc/sys/kernel").mkdir(parents=True)
    (it.root / "proc/sys/kernel/osrelease").write_text("6.1\n")
    assert it.run()[0] == 7
    assert {*NFS} < it.apt_installed()
    assert it.calls("modprobe") == ["modprobe nfsd"]
    assert it.calls("systemctl")[-1] == "systemctl start nfs-server"


def test_a_kernel_with_apparmor_gets_its_parser_with_lxd(host):
    it = debian(host).offer({"apparmor": "usr/sbin/apparmor_parser"})
    (it.root / "sys/module/apparmor").mkdir(parents=True)
    assert it.run()[0] == 7
    assert "apparmor" in it.apt_installed()


def test_an_environment_made_under_sudo_belongs_to_the_caller(host):
    it = debian(host)
    assert it.run(SUDO_UID="1000", SUDO_GID="1001")[0] == 7
    assert it.calls("chown") == [f"chown -R -- 1000:1001 {it.home}/.venv"]


def test_two_starts_at_once_install_once(host):
    it = debian(host)
    both = [it.start(), it.start()]
    assert [process.communicate(timeout=20) and process.returncode for process in both] == [7, 7]
    assert it.apt_installed()
    assert len([call for call in it.calls("python3") if "-m venv" in call]) == 1
    assert it.calls("lxd").count("lxd --group root") == 1


# --- nothing to do -------------------------------------------------------------------------------


def test_a_second_start_installs_nothing_and_says_nothing(host):
    it = ready(host)
    before = it.snapshot()
    code, out, err = it.run("status")
    assert (code, err, it.calls()) == (7, "", ["lab status"])
    assert out.splitlines()[-1] == "status"
    assert it.snapshot() == before


def test_fedora_with_everything_present_runs_the_lab(host):
    it = host("fedora").install(TOOLS, LXD, PYTHON, KEYRING)
    assert it.run()[0] == 7
    assert not it.calls("apt-get")


def test_without_root_and_with_everything_present_the_lab_runs_and_no_daemon_is_started(host):
    it = ready(host)
    (it.root / "proc/net/unix").write_text("")
    assert it.run("sim", uid=1000)[0] == 7
    assert it.calls() == ["lab sim"]


def test_without_root_the_environment_alone_is_made(host):
    it = debian(host).install(TOOLS, LXD, PYTHON, KEYRING)
    assert it.run(uid=1000)[0] == 7
    assert not it.calls("apt-get")


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_a_text_needs_no_daemon(host, argument):
    it = ready(host)
    (it.root / "proc/net/unix").write_text("")
    assert it.run("load", argument)[0] == 7
    assert it.calls() == [f"lab load {argument}"]


def test_a_daemon_of_the_callers_own_is_left_alone(host):
    it = ready(host)
    (it.root / "proc/net/unix").write_text("")
    assert it.run(LXD_DIR="/srv/lxd")[0] == 7
    assert not it.calls("lxd")


def test_the_release_file_leaves_nothing_in_the_labs_environment(host):
    it = ready(host)
    (it.home / ".venv/bin/lab").write_text('#!/bin/bash\necho "${NAME:-nothing}"')
    assert it.run()[1] == "nothing\n"


def test_a_link_to_lab_sh_finds_its_checkout(host):
    it = ready(host)
    (it.cwd / "lab").symlink_to(it.home / "lab.sh")
    env = {"PATH": str(it.root / "usr/bin"), "LAB_SH_ROOT": str(it.root)}
    out = subprocess.run(["./lab"], cwd=it.cwd, env=env, capture_output=True, text=True).stdout
    assert out.splitlines() == [str(it.cwd), str(it.home)]


def test_the_test_command_is_pytest_in_the_checkout(host):
    it = ready(host)
    code, out, _ = it.run("test", "-k", "two words")
    assert (code, out.splitlines()) == (0, ["pytest", str(it.home), "-k", "two words"])


# --- the environment -----------------------------------------------------------------------------


def test_an_interrupted_environment_is_made_anew(host):
    it = debian(host).break_("pip")
    code, _, err = it.run()
    assert code == 1
    assert "ERROR: no network" in err
    assert "pip install failed" in err.splitlines()[-1]
    (it.home / ".venv/leftover").touch()
    (it.root / "fails/pip").unlink()
    assert it.run()[0] == 7
    assert not (it.home / ".venv/leftover").exists()


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_make_the_environment_anew(host, name):
    it = ready(host)
    (it.home / name).write_text("other")
    assert it.run()[0] == 7
    assert f"python3 -m venv {it.home}/.venv" in it.calls()


def test_a_moved_checkout_makes_the_environment_anew(host):
    it = ready(host)
    it.home = it.home.rename(it.root / "moved")
    assert it.run()[0] == 7
    assert f"python3 -m venv {it.home}/.venv" in it.calls()


def test_an_environment_whose_python_is_gone_is_made_anew(host):
    it = ready(host)
    (it.home / ".venv/bin/python").unlink()
    assert it.run()[0] == 7
    assert f"python3 -m venv {it.home}/.venv" in it.calls()


# --- refusals ------------------------------------------------------------------------------------


def test_fedora_is_told_what_to_install_by_hand(host):
    it = host("fedora")
    code, out, err = it.run()
    assert (code, out) == (2, "")
    line = only_line(err)
    assert "cannot install on The fedora release, only on Debian 12+ and Ubuntu 22.04+" in line
    for what in (*TOOLS, "lxd", "python3 >= 3.11"):
        assert f"{what} (" in line
    assert it.calls() == []


def test_a_debian_that_is_too_old_is_told_so(host):
    code, _, err = host("bullseye").run()
    assert code == 2
    assert "only on Debian 12+" in only_line(err)


def test_without_root_the_command_to_repeat_is_printed(host):
    it = debian(host).install(TOOLS, PYTHON, KEYRING)
    code, _, err = it.run("demo", uid=1000)
    assert code == 1
    assert only_line(err) == (
        f"lab.sh: missing: lxd (runs the containers); run: sudo {it.home}/lab.sh demo"
    )
    assert not it.calls("apt-get")


def test_a_debian_without_an_lxd_package_is_told_of_the_snap(host):
    it = host("sid").offer(TOOLS, PYTHON, KEYRING, {"incus": "usr/bin/incus"})
    code, _, err = it.run()
    assert code == 1
    assert "has no LXD package: install its snap (apt-get install snapd &&" in err.splitlines()[-1]
    assert it.apt_installed() == set()


def test_ubuntu_without_systemd_cannot_have_the_snap(host):
    it = ubuntu(host, systemd=False)
    code, _, err = it.run()
    assert code == 1
    assert "snaps need systemd" in only_line(err)
    assert not it.calls("apt-get")


def test_ubuntu_2204_without_universe_is_told_to_enable_it(host):
    it = ubuntu(host, "jammy")
    code, _, err = it.run()
    assert code == 1
    assert "enable universe" in err.splitlines()[-1]
    assert it.apt_installed() == set()


def test_a_python_that_stays_too_old_is_one_line(host):
    it = debian(host).break_("python3")
    code, _, err = it.run()
    assert code == 1
    assert err.splitlines()[-1].startswith("lab.sh: Python 3.11 or newer with its venv module")
    assert not (it.home / ".venv").exists()


def test_a_failing_apt_shows_its_last_lines_and_what_to_do(host):
    it = debian(host).break_("apt-get")
    code, _, err = it.run()
    assert code == 1
    lines = err.splitlines()
    assert lines[1:-1] == [f"line {n}" for n in range(12, 31)] + ["E: disk full"]
    assert "lab.sh: apt-get install failed: mend what it says above" in lines[-1]
    assert not (it.home / ".venv").exists()


def test_a_failing_update_is_said_and_the_lists_at_hand_are_used(host):
    it = debian(host).break_("update")
    code, _, err = it.run()
    assert code == 7
    assert "apt-get update failed" in err


def test_a_failing_snap_is_said(host):
    code, _, err = ubuntu(host).break_("snap").run()
    assert code == 1
    assert err.splitlines()[-2] == "error: store unreachable"
    assert "snap install lxd failed" in err.splitlines()[-1]


def test_a_daemon_that_does_not_come_up_is_said(host):
    it = ready(host).break_("lxd")
    (it.root / "proc/net/unix").write_text("")
    code, _, err = it.run()
    assert code == 1
    assert err.splitlines()[-2] == "Error: no cgroups"
    assert "the LXD daemon does not come up" in err.splitlines()[-1]


# --- dry run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_dry_run_on_bare_debian_says_all_and_changes_nothing(host, uid):
    it = debian(host)
    before = it.snapshot()
    code, out, err = it.run("--dry-run", "demo", uid=uid)
    assert (code, err) == (0, "")
    packages, venv, daemon = out.splitlines()
    assert set(packages.removeprefix("would install with apt-get: ").split()) == {
        *TOOLS, *LXD, *PYTHON, *KEYRING
    }  # fmt: skip
    assert venv == f"would make {it.home}/.venv from constraints.txt"
    assert daemon == "would start the LXD daemon"
    assert it.snapshot() == before
    assert {call.split()[0] for call in it.calls()} <= {"apt-cache", "python3"}


def test_a_dry_run_on_bare_ubuntu_names_the_snap(host):
    code, out, _ = ubuntu(host).run("--dry-run")
    assert code == 0
    assert "would install the lxd snap" in out.splitlines()


def test_a_dry_run_with_everything_present(host):
    it = ready(host)
    assert it.run("--dry-run") == (0, "nothing to install\n", "")
    assert it.calls() == []


def test_lab_sh_is_executable():
    assert os.access(CHECKOUT / "lab.sh", os.X_OK)
