#!/bin/sh
# Runs once, as root, inside the template. /opt/lab holds this directory's files.
set -eu

if ! command -v python3 >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-minimal libpython3-stdlib
fi

install -m 0644 /opt/lab/systemd/*.service /etc/systemd/system/
systemctl enable --now lab-web.service

# A web server needs no login, no DHCP (its address is set from outside), no clock of its own and
# no nightly jobs. Masking what is not installed does no harm.
systemctl mask --quiet \
    console-getty.service getty.target systemd-logind.service systemd-networkd.service \
    systemd-networkd.socket systemd-resolved.service systemd-timesyncd.service \
    systemd-networkd-wait-online.service networking.service ssh.service cron.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    man-db.timer motd-news.timer logrotate.timer unattended-upgrades.service snapd.service \
    snapd.socket cloud-init-local.service cloud-init.service cloud-config.service \
    cloud-final.service
