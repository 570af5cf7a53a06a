/* SPDX-License-Identifier: MIT */
#include "redis/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "redis/mem.h"

struct rtls_context {
	SSL_CTX *ctx;
};

struct rtls {
	SSL *ssl;
	char *host;
};

static void
last_error(char why[BH_ERROR_TEXT], const char *what)
{
	unsigned long e = ERR_get_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	snprintf(why, BH_ERROR_TEXT, "%s: %s", what, reason ? reason :
	    errno ? strerror(errno) : "the connection was closed");
}

struct rtls_context *
rtls_context_new(const char *ca_file, char err[BH_ERROR_TEXT])
{
	struct rtls_context *c = mem_new(sizeof(*c));
	int ok;

	ERR_clear_error();
	errno = 0;
	c->ctx = mem_checked(SSL_CTX_new(TLS_client_method()));
	SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (*ca_file)
		ok = SSL_CTX_load_verify_locations(c->ctx, ca_file, NULL);
	else
		ok = SSL_CTX_set_default_verify_paths(c->ctx);
	if (ok)
		return c;
	snprintf(err, BH_ERROR_TEXT, "backend.ca_file: '%.150s' has no"
	    " certificates in PEM format that can be read",
	    *ca_file ? ca_file : "the system's store");
	rtls_context_free(&c);
	return NULL;
}

void
rtls_context_free(struct rtls_context **cp)
{
	struct rtls_context *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	SSL_CTX_free(c->ctx);
	free(c);
}

/* A name is asked for by SNI and looked for among the names of the
 * certificate, a literal address among its addresses. */
struct rtls *
rtls_new(struct rtls_context *c, int fd, const char *host)
{
	struct rtls *t = mem_new(sizeof(*t));
	unsigned char ip[16];

	t->host = mem_str(host);
	t->ssl = mem_checked(SSL_new(c->ctx));
	SSL_set_fd(t->ssl, fd);
	SSL_set_connect_state(t->ssl);
	if (inet_pton(AF_INET, host, ip) == 1 ||
	    inet_pton(AF_INET6, host, ip) == 1) {
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host);
	} else {
		SSL_set_tlsext_host_name(t->ssl, t->host);
		SSL_set1_host(t->ssl, host);
		SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	}
	return t;
}

void
rtls_free(struct rtls **tp)
{
	struct rtls *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	SSL_free(t->ssl);
	free(t->host);
	free(t);
}

static void
certificate_error(struct rtls *t, long v, char why[BH_ERROR_TEXT])
{
	const char *hint = "";

	if (v == X509_V_ERR_HOSTNAME_MISMATCH ||
	    v == X509_V_ERR_IP_ADDRESS_MISMATCH)
		hint = "; use a name or an address that the certificate has";
	else if (v == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
	    v == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
	    v == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	    v == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE)
		hint = "; name the file of the authority that signed it in"
		    " backend.ca_file";
	else if (v == X509_V_ERR_CERT_HAS_EXPIRED ||
	    v == X509_V_ERR_CERT_NOT_YET_VALID)
		hint = "; renew it, or set this machine's clock";
	snprintf(why, BH_ERROR_TEXT, "the certificate of '%.60s' is refused:"
	    " %s%s", t->host, X509_verify_cert_error_string(v), hint);
}

/* What the call's result means for the caller. */
static int
judge(struct rtls *t, int rc, char why[BH_ERROR_TEXT], const char *what)
{
	int e = SSL_get_error(t->ssl, rc);

	if (e == SSL_ERROR_WANT_READ)
		return RTLS_READ;
	if (e == SSL_ERROR_WANT_WRITE)
		return RTLS_WRITE;
	if (e == SSL_ERROR_ZERO_RETURN)
		return 0;
	last_error(why, what);
	return RTLS_FAILED;
}

int
rtls_handshake(struct rtls *t, char why[BH_ERROR_TEXT])
{
	int rc;
	long v;

	ERR_clear_error();
	errno = 0;
	rc = SSL_do_handshake(t->ssl);
	if (rc == 1)
		return 1;
	rc = judge(t, rc, why, "TLS: the server does not agree (is it a"
	    " port with TLS?)");
	v = SSL_get_verify_result(t->ssl);
	if (rc == RTLS_FAILED && v != X509_V_OK)
		certificate_error(t, v, why);
	if (rc == 0)
		snprintf(why, BH_ERROR_TEXT, "TLS: the server has closed the"
		    " connection");
	return rc == 0 ? RTLS_FAILED : rc;
}

ssize_t
rtls_read(struct rtls *t, void *buf, size_t size, char why[BH_ERROR_TEXT])
{
	size_t n = 0;

	ERR_clear_error();
	errno = 0;
	if (SSL_read_ex(t->ssl, buf, size, &n))
		return (ssize_t)n;
	return judge(t, 0, why, "TLS");
}

ssize_t
rtls_write(struct rtls *t, const void *buf, size_t size,
    char why[BH_ERROR_TEXT])
{
	size_t n = 0;
	int rc;

	ERR_clear_error();
	errno = 0;
	if (SSL_write_ex(t->ssl, buf, size, &n))
		return (ssize_t)n;
	rc = judge(t, 0, why, "TLS");
	if (rc == 0)
		snprintf(why, BH_ERROR_TEXT, "the server has closed the"
		    " connection");
	return rc == 0 ? RTLS_FAILED : rc;
}

bool
rtls_pending(const struct rtls *t)
{
	return SSL_pending(t->ssl) > 0;
}
