#!/usr/bin/env bash
# Makes this host ready for the lab, then becomes the lab's command line.
#
#   sudo ./lab.sh demo         install what is missing, run the demo
#   sudo ./lab.sh test [...]   the project's tests; what follows goes to pytest
#   ./lab.sh --dry-run         say what would be installed and started, change nothing
#   ./lab.sh ANYTHING          the same as: lab ANYTHING
#
# A second start finds nothing to do and costs some 20 ms.
set -euo pipefail

# The tests put a small tree of stand-ins here; everywhere else it is empty.
root=${LAB_SH_ROOT:-}

say() { printf 'lab.sh: %s\n' "$*" >&2; } # stdout belongs to the lab (--json)

die() { # MESSAGE [EXIT_CODE]
  say "$1"
  exit "${2:-1}"
}

# --- what there is, and what is missing ----------------------------------------------------------

distribution() { # system (its name), codename, and family: debian, ubuntu (or derived) or other
  local id like number
  # In a subshell, so that the file's other variables stay out of the lab's environment.
  IFS='|' read -r id like number codename system < <(
    # shellcheck source=/dev/null
    [[ ! -r $root/etc/os-release ]] || . "$root/etc/os-release"
    echo "${ID:-}|${ID_LIKE:-}|${VERSION_ID:-99}|${UBUNTU_CODENAME:-${VERSION_CODENAME:-}}|${PRETTY_NAME:-this system}"
  )
  case " $id $like " in
    *' ubuntu '*) family=ubuntu keyring=ubuntu-keyring ;;
    *' debian '*) family=debian keyring=debian-archive-keyring ;;
    *) family=other keyring='an archive keyring' ;;
  esac
  case $id in # older releases have neither the Python nor the tools; sid has no number
    ubuntu) if ((${number%%.*} < 22)); then family=other; fi ;;
    debian) if ((${number%%.*} < 12)); then family=other; fi ;;
  esac
}

systemd_runs() { [[ -d $root/run/systemd/system ]]; }

find_lxd() { # by place: Ubuntu's /sbin/lxd is a stub that fetches the snap when it is called
  for lxd in "$root"{/usr/bin,/usr/local/bin,/snap/bin,/var/lib/snapd/snap/bin}/lxd; do
    if [[ -x $lxd ]]; then return; fi
  done
  return 1
}

nfs_is_loaded() {
  local filesystems=()
  if [[ -r $root/proc/filesystems ]]; then mapfile -t filesystems <"$root/proc/filesystems"; fi
  [[ "${filesystems[*]}" == *nfsd* ]]
}

kernel_serves_nfs() { # looks for the module's file, because modprobe may not be installed
  local release=none module
  if nfs_is_loaded; then return; fi
  if [[ -r $root/proc/sys/kernel/osrelease ]]; then
    read -r release <"$root/proc/sys/kernel/osrelease"
  fi
  for module in "$root/lib/modules/$release/kernel/fs/nfsd/nfsd.ko"*; do
    if [[ -e $module ]]; then return; fi
  done
  return 1
}

makes_venvs() { # PYTHON
  "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() { # the system's own first: it is the one that the distribution tests
  for python in python3 python3.{20..11}; do
    if command -v "$python" >/dev/null && makes_venvs "$python"; then return; fi
  done
  return 1
}

venv_stamp() { # where .venv is, what it must hold, and by which Python
  sha256sum -- "$home/pyproject.toml" "$home/constraints.txt"
  readlink -e -- "$home/.venv/bin/python" || true
}

venv_is_right() { # an interrupted installation has left no stamp
  [[ -r $home/.venv/.lab-stamp && $(<"$home/.venv/.lab-stamp") == "$(venv_stamp)" ]]
}

lack() { # PACKAGE WHY, in Debian's names
  packages+=("$1")
  reasons+=("$1 ($2)")
}

need() { # COMMAND PACKAGE WHY
  command -v "$1" >/dev/null || lack "$2" "$3"
}

survey() { # what is missing: packages and reasons, snap, venv
  packages=() reasons=() snap=false venv=false
  need haproxy haproxy 'the load balancer'
  need nft nftables "LXD's firewall rules"
  need mkfs.btrfs btrfs-progs 'clones that share blocks'
  need dnsmasq dnsmasq-base "LXD's bridge"
  need mmdebstrap mmdebstrap 'builds the template'
  need ab apache2-utils 'ab, for load'
  need ip iproute2 'addresses and neighbours'
  need ps procps 'processes'
  if [[ ! -e $root/usr/share/keyrings/debian-archive-keyring.gpg &&
    ! -e $root/usr/share/keyrings/ubuntu-archive-keyring.gpg ]]; then
    lack "$keyring" 'signs what the template is made of'
  fi
  if kernel_serves_nfs; then
    need modprobe kmod 'loads nfsd'
    need exportfs nfs-kernel-server 'the shared directory'
    need mount.nfs nfs-common 'the shared directory'
  fi
  find_lxd || lack_lxd
  if ! venv_is_right; then
    venv=true
    find_python || lack_python
  fi
}

lack_lxd() {
  if [[ $family == ubuntu ]]; then
    snap=true
    need snap snapd 'brings LXD'
    return
  fi
  lack lxd 'runs the containers'
  # LXD confines containers with AppArmor where the kernel has it and the parser is there.
  if [[ -d $root/sys/module/apparmor ]]; then
    need apparmor_parser apparmor 'confines the containers'
  fi
}

lack_python() { # Ubuntu 22.04's python3 is 3.10; it has 3.11 beside it, in universe
  local name=python3
  if [[ $family == other ]]; then
    lack 'python3 >= 3.11' 'with its venv module'
    return
  fi
  if [[ $codename == jammy ]]; then name=python3.11; fi
  lack "$name" 'runs the lab'
  lack "$name-venv" "the lab's own packages"
}

missing() { # on one line, each with its reason
  local what
  if $snap; then set -- 'the lxd snap (runs the containers)'; fi
  printf -v what '%s, ' "${reasons[@]}" "$@"
  echo "${what%, }"
}

lacks_packages() { ((${#packages[@]})) || $snap; }

is_missing() { [[ " ${packages[*]} " == *" $1 "* ]]; } # PACKAGE

# --- installing ----------------------------------------------------------------------------------

lock() { # the checkout itself: no lock file to leave behind or to own
  exec 9<"$home"
  if ! flock -n 9; then
    say 'another lab.sh is at work; waiting for it'
    flock 9
  fi
}

unlock() { exec 9<&-; }

logged() { "$@" >>"$log" 2>&1 </dev/null 9<&-; } # 9<&-: a daemon that it starts must not keep the lock

give_up() { # MESSAGE: with the end of what the failed command said
  tail -n 20 -- "$log" >&2
  die "$1 (all it said: $log)"
}

has_candidate() { # PACKAGE; asks without the cache files that apt would write
  [[ $(LC_ALL=C apt-cache -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= policy "$1") == *'Candidate: '[0-9]* ]]
}

refuse_where_impossible() {
  if [[ $family == other ]]; then
    die "cannot install on $system, only on Debian 12+ and Ubuntu 22.04+; install these by hand, then start again: $(missing)" 2
  fi
  if $snap && ! systemd_runs; then
    die "LXD on $system is a snap, and snaps need systemd: boot this machine with systemd, then start again"
  fi
}

refuse_without_candidates() { # asks for a second package too, because there may be no lists yet
  if is_missing lxd && ! has_candidate lxd && has_candidate incus; then
    die "$system has no LXD package: install its snap (apt-get install snapd && snap install lxd), then start again"
  fi
  if is_missing python3.11 && ! has_candidate python3.11 && has_candidate python3; then
    die 'Python 3.11 or newer is needed: enable universe (add-apt-repository universe), apt-get install python3.11 python3.11-venv, then start again'
  fi
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l # l: list services, restart none
  say "installing $(missing); this takes a minute or two"
  if ((${#packages[@]})); then
    # Somebody's broken package list is no reason to stop: the installation itself will tell.
    logged apt-get update || say 'apt-get update failed; trying with the lists that are here'
    refuse_without_candidates
    logged apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
      -o Dpkg::Options::=--force-confold "${packages[@]}" ||
      give_up 'apt-get install failed: mend what it says above (network? another package manager?), then start again'
    if is_missing haproxy; then keep_haproxy_service_off; fi
  fi
  if $snap; then
    logged snap wait system seed.loaded || true # a failure shows in the next command
    logged snap install lxd ||
      give_up 'snap install lxd failed: mend what it says above (network? snapd?), then start again'
  fi
}

keep_haproxy_service_off() { # only where we installed it: the lab runs a process of its own
  if systemd_runs; then
    logged systemctl disable --now haproxy || say "haproxy's own service could not be disabled"
  elif [[ -x $root/etc/init.d/haproxy ]]; then
    logged "$root/etc/init.d/haproxy" stop || true # it was not running, then
    logged update-rc.d haproxy disable || true
  fi
}

make_venv() {
  find_python ||
    die 'Python 3.11 or newer with its venv module is needed: install python3.11 and python3.11-venv, then start again'
  say 'making .venv, once; this takes a minute'
  rm -rf -- "$home/.venv" || die "cannot replace $home/.venv; run: sudo $0 $arguments"
  logged "$python" -m venv "$home/.venv" ||
    give_up "$python -m venv failed: mend what it says above, then start again"
  # Through the environment, constraints reach the build backend too; through -c they do not.
  (cd -- "$home" && PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt logged \
    .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]') ||
    give_up 'pip install failed: mend what it says above (network?), then start again'
  venv_stamp >"$home/.venv/.lab-stamp"
  if [[ -n ${SUDO_UID:-} ]]; then # made under sudo, for the one who called it
    chown -R -- "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$home/.venv"
  fi
}

install_what_is_missing() {
  if lacks_packages; then
    refuse_where_impossible
    ((uid == 0)) || die "missing: $(missing); run: sudo $0 $arguments"
  fi
  lock
  survey # another lab.sh may have installed it all meanwhile
  log=$(mktemp "${TMPDIR:-/tmp}/lab-install.XXXXXX")
  if lacks_packages; then install_packages; fi
  if $venv; then make_venv; fi
  rm -f -- "$log"
  unlock
}

# --- services ------------------------------------------------------------------------------------

lxd_listens() { # the file outlives its daemon, so the kernel's list of sockets is asked too
  local place=$root/var/lib/lxd
  if [[ $lxd == */snap/* ]]; then place=$root/var/snap/lxd/common/lxd; fi
  [[ -e $place/unix.socket ]] && grep -qsF -- " $place/unix.socket" "$root/proc/net/unix"
}

start_lxd() { # not with LXD_DIR: that is a daemon of somebody's own
  if [[ -n ${LXD_DIR:-} ]] || ! find_lxd || lxd_listens; then return; fi
  lock
  if lxd_listens; then
    : # by the lab.sh that we waited for
  elif systemd_runs; then
    if [[ $lxd == */snap/* ]]; then snap start lxd; else systemctl start lxd; fi ||
      die 'LXD does not start; see: journalctl -e'
    "$lxd" waitready --timeout 60 || die 'LXD has not come up in 60 s; see: journalctl -e'
  else
    start_lxd_by_hand
  fi
  unlock
}

start_lxd_by_hand() {
  local try log=$root/var/log/lab-lxd.log
  # setsid: Ctrl-C in this terminal is not meant for the daemon. 9<&-: nor is the lock.
  (
    ulimit -n 65536 2>/dev/null || true # many containers, many files
    exec setsid "$lxd" --group root
  ) >"$log" 2>&1 </dev/null 9<&- &
  echo $! >"$root/run/lab-lxd.pid"
  for ((try = 0; try < 60; try++)); do
    if "$lxd" waitready --timeout 1 2>/dev/null; then return; fi
    kill -0 $! 2>/dev/null || break
  done
  rm -f -- "$root/run/lab-lxd.pid"
  tail -n 20 -- "$log" >&2
  die "the LXD daemon does not come up; all it said: $log"
}

start_nfs() { # a failure is not ours to report: the lab shares the directory itself then, and says so
  local threads=0
  if ! kernel_serves_nfs; then return; fi
  nfs_is_loaded || modprobe nfsd 2>/dev/null || return 0
  if ! systemd_runs; then return; fi
  if [[ -r $root/proc/fs/nfsd/threads ]]; then read -r threads <"$root/proc/fs/nfsd/threads"; fi
  ((threads)) || systemctl start nfs-server || say 'the NFS server does not start; see: systemctl status nfs-server'
}

wants_services() { # ARGUMENTS: all commands but those that only print a text
  local argument
  for argument; do
    case $argument in --help | --version) return 1 ;; esac
  done
}

# --- what was asked for --------------------------------------------------------------------------

dry_run() {
  if lacks_packages; then
    refuse_where_impossible
    refuse_without_candidates
  fi
  if ((${#packages[@]})); then echo "would install with apt-get: ${packages[*]}"; fi
  if $snap; then echo 'would install the lxd snap'; fi
  if $venv; then echo "would make $home/.venv from constraints.txt"; fi
  lacks_packages || $venv || echo 'nothing to install'
  [[ -n ${LXD_DIR:-} ]] || { find_lxd && lxd_listens; } || echo 'would start the LXD daemon'
}

main() {
  local self=${BASH_SOURCE[0]}
  if [[ -L $self ]]; then self=$(readlink -f -- "$self"); fi
  if [[ $self != */* ]]; then self=./$self; fi
  home=$(CDPATH='' cd -- "${self%/*}" && pwd -P)
  uid=$(id -u)
  arguments=$*
  # A user's shell on Debian has no sbin, and sudo there has no /snap/bin.
  export PATH+=:$root/usr/local/sbin:$root/usr/sbin:$root/sbin:$root/snap/bin

  distribution
  survey
  if [[ ${1:-} == --dry-run ]]; then
    dry_run
    return
  fi
  if lacks_packages || $venv; then install_what_is_missing; fi
  if ((uid == 0)) && wants_services "$@"; then
    start_lxd
    start_nfs
  fi

  export LAB_HOME=$home
  if [[ ${1:-} == test ]]; then
    shift
    cd -- "$home"
    exec .venv/bin/python -m pytest "$@"
  fi
  exec "$home/.venv/bin/lab" "$@"
}

main "$@"
