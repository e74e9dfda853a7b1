// publish PORT PATH COUNT [options]: publishes that many messages by POST over one kept connection, one after the other.
// At the end it prints, as JSON, how many were acknowledged, how often one was repeated and how long it took.
//
//   -r RATE      so many a second, by the clock (as fast as they are answered); a message's time is when it was due, so that
//                a server that answers late gains nothing by it
//   -w WINDOW    so many requests in one write before their answers are read (1)
//   -n CHANNELS  `#` in PATH stands for 0 to CHANNELS-1, in turn (1)
//   -s SIZE      bytes of a message (128)
//   -p LETTER    which publisher this is, a to h (a)
//   -k PREFIX    each with an Idempotency-Key; repeated after 503, 504 and a broken connection until it is acknowledged
#include "live.h"

enum { BUFFER = 1 << 20, HEAD = 512, PAUSE_NS = 50000000 };

static const char *path, *prefix;
static long port, total, window = 1, channels = 1, size = 128, acknowledged, repeated, refused;
static double rate;
static char letter = 'a';
static int sock = -1;
static char requests[BUFFER], answers[BUFFER];
static size_t have;

static char *append_request(char *at, long number, long long time)
{
	char where[256], key[128] = "";
	fill_path(where, sizeof where, path, number % channels);
	if (prefix)
		snprintf(key, sizeof key, "Idempotency-Key: %s-%ld\r\n", prefix, number);
	at += snprintf(at, HEAD, "POST %s HTTP/1.1\r\nHost: bench\r\n%sContent-Length: %ld\r\n\r\n", where, key, size);
	memset(at, 'x', size);
	char stamp[64];
	snprintf(stamp, sizeof stamp, "T%019lld %c%09ld ", time, letter, number + 1);
	memcpy(at, stamp, size < STAMP ? size : STAMP);
	return at + size;
}

static int open_connection(void)
{
	have = 0;
	while ((sock = connect_to(port, 0, 0)) < 0) {
		if (!prefix)
			return 0;
		sleep_until(now_ns() + PAUSE_NS);
	}
	return 1;
}

// The status of the next answer, 0 if the connection broke.
static int read_answer(void)
{
	for (;;) {
		answers[have] = 0;
		char *end = strstr(answers, "\r\n\r\n");
		if (end) {
			*end = 0;
			char *length = strcasestr(answers, "\r\ncontent-length:");
			size_t whole = end + 4 - answers + (length ? atol(length + 17) : 0);
			*end = '\r';
			int status = atoi(answers + 9);
			if (have >= whole) {
				memmove(answers, answers + whole, have - whole);
				have -= whole;
				return status;
			}
		}
		ssize_t got = recv(sock, answers + have, BUFFER - 1 - have, 0);
		if (got <= 0)
			return 0;
		have += got;
	}
}

// Sends `bytes`, which hold `count` requests. How many of them were not acknowledged and should come again: all, or none.
static long exchange(const char *bytes, size_t length, long count)
{
	int status = 0, broken = 0;
	for (size_t sent = 0; sent < length && !broken;) {
		ssize_t some = send(sock, bytes + sent, length - sent, MSG_NOSIGNAL);
		broken = some <= 0;
		sent += broken ? 0 : some;
	}
	for (long i = 0; i < count && !broken; i++) {
		status = read_answer();
		broken = status == 0;
		if (status == 201 || status == 202)
			acknowledged++;
		else if (!broken && !(prefix && (status == 503 || status == 504))) {
			if (!refused++)
				fprintf(stderr, "an answer was %d\n", status);
		}
	}
	int again = broken || status == 503 || status == 504;
	if (broken) {
		close(sock);
		if (!open_connection() || !prefix) {
			fprintf(stderr, "the connection broke after %ld messages\n", acknowledged);
			exit(1);
		}
	}
	return prefix && again ? count : 0;
}

static void read_options(int argc, char **arguments)
{
	for (int option; (option = getopt(argc, arguments, "r:w:n:s:p:k:")) != -1;) {
		if (option == 'r')
			rate = atof(optarg);
		else if (option == 'w')
			window = atol(optarg);
		else if (option == 'n')
			channels = atol(optarg);
		else if (option == 's')
			size = atol(optarg);
		else if (option == 'p')
			letter = *optarg;
		else if (option == 'k')
			prefix = optarg;
	}
	if (argc - optind != 3 || window * (size + HEAD) > BUFFER || (prefix && window > 1)) {
		fprintf(stderr, "usage: publish [options] PORT PATH COUNT; see publish.c\n");
		exit(1);
	}
	port = atol(arguments[optind]);
	path = arguments[optind + 1];
	total = atol(arguments[optind + 2]);
}

int main(int argc, char **arguments)
{
	read_options(argc, arguments);
	prepare_process();
	if (!open_connection()) {
		perror("connect");
		return 1;
	}
	long long start = now_ns();
	for (long number = 0; number < total;) {
		long long due = rate > 0 ? start + (long long)(number * 1e9 / rate) : now_ns();
		sleep_until(due);
		long count = total - number < window ? total - number : window;
		char *end = requests;
		for (long i = 0; i < count; i++)
			end = append_request(end, number + i, due);
		while (exchange(requests, end - requests, count)) {
			repeated++;
			sleep_until(now_ns() + PAUSE_NS);
		}
		number += count;
	}
	printf("{\"acknowledged\": %ld, \"repeated\": %ld, \"refused\": %ld, \"seconds\": %.3f}\n", acknowledged, repeated, refused,
	       (now_ns() - start) / 1e9);
	return 0;
}
