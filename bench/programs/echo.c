// echo: writes what it reads, as it comes, and nothing else: what remains of a program when only its pipes are left.
#include <unistd.h>

int main(void)
{
	static char bytes[1 << 16];
	ssize_t got;
	while ((got = read(STDIN_FILENO, bytes, sizeof bytes)) > 0)
		for (ssize_t done = 0, wrote; done < got; done += wrote)
			if ((wrote = write(STDOUT_FILENO, bytes + done, got - done)) <= 0)
				return 1;
}
