// talk PORT HOW …: WebSocket clients of a program that sends back every line. They check that it does, in order, and print
// what they saw as a line of JSON.
//
//   once COUNT                   one connection after the other, each until it has its first line back: median and p99
//   burst COUNT                  so many at once: the time until all have their first line back
//   echo CONNECTIONS WINDOW SECONDS   lines of 64 bytes, at most WINDOW of a connection under way: how many came back
//   hold COUNT                   open that many, one line each, and keep them until the input ends
//   churn COUNT                  open and close that many in turn, every second one without a word
//
// Who has one connection or a few looks for what comes and never waits in the kernel: waking another core is on the time of
// whoever sends to it, and in a virtual machine costs more than all that a server does.
#include "../live/live.h"
#include <poll.h>
#include <sys/epoll.h>

enum { LINE = 64, FRAME = 6 + LINE, ANSWER = 2 + LINE, WINDOW_MAX = 256, EVENTS = 64, HEAD = 1024, PATIENCE_MS = 20000 };

struct client {
	int fd;
	char open, answered;
	long sent, came;
	size_t length;
	char bytes[HEAD + WINDOW_MAX * ANSWER];
};

static int port, poller;
static struct client *clients;

static void fail(const char *why)
{
	fprintf(stderr, "%s: %s\n", why, strerror(errno));
	exit(1);
}

static void line_of(char *into, long number)
{
	char text[LINE + 1];
	snprintf(text, sizeof text, "%020ld the quick brown fox jumps over the lazy dog", number);
	memcpy(into, text, LINE);
}

// A frame that is masked with zeros, which leaves its payload as it is.
static size_t frame_of(char *into, long number)
{
	memcpy(into, "\x81\xc0\0\0\0\0", 6);
	line_of(into + 6, number);
	return FRAME;
}

static void send_all(struct client *client, const char *bytes, size_t length)
{
	for (ssize_t sent; length; bytes += sent, length -= sent) {
		struct pollfd room = {.fd = client->fd, .events = POLLOUT};
		if ((sent = send(client->fd, bytes, length, MSG_NOSIGNAL)) >= 0)
			continue;
		if (errno != EAGAIN || poll(&room, 1, PATIENCE_MS) <= 0)
			fail("a connection takes nothing");
		sent = 0;
	}
}

static void send_lines(struct client *client, long count)
{
	static char frames[WINDOW_MAX * FRAME];
	for (long i = 0; i < count; i++)
		frame_of(frames + i * FRAME, client->sent++);
	send_all(client, frames, count * FRAME);
}

static void open_client(struct client *client)
{
	client->sent = client->came = client->length = client->open = 0;
	if ((client->fd = connect_to(port, client - clients, 0)) < 0)
		fail("connect");
}

static void ask(struct client *client)
{
	char head[HEAD];
	int length = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\nUpgrade: websocket\r\n"
			      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", port, port);
	send_all(client, head, length);
}

// Takes the whole lines that are there; how many.
static long take_lines(struct client *client)
{
	size_t used = 0;
	long before = client->came;
	char wanted[ANSWER] = "\x81\x40";
	if (!client->open) {
		client->bytes[client->length] = 0;
		char *end = strstr(client->bytes, "\r\n\r\n");
		if (!end)
			return 0;
		if (strncmp(client->bytes + 8, " 101", 4)) {
			fprintf(stderr, "refused: %s\n", client->bytes);
			exit(1);
		}
		client->open = 1;
		used = end + 4 - client->bytes;
	}
	for (; client->length - used >= ANSWER; used += ANSWER, client->came++) {
		line_of(wanted + 2, client->came);
		if (memcmp(client->bytes + used, wanted, ANSWER)) {
			fprintf(stderr, "line %ld came back otherwise: %.*s\n", client->came, ANSWER, client->bytes + used);
			exit(1);
		}
	}
	memmove(client->bytes, client->bytes + used, client->length -= used);
	return client->came - before;
}

// Reads what is there; the lines that came with it.
static long read_lines(struct client *client)
{
	ssize_t got = recv(client->fd, client->bytes + client->length, sizeof client->bytes - 1 - client->length, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got <= 0)
		fail("a connection ended");
	client->length += got;
	return take_lines(client);
}

// Opens a connection and waits for its first line.
static void meet(struct client *client)
{
	long long end = now_ns() + PATIENCE_MS * 1000000LL;
	open_client(client);
	ask(client);
	while (!client->came) {
		read_lines(client);
		if (client->open && !client->sent)
			send_lines(client, 1);
		if (now_ns() > end)
			fail("no line comes back");
	}
}

static int ascending(const void *one, const void *other)
{
	double difference = *(const double *)one - *(const double *)other;
	return (difference > 0) - (difference < 0);
}

static void once(long count)
{
	double *times = calloc(count, sizeof *times);
	for (long i = 0; i < count; i++) {
		long long start = now_ns();
		meet(clients);
		times[i] = (now_ns() - start) / 1e6;
		close(clients->fd);
		// What the end of one takes is not on the time of the next.
		sleep_until(now_ns() + 2000000);
	}
	qsort(times, count, sizeof *times, ascending);
	printf("{\"median_ms\": %.4f, \"p99_ms\": %.4f}\n", times[count / 2], times[count * 99 / 100]);
}

static void watch(struct client *client)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
	epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event);
}

static int look(struct epoll_event *events, int wait_ms)
{
	long long end = now_ns() + PATIENCE_MS * 1000000LL;
	int ready;
	while (!(ready = epoll_wait(poller, events, EVENTS, wait_ms)))
		if (now_ns() > end)
			fail("nothing comes");
	return ready;
}

static void burst(long count)
{
	struct epoll_event events[EVENTS];
	long long start = now_ns();
	for (long i = 0; i < count; i++) {
		open_client(&clients[i]);
		ask(&clients[i]);
		watch(&clients[i]);
	}
	for (long done = 0; done < count;)
		for (int ready = look(events, PATIENCE_MS), i = 0; i < ready; i++) {
			struct client *client = events[i].data.ptr;
			done += read_lines(client);
			if (client->open && !client->sent)
				send_lines(client, 1);
		}
	printf("{\"seconds\": %.4f}\n", (now_ns() - start) / 1e9);
}

static void echo(long count, long window, long seconds)
{
	struct epoll_event events[EVENTS];
	long messages = 0;
	for (long i = 0; i < count; i++) {
		meet(&clients[i]);
		watch(&clients[i]);
	}
	long long start = now_ns(), end = start + seconds * 1000000000LL;
	for (long i = 0; i < count; i++)
		send_lines(&clients[i], window);
	while (now_ns() < end)
		for (int ready = look(events, 0), i = 0; i < ready; i++) {
			struct client *client = events[i].data.ptr;
			long came = read_lines(client);
			messages += came;
			send_lines(client, came);
		}
	printf("{\"messages\": %ld, \"seconds\": %.4f}\n", messages, (now_ns() - start) / 1e9);
	fflush(stdout);
	// They stay until the figures were taken.
	while (getchar() != EOF)
		;
}

static void hold(long count)
{
	for (long i = 0; i < count; i++)
		meet(&clients[i]);
	printf("{\"open\": %ld}\n", count);
	fflush(stdout);
	while (getchar() != EOF)
		;
}

// Says goodbye, and waits for the end.
static void leave(struct client *client)
{
	char bytes[HEAD];
	send_all(client, "\x88\x82\0\0\0\0\x03\xe8", 8);
	while (recv(client->fd, bytes, sizeof bytes, 0) > 0)
		;
}

static void churn(long count)
{
	for (long i = 0; i < count; i++) {
		meet(clients);
		if (i % 2)
			leave(clients);
		close(clients->fd);
	}
	printf("{\"done\": %ld}\n", count);
}

int main(int argc, char **arguments)
{
	const char *how = argc > 3 ? arguments[2] : "";
	long count = argc > 3 ? atol(arguments[3]) : 0;
	prepare_process();
	port = argc > 1 ? atoi(arguments[1]) : 0;
	clients = calloc(count, sizeof *clients);
	poller = epoll_create1(0);
	if (!strcmp(how, "once"))
		once(count);
	else if (!strcmp(how, "burst"))
		burst(count);
	else if (!strcmp(how, "echo") && argc == 6)
		echo(count, atol(arguments[4]), atol(arguments[5]));
	else if (!strcmp(how, "hold"))
		hold(count);
	else if (!strcmp(how, "churn"))
		churn(count);
	else
		return fprintf(stderr, "usage: talk PORT once|burst|hold|churn COUNT, talk PORT echo CONNECTIONS WINDOW SECONDS\n"), 1;
}
