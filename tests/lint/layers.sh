#!/bin/sh
# SPDX-License-Identifier: MIT
# A file includes only its own folder and lower layers, and each library's
# headers are seen only by the files that are there to see them.
# The table here and the one in src/README.md say the same.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"

# The program is awk's, not the shell's.
# shellcheck disable=SC2016
find src plugins -name '*.[ch]' | LC_ALL=C sort | xargs awk '
BEGIN {
	# folder: what its files may include beside themselves
	may["base"] = "plugin.h"
	may["ds"] = "base"
	may["rt"] = "base ds"
	may["conf"] = "base ds plugin.h"
	may["journal"] = "base ds rt conf plugin.h"
	may["engine"] = "base ds conf journal plugin.h"
	may["keys"] = "base ds conf journal plugin.h"
	may["backend"] = "base ds conf journal engine keys plugin.h"
	may["cmd"] = "base ds conf backend plugin.h"
	may["script"] = \
	    "base ds conf rt backend cmd plugin.h front/resp_codec.h " \
	    "front/resp_sink.h"
	may["front"] = "base ds conf rt backend cmd plugin.h"
	may["boot"] = "base ds rt conf journal engine keys backend cmd script " \
	    "front plugin.h"
	may["ctl"] = \
	    "base conf plugin.h front/resp_codec.h script/dryrun.h " \
	    "script/spec.h"
	may["plugin.h"] = ""
	may["main.c"] = "boot base"

	# header: the folders or files that may include it
	pin["sqlite3.h"] = "src/journal/ src/ctl/ plugins/redis/"
	pin["lua.h"] = pin["lauxlib.h"] = pin["lualib.h"] = \
	    "src/script/ src/keys/eval plugins/skeleton/"
	pin["curl/"] = "src/script/curl_"
	pin["ev.h"] = "src/rt/ src/script/ src/boot/ plugins/http/ " \
	    "plugins/redis/"
	pin["microhttpd.h"] = "plugins/http/web_"
	pin["wslay/"] = "plugins/http/wsconn.c"
	pin["jansson.h"] = "plugins/http/"
	pin["zlib.h"] = "plugins/http/misc.c"
	pin["libconfig.h"] = "src/conf/"
	pin["systemd/"] = "src/rt/ src/boot/"
	pin["dlfcn.h"] = "src/front/plugin.c src/script/curl_lib.c"
	pin["hiredis/"] = "plugins/redis/"
	pin["openssl/ssl.h"] = "plugins/redis/tls.c"
	pin["uthash.h"] = "nobody"
}
function folder(file,    p) {
	split(file, p, "/")
	return p[2]
}
function bad(text) {
	printf "%s:%d: %s\n", FILENAME, FNR, text
	failed = 1
}
function check_own(name,    from, to, list, n, i) {
	from = folder(FILENAME)
	to = name
	sub("/.*", "", to)
	if (FILENAME ~ /^plugins\//) {
		if (to != from && name != "plugin.h")
			bad("a plugin may include plugin.h and its own " \
			    "folder, not " name)
		return
	}
	if (!(from in may)) {
		bad("the folder " from " has no row in this script")
		return
	}
	if (to == from)
		return
	n = split(may[from], list, " ")
	for (i = 1; i <= n; i++)
		if (list[i] == to || list[i] == name)
			return
	bad(from " may not include " name \
	    " (allowed: " from " " may[from] ")")
}
function check_pinned(name,    h, list, n, i) {
	for (h in pin) {
		if (index(name, h) != 1)
			continue
		n = split(pin[h], list, " ")
		for (i = 1; i <= n; i++)
			if (index(FILENAME, list[i]) == 1)
				return
		bad(name " belongs to: " pin[h])
	}
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
	match($0, /"[^"]*"/)
	check_own(substr($0, RSTART + 1, RLENGTH - 2))
}
/^[ \t]*#[ \t]*include[ \t]*</ {
	match($0, /<[^>]*>/)
	check_pinned(substr($0, RSTART + 1, RLENGTH - 2))
}
END { exit failed }
'
