// cc: -pthread -lssl -lcrypto
// handshakes PORT NAME full|resumed SECONDS THREADS: TLS 1.3 handshakes for NAME, one after the other on each thread, no
//     request on any; `resumed` shows each time the ticket that the time before brought. It prints how many, and how many of
//     them the server resumed.
// handshakes PORT NAME hold COUNT: opens so many, makes a small request on each, says "ready", holds them until its input ends.
#include "../live/live.h"

#include <openssl/ssl.h>
#include <pthread.h>

struct client {
	pthread_t thread;
	SSL_CTX *context;
	SSL_SESSION *session; // the last one that the server gave a ticket for
	int resumes;
	long made, resumed;
};

static int port;
static const char *name;
static long long deadline;

static void fail(const char *what, SSL *ssl, int result)
{
	fprintf(stderr, "handshakes: %s: error %d, errno %d (%s)\n", what, ssl ? SSL_get_error(ssl, result) : 0, errno, strerror(errno));
	exit(1);
}

static int keep(SSL *ssl, SSL_SESSION *session)
{
	struct client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	SSL_SESSION_free(client->session);
	client->session = session;
	return 1;
}

static SSL_CTX *prepare(struct client *client)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) || !SSL_CTX_set1_groups_list(context, "X25519") ||
	    !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"))
		fail("OpenSSL", NULL, 0);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	if (client) {
		SSL_CTX_set_app_data(context, client);
		SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(context, keep);
	}
	return context;
}

static SSL *connected(SSL_CTX *context, SSL_SESSION *session, int number)
{
	int sock = connect_to(port, number, 0), result;
	SSL *ssl = SSL_new(context);
	if (sock < 0)
		fail("connect", NULL, 0);
	if (!ssl || !SSL_set_fd(ssl, sock) || !SSL_set_tlsext_host_name(ssl, name) || (session && !SSL_set_session(ssl, session)))
		fail("OpenSSL", NULL, 0);
	if ((result = SSL_connect(ssl)) != 1)
		fail("no handshake", ssl, result);
	return ssl;
}

// Says goodbye and reads until the server has gone, as the tickets come before that.
static void part(SSL *ssl)
{
	char rest[256];
	int sock = SSL_get_fd(ssl);
	SSL_shutdown(ssl);
	shutdown(sock, SHUT_WR);
	while (SSL_read(ssl, rest, sizeof rest) > 0)
		;
	SSL_free(ssl);
	close(sock);
}

static void *shake(void *argument)
{
	struct client *client = argument;
	while (now_ns() < deadline) {
		SSL *ssl = connected(client->context, client->resumes ? client->session : NULL, client->made);
		client->made++;
		client->resumed += SSL_session_reused(ssl);
		part(ssl);
	}
	return NULL;
}

static int measure(int resumes, double seconds, int count)
{
	struct client *clients = calloc(count, sizeof *clients);
	long made = 0, resumed = 0;
	for (int i = 0; i < count; i++) {
		clients[i].resumes = resumes;
		clients[i].context = prepare(&clients[i]);
		if (resumes)
			part(connected(clients[i].context, NULL, i));
	}
	// Who measures must not count those.
	printf("ready\n");
	fflush(stdout);
	getchar();
	long long began = now_ns();
	deadline = began + (long long)(seconds * 1e9);
	for (int i = 0; i < count; i++)
		pthread_create(&clients[i].thread, NULL, shake, &clients[i]);
	for (int i = 0; i < count; i++) {
		pthread_join(clients[i].thread, NULL);
		made += clients[i].made;
		resumed += clients[i].resumed;
	}
	printf("{\"handshakes\": %ld, \"resumed\": %ld, \"seconds\": %.3f}\n", made, resumed, (now_ns() - began) / 1e9);
	return 0;
}

static int hold(int count)
{
	static const char end[] = "\r\n\r\nabcdefghijklm";
	SSL_CTX *context = prepare(NULL);
	char request[256], answer[4096];
	int length = snprintf(request, sizeof request, "GET /small HTTP/1.1\r\nHost: %s\r\n\r\n", name);
	for (int i = 0; i < count; i++) {
		SSL *ssl = connected(context, NULL, i);
		int got = 0, more, size = sizeof end - 1;
		if ((more = SSL_write(ssl, request, length)) != length)
			fail("no request", ssl, more);
		while (got < size || memcmp(answer + got - size, end, size)) {
			if (got == sizeof answer || (more = SSL_read(ssl, answer + got, sizeof answer - got)) <= 0)
				fail("no answer", ssl, more);
			got += more;
		}
		if (memcmp(answer, "HTTP/1.1 200 ", 13))
			fail("another answer than 200", NULL, 0);
	}
	printf("ready\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

int main(int count, char **arguments)
{
	prepare_process();
	port = count > 3 ? atoi(arguments[1]) : 0;
	name = arguments[2];
	if (count == 5 && !strcmp(arguments[3], "hold"))
		return hold(atoi(arguments[4]));
	if (count == 6 && (!strcmp(arguments[3], "full") || !strcmp(arguments[3], "resumed")))
		return measure(arguments[3][0] == 'r', atof(arguments[4]), atoi(arguments[5]));
	return fprintf(stderr, "handshakes PORT NAME full|resumed SECONDS THREADS, or: PORT NAME hold COUNT\n"), 1;
}
