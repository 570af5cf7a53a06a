/* SPDX-License-Identifier: MIT */
/* src/script/net_guard.c: which hosts and addresses scripts may reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/attr.h"
#include "script/net_guard.h"

static const char *
refused(const char *text)
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
	struct sockaddr_in a4 = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &a4.sin_addr) == 1)
		return net_addr_refused((struct sockaddr *)&a4);
	assert_int_equal(inet_pton(AF_INET6, text, &a6.sin6_addr), 1);
	return net_addr_refused((struct sockaddr *)&a6);
}

static void
test_addresses_that_no_script_reaches(void **state)
{
	static const char *const rows[] = {"169.254.0.0", "169.254.169.254",
	    "169.254.255.255", "100.100.100.200", "168.63.129.16",
	    "192.0.0.192", "224.0.0.1", "239.255.255.255", "255.255.255.255",
	    "fe80::1", "febf:ffff::1", "ff02::1", "fd00:ec2::254",
	    "fd20:ce::254", "::ffff:169.254.169.254", "::169.254.169.254",
	    "::ffff:0:169.254.169.254", "64:ff9b::169.254.169.254",
	    "2002:a9fe:a9fe::1", "::ffff:100.100.100.200"};
	size_t i;

	(void)state;
	for (i = 0; i < nitems(rows); i++) {
		if (!refused(rows[i]))
			fail_msg("%s is let through", rows[i]);
		assert_non_null(net_literal_refused(rows[i]));
	}
}

static void
test_addresses_of_ones_own_network_are_fine(void **state)
{
	static const char *const rows[] = {"127.0.0.1", "10.0.0.1",
	    "192.168.1.1", "172.16.0.9", "169.253.255.255", "169.255.0.0",
	    "100.100.100.201", "192.0.0.193", "223.255.255.255", "8.8.8.8",
	    "::1", "fd00:ec2::253", "fd12::1", "fec0::1", "2001:db8::1",
	    "::ffff:127.0.0.1", "64:ff9b::8.8.8.8", "2002:0808:0808::1"};
	size_t i;

	(void)state;
	for (i = 0; i < nitems(rows); i++) {
		if (refused(rows[i]))
			fail_msg("%s is refused: %s", rows[i],
			    refused(rows[i]));
		assert_null(net_literal_refused(rows[i]));
	}
}

static void
test_other_families_are_refused(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	(void)state;
	assert_non_null(net_addr_refused((struct sockaddr *)&un));
	assert_null(net_literal_refused("example.org"));
}

static void
test_hosts_by_pattern(void **state)
{
	char *none[] = {NULL};
	char *some[] = {"*.example.org", "10.0.0.?", "fd00::9", NULL};

	(void)state;
	assert_true(net_host_allowed(none, "anything"));
	assert_true(net_host_allowed(NULL, "anything"));
	assert_true(net_host_allowed(some, "api.example.org"));
	assert_false(net_host_allowed(some, "example.org"));
	assert_false(net_host_allowed(some, "api.example.org.evil"));
	assert_true(net_host_allowed(some, "10.0.0.7"));
	assert_false(net_host_allowed(some, "10.0.0.77"));
	assert_true(net_host_listed(some, "fd00::9"));
	assert_false(net_host_listed(some, "api.example.org"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_that_no_script_reaches),
		cmocka_unit_test(test_addresses_of_ones_own_network_are_fine),
		cmocka_unit_test(test_other_families_are_refused),
		cmocka_unit_test(test_hosts_by_pattern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
