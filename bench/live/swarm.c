// swarm PORT PATH COUNT KIND [SIZE]: that many subscribers in one process. KIND is ws, json (WebSocket with positions) or
// sse; `#` in PATH stands for a subscriber's number; messages have SIZE bytes (128). It parses just enough: it takes the
// times of messages, looks for gaps and repetitions in each publisher's count, and answers pings.
//
// When all are subscribed it prints `ready`. Commands on its input, a line each:
//   stat      print what was seen as a line of JSON
//   forget    forget the times and counts seen until now, not the publishers' last counts
//   cut       reset every connection at once and come back at once, from the last position
//   stop N    the first N stop reading
#include "live.h"
#include <sys/epoll.h>

enum { EVENTS = 512, AT_ONCE = 32, READ = 1 << 18, KEPT_MAX = 1 << 20, TICKS = 1 << 21, TICK_NS = 10000, LOOK_NS = 1000000, HEAD = 1024 };
enum state { CLOSED, ASKING, OPEN };

struct client {
	int fd;
	char state, asked, live, stopped, told;
	long long opened_at;
	char *kept;
	size_t kept_length;
	long last[PUBLISHERS];
	char position[64];
};

static int port, wanted, json, sse, poller, was_ready;
static long size = 128;
static const char *path;
static struct client *clients;
static unsigned times[TICKS];
static long asking, opened, live, messages, unstamped, gaps, doubled, resets, told, pings, closed, refused, retries;
static long long cut_at, opened_last, live_last;
static char bytes[KEPT_MAX + READ + 1];

static void close_client(struct client *client, int by_us)
{
	asking -= client->state == ASKING;
	opened -= client->state == OPEN;
	live -= client->live;
	closed += client->state == OPEN && !by_us;
	close(client->fd);
	free(client->kept);
	client->kept = NULL;
	client->kept_length = 0;
	client->state = CLOSED;
	client->live = 0;
}

static void open_client(struct client *client)
{
	while ((client->fd = connect_to(port, client - clients, SOCK_NONBLOCK)) < 0)
		retries++;
	client->state = ASKING;
	client->asked = 0;
	asking++;
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = client};
	epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event);
}

static void ask(struct client *client)
{
	char where[256], head[HEAD];
	fill_path(where, sizeof where, path, client - clients);
	const char *since = *client->position ? "?since=" : "";
	const char *how = sse ? "Accept: text/event-stream\r\n"
			      : "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
	int length = snprintf(head, HEAD, "GET %s%s%s HTTP/1.1\r\nHost: bench\r\n%s%s\r\n", where, since, client->position, how,
			      json ? "Sec-WebSocket-Protocol: rsp.json\r\n" : "");
	client->asked = send(client->fd, head, length, MSG_NOSIGNAL) == length;
}

static void count_message(struct client *client, const char *text, size_t length, long long at)
{
	messages++;
	if (!is_stamp(text, length)) {
		unstamped++;
		return;
	}
	long long sent_at = digits(text + 1, 10) * 1000000000LL + digits(text + 11, 9);
	long tick = (at - sent_at) / TICK_NS;
	times[tick < 0 ? 0 : tick < TICKS ? tick : TICKS - 1]++;
	long *last = &client->last[text[21] - 'a'], number = digits(text + 22, 9);
	if (number <= *last)
		doubled++;
	else if (number != *last + 1 && *last)
		gaps += number - *last - 1;
	*last = number > *last ? number : *last;
	if (!client->live && sent_at > client->opened_at) {
		client->live = 1;
		live++;
		live_last = at;
	}
}

// Where `text` begins behind `name` between `from` and `end`.
static const char *after(const char *from, const char *end, const char *name)
{
	const char *found = memmem(from, end - from, name, strlen(name));
	return found ? found + strlen(name) : NULL;
}

static void read_object(struct client *client, const char *from, const char *end, long long at)
{
	const char *position = after(from, end, "\"position\":\""), *data = after(from, end, "\"data\":\"");
	const char *quote = position ? memchr(position, '"', end - position) : NULL;
	if (after(from, end, "\"event\":\"reset\"")) {
		resets++;
		told += !client->told;
		client->told = 1;
	}
	if (quote && quote - position < (long)sizeof client->position) {
		memcpy(client->position, position, quote - position);
		client->position[quote - position] = 0;
	}
	if (data)
		count_message(client, data, end - data, at);
}

// A ping's answer must be masked; a mask of zeros leaves its payload as it is.
static void answer_ping(struct client *client, const char *payload, size_t length)
{
	char frame[6 + 125] = {(char)0x8a, (char)(0x80 | length)};
	memcpy(frame + 6, payload, length);
	send(client->fd, frame, 6 + length, MSG_NOSIGNAL);
	pings++;
}

// The bytes of the whole frame at `from`, 0 if it is not whole yet.
static size_t read_frame(struct client *client, const char *from, const char *end, long long at)
{
	const unsigned char *head = (const unsigned char *)from;
	if (end - from < 2)
		return 0;
	size_t length = head[1] & 127, start = length == 126 ? 4 : length == 127 ? 10 : 2;
	if ((size_t)(end - from) < start)
		return 0;
	if (start > 2)
		for (size_t i = 2, all = length = 0; i < start; i++)
			length = all = all << 8 | head[i];
	if ((size_t)(end - from) < start + length)
		return 0;
	int opcode = head[0] & 15;
	if (opcode == 9 && length <= 125)
		answer_ping(client, from + start, length);
	else if ((opcode == 1 || opcode == 2) && json)
		read_object(client, from + start, from + start + length, at);
	else if (opcode == 1 || opcode == 2)
		count_message(client, from + start, length, at);
	return start + length;
}

// The bytes up to the end of the data of the next event; 0 if they are not there yet.
static size_t read_event(struct client *client, const char *from, const char *end, long long at)
{
	const char *data = after(from, end, "data: ");
	if (!data || end - data < size)
		return 0;
	count_message(client, data, size, at);
	return data + size - from;
}

// Whether it is still open.
static int read_answer(struct client *client, size_t *used, size_t length, long long at)
{
	char *end = strstr(bytes, "\r\n\r\n");
	if (!end)
		return 1;
	if (strncmp(bytes + 8, sse ? " 200" : " 101", 4)) {
		if (!refused++)
			fprintf(stderr, "refused: %.*s\n", (int)length, bytes);
		close_client(client, 1);
		return 0;
	}
	*used = end + 4 - bytes;
	client->state = OPEN;
	client->opened_at = opened_last = at;
	asking--;
	opened++;
	return 1;
}

static void keep_rest(struct client *client, size_t used, size_t length)
{
	free(client->kept);
	client->kept = NULL;
	client->kept_length = length - used;
	if (length == used)
		return;
	if (length - used > KEPT_MAX || !(client->kept = malloc(length - used))) {
		fprintf(stderr, "a message of more than %d bytes\n", KEPT_MAX);
		exit(1);
	}
	memcpy(client->kept, bytes + used, length - used);
}

static void read_from(struct client *client, int ended)
{
	while (client->state != CLOSED && !client->stopped) {
		size_t length = client->kept_length, used = 0, step;
		if (length)
			memcpy(bytes, client->kept, length);
		ssize_t got = recv(client->fd, bytes + length, READ, 0);
		long long at = now_ns();
		// Of a connection before this one, if it is not connected.
		if (got < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return;
		if (got <= 0) {
			int again = client->state == ASKING;
			close_client(client, 0);
			retries += again;
			if (again)
				open_client(client);
			return;
		}
		length += got;
		bytes[length] = 0;
		if (client->state == ASKING && !read_answer(client, &used, length, at))
			return;
		while (client->state == OPEN && (step = (sse ? read_event : read_frame)(client, bytes + used, bytes + length, at)))
			used += step;
		keep_rest(client, used, length);
		// Edge-triggered: what comes later comes with an event of its own.
		if (got < READ && !ended)
			return;
	}
}

static double milliseconds(double part)
{
	unsigned long long all = 0, seen = 0;
	for (long i = 0; i < TICKS; i++)
		all += times[i];
	for (long i = 0; i < TICKS; i++)
		if (all && (seen += times[i]) >= part * all)
			return i * (TICK_NS / 1e6);
	return 0;
}

static void say_what_was_seen(void)
{
	long lowest[PUBLISHERS];
	for (int p = 0; p < PUBLISHERS; p++) {
		lowest[p] = clients[0].last[p];
		for (int i = 1; i < wanted; i++)
			lowest[p] = clients[i].last[p] < lowest[p] ? clients[i].last[p] : lowest[p];
	}
	printf("{\"open\": %ld, \"live\": %ld, \"messages\": %ld, \"unstamped\": %ld, \"gaps\": %ld, \"doubled\": %ld, ", opened, live,
	       messages, unstamped, gaps, doubled);
	printf("\"resets\": %ld, \"told\": %ld, \"pings\": %ld, \"closed\": %ld, \"refused\": %ld, \"retries\": %ld, ", resets, told, pings, closed, refused,
	       retries);
	printf("\"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f, ", milliseconds(0.5), milliseconds(0.99), milliseconds(1));
	printf("\"open_s\": %.3f, \"live_s\": %.3f, \"lowest\": [", (opened_last - cut_at) / 1e9, (live_last - cut_at) / 1e9);
	for (int p = 0; p < PUBLISHERS; p++)
		printf("%s%ld", p ? ", " : "", lowest[p]);
	printf("]}\n");
	fflush(stdout);
}

static void cut(void)
{
	cut_at = now_ns();
	for (int i = 0; i < wanted; i++)
		if (clients[i].state != CLOSED)
			close_client(&clients[i], 1);
	for (int i = 0; i < wanted; i++)
		open_client(&clients[i]);
}

static void obey(void)
{
	char line[64];
	if (!fgets(line, sizeof line, stdin))
		exit(0);
	if (!strncmp(line, "stat", 4))
		say_what_was_seen();
	else if (!strncmp(line, "forget", 6)) {
		memset(times, 0, sizeof times);
		messages = unstamped = 0;
	} else if (!strncmp(line, "cut", 3))
		cut();
	else if (!strncmp(line, "stop", 4))
		for (int i = 0; i < atoi(line + 4) && i < wanted; i++)
			clients[i].stopped = 1;
}

int main(int argc, char **arguments)
{
	if (argc < 5)
		return fprintf(stderr, "usage: swarm PORT PATH COUNT ws|json|sse [SIZE]\n"), 1;
	prepare_process();
	port = atoi(arguments[1]);
	path = arguments[2];
	wanted = atoi(arguments[3]);
	json = !strcmp(arguments[4], "json");
	sse = !strcmp(arguments[4], "sse");
	size = argc > 5 ? atol(arguments[5]) : size;
	clients = calloc(wanted, sizeof *clients);
	poller = epoll_create1(0);
	setvbuf(stdin, NULL, _IONBF, 0);
	struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
	epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
	for (int next = 0, ready = 0;;) {
		// At the start they come in turn; after a cut all at once.
		while (next < wanted && asking < AT_ONCE)
			open_client(&clients[next++]);
		// Who waited in epoll_wait() would be woken by the first of each burst's sends, on the sender's time. It looks
		// once a millisecond instead.
		if (ready < EVENTS)
			sleep_until(now_ns() + LOOK_NS);
		ready = epoll_wait(poller, events, EVENTS, 0);
		for (int i = 0; i < ready; i++) {
			struct client *client = events[i].data.ptr;
			if (!client) {
				obey();
				continue;
			}
			if (events[i].events & EPOLLOUT && client->state == ASKING && !client->asked)
				ask(client);
			int ended = events[i].events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP);
			if (ended || events[i].events & EPOLLIN)
				read_from(client, ended);
		}
		if (!was_ready && opened == wanted) {
			was_ready = 1;
			printf("ready\n");
			fflush(stdout);
		}
		if (refused && !was_ready)
			return 1;
	}
}
