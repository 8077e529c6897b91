/* Plugin for qemu-aarch64: counts executed guest instructions.
 *
 * Whenever the guest calls getsid, which neither Python nor onnxruntime does on its own, the
 * instructions executed until then, by all threads, are appended to the file named by out=FILE,
 * one decimal number per line. Instructions are counted per translation block, as it is entered.
 *
 * arm64-root.sh compiles this; distributions do not package qemu's header, so what is needed of
 * its interface is declared here. API_VERSION is 1 up to qemu 8, 2 from qemu 9 on.
 */

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#ifndef API_VERSION
#define API_VERSION 1
#endif

#define GETSID 156 /* system call number on aarch64 */
#define MAX_THREADS 1024

struct qemu_plugin_tb;
typedef void on_translation(uint64_t plugin, struct qemu_plugin_tb *block);
typedef void on_execution(unsigned int thread, void *data);
typedef void on_system_call(uint64_t plugin, unsigned int thread, int64_t number, uint64_t, uint64_t, uint64_t,
                            uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, on_translation *callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, on_execution *callback, int flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(uint64_t plugin, on_system_call *callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

int qemu_plugin_version = API_VERSION;

static uint64_t executed[MAX_THREADS];
static FILE *out;

static void count(unsigned int thread, void *instructions)
{
    if (thread < MAX_THREADS)
        executed[thread] += (uintptr_t)instructions;
}

static void translated(uint64_t plugin, struct qemu_plugin_tb *block)
{
    (void)plugin;
    qemu_plugin_register_vcpu_tb_exec_cb(block, count, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void called(uint64_t plugin, unsigned int thread, int64_t number, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    uint64_t sum = 0;
    (void)plugin, (void)thread, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number != GETSID)
        return;
    for (size_t i = 0; i < MAX_THREADS; i++)
        sum += executed[i];
    fprintf(out, "%" PRIu64 "\n", sum);
    fflush(out);
}

int qemu_plugin_install(uint64_t plugin, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "w");
    if (!out)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated);
    qemu_plugin_register_vcpu_syscall_cb(plugin, called);
    return 0;
}
