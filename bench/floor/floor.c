// The floor: a forwarder that parses nothing. One thread, epoll, one upstream connection for each client connection.
// What it costs a request is what the kernel takes for moving bytes through a process at all.
//
// floor LISTEN_PORT UPSTREAM_PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 64 * 1024, EVENTS = 256 };

// One end of a pair; `bytes` were read from it and wait for the other end to take them.
struct end {
	int fd;
	struct end *other;
	size_t start, length;
	int read_ended, dead;
	unsigned interest;
	char bytes[BUFFER];
};

static int poller;
static struct end *graveyard[2 * EVENTS];
static int buried;

static void want(struct end *end)
{
	unsigned interest = 0;
	if (!end->read_ended && end->length == 0)
		interest |= EPOLLIN;
	if (end->other->length > 0)
		interest |= EPOLLOUT;
	if (interest == end->interest)
		return;
	end->interest = interest;
	struct epoll_event event = {.events = interest, .data.ptr = end};
	epoll_ctl(poller, EPOLL_CTL_MOD, end->fd, &event);
}

static void bury(struct end *end)
{
	struct end *pair[] = {end, end->other};
	for (int i = 0; i < 2; i++) {
		if (pair[i]->dead)
			continue;
		pair[i]->dead = 1;
		close(pair[i]->fd);
		graveyard[buried++] = pair[i];
	}
}

static struct end *watch(int fd)
{
	struct end *end = malloc(sizeof *end);
	if (!end)
		abort();
	memset(end, 0, offsetof(struct end, bytes));
	end->fd = fd;
	end->interest = EPOLLIN;
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct epoll_event event = {.events = end->interest, .data.ptr = end};
	epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
	return end;
}

// Moves what `from` has to the other end. Returns 0 if the pair is gone.
static int push(struct end *from)
{
	while (from->length > 0) {
		ssize_t sent = send(from->other->fd, from->bytes + from->start, from->length, MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN || errno == ENOTCONN;
		from->start += sent;
		from->length -= sent;
	}
	if (from->read_ended)
		shutdown(from->other->fd, SHUT_WR);
	return 1;
}

static int pull(struct end *end)
{
	if (end->length > 0 || end->read_ended)
		return 1;
	ssize_t got = recv(end->fd, end->bytes, BUFFER, 0);
	if (got < 0)
		return errno == EAGAIN;
	end->start = 0;
	end->length = got;
	end->read_ended = got == 0;
	return push(end);
}

static int listen_on(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096)) {
		perror("listen");
		exit(3);
	}
	return fd;
}

static void accept_all(int listener, int upstream_port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(upstream_port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		if (client < 0)
			return;
		int upstream = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (upstream < 0 || (connect(upstream, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)) {
			close(client);
			if (upstream >= 0)
				close(upstream);
			continue;
		}
		struct end *a = watch(client), *b = watch(upstream);
		a->other = b;
		b->other = a;
	}
}

int main(int count, char **arguments)
{
	if (count != 3)
		return fprintf(stderr, "usage: floor LISTEN_PORT UPSTREAM_PORT\n"), 1;
	signal(SIGPIPE, SIG_IGN);
	poller = epoll_create1(0);
	int listener = listen_on(atoi(arguments[1]));
	struct epoll_event events[EVENTS], accepting = {.events = EPOLLIN, .data.ptr = NULL};
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &accepting);
	for (;;) {
		int ready = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < ready; i++) {
			struct end *end = events[i].data.ptr;
			if (!end) {
				accept_all(listener, atoi(arguments[2]));
				continue;
			}
			if (end->dead)
				continue;
			int alive = !(events[i].events & (EPOLLERR | EPOLLHUP));
			alive = alive && push(end->other) && (!(events[i].events & EPOLLIN) || pull(end));
			if (!alive || (end->read_ended && end->other->read_ended && !end->length && !end->other->length)) {
				bury(end);
				continue;
			}
			want(end);
			want(end->other);
		}
		while (buried > 0)
			free(graveyard[--buried]);
	}
}
