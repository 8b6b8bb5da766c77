#!/bin/sh
# Installs consul-lite from the unpacked tarball this script lies in: binary, default configuration, and the
# service for systemd or procd, whichever runs this machine. Run again with a newer tarball to upgrade; what is in
# /etc/consul-lite.d is never overwritten. Starts nothing by itself, but starts again what runs.
#
#   ./install.sh               install or upgrade
#   ./install.sh --uninstall   remove all but configuration and state
#   DESTDIR=/some/root         into another root: files only
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

say() { echo "consul-lite: $*"; }
fail() { say "$*" >&2; exit 1; }
# OpenWrt has no install(1).
put() { # MODE FROM TO
	mkdir -p "$(dirname "$root$3")"
	cp "$2" "$root$3.new"
	chmod "$1" "$root$3.new"
	mv -f "$root$3.new" "$root$3"
}

if [ -n "$root" ]; then live=; else live=yes; fi
if [ -d "$root/run/systemd/system" ] || [ -d "$root/usr/lib/systemd/system" ]; then
	manager=systemd
elif [ -x "$root/sbin/procd" ]; then
	manager=procd
else
	manager=none
fi
[ -z "$live" ] || [ "$(id -u)" = 0 ] || fail "must be run as root"

unit=/usr/local/lib/systemd/system/consul-lite.service
stop() {
	case $manager in
		systemd) systemctl disable --now consul-lite.service 2>/dev/null || true ;;
		procd) /etc/init.d/consul-lite disable || true; /etc/init.d/consul-lite stop || true ;;
	esac
}

if [ "${1:-}" = --uninstall ]; then
	[ -z "$live" ] || stop
	rm -f "$root$unit" "$root/usr/local/lib/sysusers.d/consul-lite.conf" \
		"$root/usr/local/lib/tmpfiles.d/consul-lite.conf" "$root/etc/init.d/consul-lite" \
		"$root/lib/upgrade/keep.d/consul-lite" "$root/usr/bin/consul-lite"
	rm -rf "$root/usr/local/share/consul-lite"
	rm -f "$root/usr/local/share/man/man8/consul-lite.8"
	[ "$live$manager" != yessystemd ] || systemctl daemon-reload
	say "removed; /etc/consul-lite.d and the state directory stay"
	exit 0
fi
[ $# = 0 ] || fail "unknown argument $1"

[ -z "$live" ] || "$here/consul-lite" version >/dev/null 2>&1 ||
	fail "this binary is not for this processor ($(uname -m)); take another tarball"
put 755 "$here/consul-lite" /usr/bin/consul-lite

config=/etc/consul-lite.d/consul-lite.hcl
state=/var/lib/consul-lite
[ "$manager" != procd ] || state=/srv/consul-lite
fresh=
if [ -e "$root$config" ]; then
	say "$config is kept; the new default is $config.dist"
	config=$config.dist
else
	fresh=yes
fi
mkdir -p "$root/etc/consul-lite.d"
sed "s|^data_dir = .*|data_dir = \"$state\"|" "$here/consul-lite.hcl" >"$root$config"
chmod 640 "$root$config"
[ -z "$fresh" ] || chmod 750 "$root/etc/consul-lite.d"

case $manager in
	systemd)
		put 644 "$here/systemd/consul-lite.service" $unit
		put 644 "$here/systemd/sysusers.conf" /usr/local/lib/sysusers.d/consul-lite.conf
		put 644 "$here/systemd/tmpfiles.conf" /usr/local/lib/tmpfiles.d/consul-lite.conf
		put 644 "$here/consul-lite.8" /usr/local/share/man/man8/consul-lite.8
		for part in resolved dnsmasq; do
			put 644 "$here/systemd/$part/consul-lite.conf" "/usr/local/share/consul-lite/$part/consul-lite.conf"
		done
		if [ -n "$live" ]; then
			systemd-sysusers /usr/local/lib/sysusers.d/consul-lite.conf
			systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/consul-lite.conf
			systemctl daemon-reload
			systemctl try-restart consul-lite.service
		fi
		next="systemctl enable --now consul-lite"
		;;
	procd)
		put 755 "$here/openwrt/consul-lite.init" /etc/init.d/consul-lite
		put 644 "$here/openwrt/keep.d" /lib/upgrade/keep.d/consul-lite
		mkdir -p "$root$state"
		chmod 700 "$root$state"
		if [ -n "$live" ] && /etc/init.d/consul-lite running 2>/dev/null; then
			/etc/init.d/consul-lite restart
		fi
		next="/etc/init.d/consul-lite enable; /etc/init.d/consul-lite start"
		;;
	none)
		mkdir -p "$root$state"
		chmod 700 "$root$state"
		next="consul-lite agent -config-dir=/etc/consul-lite.d"
		say "neither systemd nor procd is here; no service was set up"
		;;
esac
[ -z "$fresh" ] || say "installed. Edit $config, then: $next"
[ -n "$fresh" ] || say "upgraded"
