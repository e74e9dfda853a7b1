// What the programs here have in common: the clock, the way a socket is opened, and the form of a message.
//
// A message is T, nanoseconds of CLOCK_MONOTONIC in 19 digits, a space, a letter for the publisher, its count in 9 digits, a
// space, and as many x as its size asks for. The clock is the same in all processes of a machine.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { STAMP = 32, PUBLISHERS = 8 };

static inline long long now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static inline void sleep_until(long long at)
{
	struct timespec time = {at / 1000000000, at % 1000000000};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
		;
}

static inline void prepare_process(void)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	signal(SIGPIPE, SIG_IGN);
}

static inline long digits(const char *text, int count)
{
	long value = 0;
	for (int i = 0; i < count; i++)
		value = value * 10 + (text[i] - '0');
	return value;
}

static inline int is_stamp(const char *text, size_t length)
{
	return length >= STAMP && text[0] == 'T' && text[20] == ' ' && text[21] >= 'a' && text[21] < 'a' + PUBLISHERS;
}

// A socket that connects to 127.0.0.1:`port` from 10,000 ports of each address from 127.0.3.1 on, so that ports never run
// out. It ends with a reset, so that none of them lingers. Negative where the connection failed at once.
static inline int connect_to(int port, int number, int flags)
{
	int on = 1, sock = socket(AF_INET, SOCK_STREAM | flags, 0);
	struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	from.sin_addr.s_addr = htonl(0x7f000301 + number / 10000);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (sock < 0) {
		perror("socket");
		exit(1);
	}
	setsockopt(sock, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	setsockopt(sock, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (bind(sock, (struct sockaddr *)&from, sizeof from) ||
	    (connect(sock, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)) {
		close(sock);
		return -1;
	}
	return sock;
}

// `path` with the number in the place of its `#`.
static inline void fill_path(char *into, size_t size, const char *path, long number)
{
	const char *mark = strchr(path, '#');
	if (mark)
		snprintf(into, size, "%.*s%ld%s", (int)(mark - path), path, number, mark + 1);
	else
		snprintf(into, size, "%s", path);
}
