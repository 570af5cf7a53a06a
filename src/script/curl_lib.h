/* SPDX-License-Identifier: MIT */
/*
 * libcurl, loaded at its first use: a daemon whose scripts call nobody does
 * not pay for it. Its headers are needed at build time, libcurl.so.4 at run
 * time. Any thread.
 */
#ifndef SCRIPT_CURL_LIB_H
#define SCRIPT_CURL_LIB_H

#include <curl/curl.h>

#define CURL_LIB_FUNCTIONS(X) \
	X(global_init) \
	X(easy_init) X(easy_cleanup) X(easy_setopt) X(easy_getinfo) \
	X(easy_strerror) \
	X(multi_init) X(multi_cleanup) X(multi_setopt) X(multi_add_handle) \
	X(multi_remove_handle) X(multi_socket_action) X(multi_info_read) \
	X(multi_assign) \
	X(mime_init) X(mime_free) X(mime_addpart) X(mime_data) X(mime_type) \
	X(mime_encoder) X(mime_subparts) X(mime_headers) \
	X(slist_append) X(slist_free_all) \
	X(url) X(url_cleanup) X(url_set) X(url_get) X(url_strerror) X(free)

struct curl_lib {
#define CURL_LIB_FIELD(name) __typeof__(curl_##name) *name;
	CURL_LIB_FUNCTIONS(CURL_LIB_FIELD)
#undef CURL_LIB_FIELD
};

/* NULL and a sentence in *why when it cannot be loaded. */
const struct curl_lib *curl_lib_get(const char **why);

#endif
