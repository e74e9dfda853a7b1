// cc: -static -nostdlib -ffreestanding
// echo: writes what it reads, as it comes, and nothing else. It has no library: what a program's own start costs is on
// both servers' time (in a virtual machine, glibc's questions to the processor alone take as long as a server may).
#if defined(__x86_64__)
static long call(long number, long first, void *second, long third)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second), "d"(third) : "rcx", "r11", "memory");
	return result;
}
enum { READ = 0, WRITE = 1, EXIT = 60 };
#elif defined(__aarch64__)
static long call(long number, long first, void *second, long third)
{
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = first, x2 __asm__("x2") = third;
	register void *x1 __asm__("x1") = second;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}
enum { READ = 63, WRITE = 64, EXIT = 93 };
#else
#error "system calls of this processor are missing here"
#endif

void _start(void)
{
	static char bytes[1 << 16];
	long got, wrote = 1;
	while (wrote > 0 && (got = call(READ, 0, bytes, sizeof bytes)) > 0)
		for (long done = 0; done < got && wrote > 0; done += wrote)
			wrote = call(WRITE, 1, bytes + done, got - done);
	call(EXIT, wrote <= 0, 0, 0);
	__builtin_unreachable();
}
