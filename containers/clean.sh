#!/bin/sh
# Runs inside the template just before it is stopped: takes away what would make its clones twins.
set -eu
# Without /etc/hostname a container keeps the name that LXD gives it.
rm -f /etc/hostname /etc/ssh/ssh_host_*_key* /var/lib/dhcp/* /var/lib/systemd/random-seed
rm -rf /var/lib/systemd/network/* /var/lib/dbus/machine-id /var/log/journal/* /tmp/* /var/tmp/*
: >/etc/machine-id
