/* Copyright: (c) 2026, netops.underlay contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 *
 * Lets User-Mode Linux run on processors with AMX. It keeps 2,696 bytes of a process's floating point state and writes
 * those back; a kernel that knows AMX refuses less than the whole (EFAULT), and the guest dies at its first process.
 * Loaded in front of the C library, this writes what UML kept over the state as it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NT_X86_XSTATE 0x202

static long regset(long request, pid_t pid, struct iovec *state)
{
    return syscall(SYS_ptrace, request, pid, (void *)NT_X86_XSTATE, state);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    pid_t pid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE) {
        static char whole[65536] __attribute__((aligned(64)));
        struct iovec kept = *(struct iovec *)data, state = {whole, sizeof whole};
        long result = regset(PTRACE_GETREGSET, pid, &state);
        if (result)
            return result;
        memcpy(whole, kept.iov_base, kept.iov_len < state.iov_len ? kept.iov_len : state.iov_len);
        return regset(PTRACE_SETREGSET, pid, &state);
    }
    /* Peeking returns the word itself here as the C library does; the kernel stores it. */
    long word;
    int peeks = request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER;
    long result = syscall(SYS_ptrace, request, pid, address, peeks ? &word : data);
    if (result < 0 || !peeks)
        return result;
    errno = 0;
    return word;
}
