/* SPDX-License-Identifier: MIT */
#include "script/net_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/attr.h"
#include "base/str.h"

#define LINK_LOCAL "a link-local address"
#define METADATA "a cloud's metadata service"
#define MULTICAST "a multicast address"

struct net4 {
	uint32_t addr;
	int bits;
	const char *what;
};

static const struct net4 nets4[] = {
	{0xa9fe0000, 16, LINK_LOCAL},		/* 169.254.0.0/16 */
	{0x646464c8, 32, METADATA},		/* 100.100.100.200, Alibaba */
	{0xa83f8110, 32, METADATA},		/* 168.63.129.16, Azure */
	{0xc00000c0, 32, METADATA},		/* 192.0.0.192, Oracle */
	{0xe0000000, 4, MULTICAST},		/* 224.0.0.0/4 */
	{0xffffffff, 32, "the broadcast address"},
};

struct net6 {
	uint8_t addr[16];
	int bits;
	const char *what;
};

static const struct net6 nets6[] = {
	{{0xfe, 0x80}, 10, LINK_LOCAL},
	{{0xff}, 8, MULTICAST},
	/* fd00:ec2::254 (Amazon), fd20:ce::254 (Google) */
	{{0xfd, 0, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, 128, METADATA},
	{{0xfd, 0x20, 0, 0xce, [14] = 0x02, [15] = 0x54}, 128, METADATA},
};

/* IPv6 prefixes with an IPv4 address inside, and where. */
static const struct {
	uint8_t addr[16];
	int bits, at;
} carriers[] = {
	{{[10] = 0xff, [11] = 0xff}, 96, 12},		/* ::ffff:a.b.c.d */
	{{0}, 96, 12},					/* ::a.b.c.d */
	{{[8] = 0xff, [9] = 0xff}, 96, 12},		/* ::ffff:0:a.b.c.d */
	{{0, 0x64, 0xff, 0x9b}, 96, 12},		/* NAT64 */
	{{0x20, 0x02}, 16, 2},				/* 6to4 */
};

static bool
same_bits(const uint8_t *a, const uint8_t *b, int bits)
{
	int whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, (size_t)whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static const char *
refused4(uint32_t addr)
{
	size_t i;

	for (i = 0; i < nitems(nets4); i++)
		if ((addr ^ nets4[i].addr) >> (32 - nets4[i].bits) == 0)
			return nets4[i].what;
	return NULL;
}

static const char *
refused6(const uint8_t *addr)
{
	const char *what;
	size_t i;

	for (i = 0; i < nitems(nets6); i++)
		if (same_bits(addr, nets6[i].addr, nets6[i].bits))
			return nets6[i].what;
	for (i = 0; i < nitems(carriers); i++) {
		uint32_t v4;

		if (!same_bits(addr, carriers[i].addr, carriers[i].bits))
			continue;
		memcpy(&v4, addr + carriers[i].at, sizeof(v4));
		if ((what = refused4(ntohl(v4))))
			return what;
	}
	return NULL;
}

const char *
net_addr_refused(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return refused4(ntohl(((const struct sockaddr_in *)
		    (const void *)sa)->sin_addr.s_addr));
	if (sa->sa_family == AF_INET6)
		return refused6(((const struct sockaddr_in6 *)
		    (const void *)sa)->sin6_addr.s6_addr);
	return "no Internet address";
}

const char *
net_literal_refused(const char *host)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, host, &a4) == 1)
		return refused4(ntohl(a4.s_addr));
	if (inet_pton(AF_INET6, host, &a6) == 1)
		return refused6(a6.s6_addr);
	return NULL;
}

bool
net_host_allowed(char *const *globs, const char *host)
{
	size_t i, len = strlen(host);

	if (!globs || !globs[0])
		return true;
	for (i = 0; globs[i]; i++)
		if (str_glob(globs[i], strlen(globs[i]), host, len))
			return true;
	return false;
}

bool
net_host_listed(char *const *globs, const char *host)
{
	size_t i;

	for (i = 0; globs && globs[i]; i++)
		if (strcasecmp(globs[i], host) == 0)
			return true;
	return false;
}
