#!/bin/bash
# Makes the two base images out of Debian packages, for a Debian machine that has a Docker engine and a package mirror
# but no image registry: Python with pip for the nodes, redis-server, and ip and ping to look around with.
# Run as root; without a change it ends at once, and then any user who may use Docker will do.
# Usage: make-base-images.sh [--force]
set -euo pipefail
export LC_ALL=C
umask 022                                          # docker/prepare's is 077, and nobody could run anything in the image
image=hubnet-base:local redis_image=hubnet-redis-base:local
packages="base-files base-passwd bash dash debianutils coreutils findutils grep sed mawk libc-bin usr-is-merged
  ca-certificates media-types tzdata procps iproute2 iputils-ping redis-server python3 python3-pip"
skip='^(adduser|debconf|dpkg.*|gcc-.*|init-system-helpers|lib.*-perl|libpam.*|libperl.*|perl.*|usrmerge)_'
trusted=/etc/ssl/certs/ca-certificates.crt         # what this machine trusts, pip in a build trusts

die() { echo "make-base-images.sh: $*" >&2; exit 1; }
force=
case "${1:-}" in "") ;; --force) force=1 ;; *) die "unknown argument '$1'; usage: make-base-images.sh [--force]" ;; esac
for tool in docker apt-get dpkg-deb chroot; do
  command -v $tool >/dev/null || die "$tool is missing: this needs a Debian machine with a Docker engine"
done
[ -r $trusted ] || die "$trusted is missing: apt-get install ca-certificates"

recipe=$(cat "$0" /etc/os-release $trusted | sha256sum | cut -c1-16)
recipe_of() { docker image inspect -f '{{index .Config.Labels "hubnet.recipe"}}' "$1" 2>/dev/null || true; }
if [ -z "$force" ] && [ "$(recipe_of $image)" = "$recipe" ] && [ "$(recipe_of $redis_image)" = "$recipe" ]; then
  echo "$image and $redis_image are current"; exit
fi
[ "$(id -u)" = 0 ] || die "run it as root: unpacking packages keeps their files' owners"
echo "making $image and $redis_image from Debian packages" >&2

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; root=$work/root
mkdir -p "$work/debs/partial" "$root"/{usr/{bin,sbin,lib,lib64,local},etc,proc,sys,dev/shm,run,root,tmp}
: >"$work/status"
for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done; chmod 1777 "$root"/tmp "$root"/dev/shm
fetch() {                                          # an empty status file: the whole closure, whatever is installed here
  # shellcheck disable=SC2086  # a list of words
  apt-get -qq -y --no-install-recommends --download-only -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
    -o Dir::State::status="$work/status" -o Dir::Cache::archives="$work/debs" install $packages >&2
}
fetch || { apt-get -qq update >&2; fetch; }
for deb in "$work"/debs/*.deb; do                  # unpacked, not configured: no maintainer script runs
  [[ ${deb##*/} =~ $skip ]] || dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink \
    --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
done
for f in passwd group; do cp "$root/usr/share/base-passwd/$f.master" "$root/etc/$f"; done
cp $trusted "$root$trusted"
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED  # as in the registry's python images
while read -r to name; do ln -sf "$to" "$root/usr/bin/$name"; done <<<$'python3 python\nmawk awk\ndash sh\nwhich.debianutils which'
chroot "$root" ldconfig
chroot "$root" python3 -m compileall -q -j 0 /usr/lib >&2 || true  # Debian ships files of other Python versions, too

old=$(docker image inspect -f '{{.Id}}' $image 2>/dev/null || true)
tar -C "$root" -c . | docker import -c "LABEL hubnet.recipe=$recipe" -c 'CMD ["python3"]' \
  -c "ENV LANG=C.UTF-8 PIP_CERT=$trusted" - $image >/dev/null
docker tag $image $redis_image
[ -z "$old" ] || docker image rm "$old" >/dev/null 2>&1 || true    # stays while an image made from it does
docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' $image
