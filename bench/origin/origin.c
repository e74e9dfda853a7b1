// The origin of the bench: one thread, epoll, answers from memory, far cheaper than any proxy in front of it.
//
// origin PORT
//   GET /small          13 bytes              GET /100k, /1m      that much
//   GET /pattern/BYTES  bytes whose every position is known (bench/pattern.py computes the same)
//   Upgrade: …          101, then an echo of every byte
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 16 * 1024, EVENTS = 256, PERIOD = 65521, PIECE = 64 * 1024 };

struct connection {
	int fd, tunnel, closes, writing;
	size_t length;           // of what was read and not yet answered
	const char *out;         // the rest of the answer from memory
	size_t out_length;
	uint64_t pattern_left, pattern_at;
	char small[256];         // a head made for this answer
	char in[HEAD_MAX];
};

struct answer {
	char *bytes;
	size_t length;
};

static int poller;
static char pattern[PERIOD + PIECE];
// What the answer says of the connection; the first is HTTP/1.1's silence, the last is what HTTP/1.0 (ab) must hear.
enum { KEEPS, CLOSES, KEEPS_ALOUD, MANNERS };
static const char *manners[MANNERS] = {"", "Connection: close\r\n", "Connection: keep-alive\r\n"};
static struct answer small[MANNERS], medium[MANNERS], large[MANNERS], missing[MANNERS];

static struct answer make(const char *status, size_t body, int manner)
{
	char head[256];
	int length = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n",
			      status, body, manners[manner]);
	struct answer answer = {malloc(length + body), length + body};
	memcpy(answer.bytes, head, length);
	for (size_t i = 0; i < body; i++)
		answer.bytes[length + i] = 'a' + i % 26;
	return answer;
}

// Returns 0 if the connection is gone; sets `writing` if there is more than the socket takes.
static int flush(struct connection *c)
{
	c->writing = 1;
	for (;;) {
		if (c->out_length == 0 && c->pattern_left > 0) {
			c->out = pattern + c->pattern_at % PERIOD;
			c->out_length = c->pattern_left < PIECE ? c->pattern_left : PIECE;
			c->pattern_at += c->out_length;
			c->pattern_left -= c->out_length;
		}
		if (c->out_length == 0)
			break;
		ssize_t sent = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN;
		c->out += sent;
		c->out_length -= sent;
	}
	c->writing = 0;
	return !c->closes;
}

static void choose(struct connection *c, const char *head)
{
	struct answer *answer = missing;
	const char *path = strchr(head, ' ');
	path = path ? path + 1 : "";
	int old = strstr(head, " HTTP/1.0") != NULL, keeps = strcasestr(head, "\r\nconnection: keep-alive") != NULL;
	int manner = old ? keeps ? KEEPS_ALOUD : CLOSES : strcasestr(head, "\r\nconnection: close") ? CLOSES : KEEPS;
	c->closes = manner == CLOSES;
	if (strcasestr(head, "\r\nupgrade:")) {
		c->tunnel = 1;
		c->out = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
		c->out_length = strlen(c->out);
		return;
	}
	if (!strncmp(path, "/pattern/", 9)) {
		c->pattern_left = strtoull(path + 9, NULL, 10);
		c->pattern_at = 0;
		c->out_length = snprintf(c->small, sizeof c->small, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
					 (unsigned long long)c->pattern_left);
		c->out = c->small;
		return;
	}
	if (!strncmp(path, "/small ", 7))
		answer = small;
	else if (!strncmp(path, "/100k ", 6))
		answer = medium;
	else if (!strncmp(path, "/1m ", 4))
		answer = large;
	c->out = answer[manner].bytes;
	c->out_length = answer[manner].length;
}

// Answers the requests that are there whole. Returns 0 if the connection is gone.
static int answer_all(struct connection *c)
{
	while (!c->writing && !c->tunnel && c->length > 0) {
		char *end = memmem(c->in, c->length, "\r\n\r\n", 4);
		if (!end)
			return c->length < HEAD_MAX;
		*end = 0;
		choose(c, c->in);
		size_t used = end + 4 - c->in;
		memmove(c->in, c->in + used, c->length - used);
		c->length -= used;
		if (!flush(c))
			return 0;
	}
	if (c->tunnel && !c->writing && c->length > 0) {
		ssize_t sent = send(c->fd, c->in, c->length, MSG_NOSIGNAL);
		if (sent < 0 || (size_t)sent < c->length)
			return 0; // tunnels of the bench carry a few bytes each way
		c->length = 0;
	}
	return 1;
}

static int serve(struct connection *c, unsigned events)
{
	int was_writing = c->writing;
	if (events & (EPOLLERR | EPOLLHUP))
		return 0;
	if (c->writing && (!flush(c) || !answer_all(c)))
		return 0;
	if (!c->writing && (events & EPOLLIN)) {
		ssize_t got = recv(c->fd, c->in + c->length, HEAD_MAX - c->length, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			return 0;
		c->length += got > 0 ? got : 0;
		if (!answer_all(c))
			return 0;
	}
	if (c->writing != was_writing) {
		struct epoll_event event = {.events = c->writing ? EPOLLOUT : EPOLLIN, .data.ptr = c};
		epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
	}
	return 1;
}

static void accept_all(int listener)
{
	int fd, on = 1;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct connection *c = malloc(sizeof *c);
		memset(c, 0, offsetof(struct connection, small));
		c->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
		epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
	}
}

int main(int count, char **arguments)
{
	if (count != 2)
		return fprintf(stderr, "usage: origin PORT\n"), 1;
	signal(SIGPIPE, SIG_IGN);
	for (uint32_t i = 0; i < sizeof pattern; i++)
		pattern[i] = (uint32_t)(i % PERIOD) * 2654435761u >> 16;
	for (int manner = 0; manner < MANNERS; manner++) {
		small[manner] = make("200 OK", 13, manner);
		medium[manner] = make("200 OK", 100 * 1024, manner);
		large[manner] = make("200 OK", 1024 * 1024, manner);
		missing[manner] = make("404 Not Found", 10, manner);
	}

	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096))
		return perror("listen"), 3;
	poller = epoll_create1(0);
	struct epoll_event events[EVENTS], accepting = {.events = EPOLLIN, .data.ptr = NULL};
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &accepting);
	for (;;) {
		int ready = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < ready; i++) {
			struct connection *c = events[i].data.ptr;
			if (!c) {
				accept_all(listener);
			} else if (!serve(c, events[i].events)) {
				close(c->fd);
				free(c);
			}
		}
	}
}
