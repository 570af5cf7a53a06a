# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
#
# `./setup deb`: sourced by setup, whose functions and variables it uses. Builds
# the Debian packages twice, in two places, and compares; then looks at them
# with lintian and at the unit with systemd-analyze. With --next it builds them
# once, as a newer version to upgrade to.

# deb_source DIR: what belongs to the source, and nothing that was built.
deb_source()
{
	rm -rf "$1"
	mkdir -p "$1"
	if [ -e "$top/.git" ] && command -v git > /dev/null; then
		git -C "$top" ls-files -z |
		    tar -C "$top" --null --verbatim-files-from -T - -cf - |
		    tar -C "$1" -xf -
	else
		tar -C "$top" --exclude=./build --exclude=./autom4te.cache \
		    -cf - . | tar -C "$1" -xf -
	fi
}

# deb_build DIR [BUILD_OPTIONS]: the packages come to lie in DIR.
deb_build()
{
	deb_source "$1/bellhop"
	cd "$1/bellhop"
	run_logged "$1/build.log" env DEB_BUILD_OPTIONS="parallel=$jobs ${2:-}" \
	    dpkg-buildpackage -b -us -uc
	cd "$top"
}

deb_same()
{
	local deb other

	for deb in "$1"/*.deb; do
		case $deb in
		*-dbgsym_*) continue ;;
		esac
		other=$2/$(basename "$deb")
		cmp -s "$deb" "$other" ||
			die "not reproducible: $deb and $other differ"
	done
	say "reproducible: two builds are the same, byte for byte"
}

# The unit with both of its variants: nothing may open it unnoticed.
deb_exposure()
{
	local dir=$build/deb/unit

	rm -rf "$dir"
	mkdir -p "$dir"
	dpkg-deb -x "$build"/deb/one/bellhop_*.deb "$dir/root"
	cp "$dir"/root/lib/systemd/system/bellhop* "$dir"
	systemd-analyze security --offline=true --no-pager --threshold=11 \
	    "$dir/bellhop.service" | tail -n 1 ||
		die "the exposure of bellhop.service is above 1.1"
	mkdir "$dir/bellhop.service.d"
	cp "$dir/root/usr/share/bellhop/systemd/local-only.conf" \
	    "$dir/bellhop.service.d"
	systemd-analyze security --offline=true --no-pager --threshold=9 \
	    "$dir/bellhop.service" | tail -n 1 ||
		die "its exposure with local-only.conf is above 0.9"
}

# The same tree as a newer version, for debian/tests/upgrade.
deb_next()
{
	local dir=$build/deb/next

	say "building the next version in $dir"
	rm -rf "$dir"
	deb_source "$dir/bellhop"
	sed -i '1s/(\([^)]*\))/(\1+1)/' "$dir/bellhop/debian/changelog"
	cd "$dir/bellhop"
	run_logged "$dir/build.log" env \
	    DEB_BUILD_OPTIONS="parallel=$jobs nocheck" \
	    dpkg-buildpackage -b -us -uc
	cd "$top"
	rm -rf "$dir/bellhop"
	ls -l "$dir"/bellhop_*.deb
}

deb_all()
{
	say "building the packages in $build/deb/one"
	deb_build "$build/deb/one" nocheck
	say "again, in $build/deb/two"
	deb_build "$build/deb/two" nocheck
	deb_same "$build/deb/one" "$build/deb/two"
	say "lintian"
	lintian --allow-root --fail-on error,warning \
	    "$build"/deb/one/*.changes || die "lintian has complaints"
	say "systemd-analyze security"
	deb_exposure
	rm -rf "$build/deb/two" "$build/deb/unit" "$build/deb/one/bellhop"
	cp "$build"/deb/one/*.deb "$build/deb"
	say "done:"
	ls -l "$build"/deb/*.deb
}
