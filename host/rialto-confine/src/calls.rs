//! The few system calls that a cell needs, and no others (seccomp).
//!
//! Everything else fails with "operation not permitted" instead of ending the process: a library that
//! asks for more than it needs goes on without. Calls that are needed for one purpose and dangerous for
//! another are allowed with the arguments of the first alone.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Rules by the number of the system call.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Takes all other system calls from this thread and those that it starts; says so, or nothing on a
/// machine or kernel that cannot.
///
/// # Errors
/// The filter is refused by a kernel that has filters.
pub(crate) fn allow_few() -> io::Result<Option<String>> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(None);
    };
    let programs = programs(arch).map_err(io::Error::other)?;
    for program in &programs {
        match seccompiler::apply_filter(program) {
            Ok(()) => {}
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(Some(
        "no system calls but for memory, threads, clocks, randomness and open sockets".to_owned(),
    ))
}

fn is_missing(error: &seccompiler::Error) -> bool {
    let seccompiler::Error::Seccomp(error) = error else {
        return false;
    };
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS))
}

fn programs(arch: TargetArch) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let refused = |code: i32| SeccompAction::Errno(u32::try_from(code).unwrap_or(0));
    // Its arguments lie in memory, where no filter looks; told that it does not exist, the C library
    // takes the older call.
    let newer = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let absent = SeccompFilter::new(newer, SeccompAction::Allow, refused(libc::ENOSYS), arch)?;
    let few = SeccompFilter::new(rules()?, refused(libc::EPERM), SeccompAction::Allow, arch)?;
    Ok([absent.try_into()?, few.try_into()?])
}

/// Calls that are harmless whatever their arguments.
const FREE: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    // The other filter decides.
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

fn rules() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = FREE.iter().map(|call| (*call, Vec::new())).collect();
    let number = |value: i32| u64::try_from(value).unwrap_or(u64::MAX);
    // Memory, but no new code.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![masked(2, number(libc::PROT_EXEC), 0)?]);
    }
    // Threads, but no processes.
    let thread = number(libc::CLONE_THREAD);
    rules.insert(libc::SYS_clone, vec![masked(0, thread, thread)?]);
    // Signals to itself alone: how a process aborts.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![equal(0, own)?]);
    // A thread's own priority: long calls yield to short ones.
    let own_thread = [
        condition(0, SeccompCmpOp::Eq, PRIO_PROCESS)?,
        condition(1, SeccompCmpOp::Eq, 0)?,
    ];
    rules.insert(
        libc::SYS_setpriority,
        vec![SeccompRule::new(own_thread.to_vec())?],
    );
    // The runtime's own pairs of sockets; datagrams could be sent to any name.
    let pair = [
        condition(0, SeccompCmpOp::Eq, number(libc::AF_UNIX))?,
        condition(
            1,
            SeccompCmpOp::MaskedEq(SOCKET_TYPES),
            number(libc::SOCK_STREAM),
        )?,
    ];
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(pair.to_vec())?]);
    // Bytes to whom the socket is connected with.
    let nowhere = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_sendto, vec![SeccompRule::new(vec![nowhere])?]);
    // Not those that make the kernel send signals on its behalf.
    let commands = [
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_ADD_SEALS,
    ];
    rules.insert(libc::SYS_fcntl, any(1, commands.map(number))?);
    rules.insert(libc::SYS_ioctl, any(1, [FIONBIO, PAGEMAP_SCAN])?);
    rules.insert(
        libc::SYS_prctl,
        any(0, [number(libc::PR_SET_NAME), PR_SET_VMA])?,
    );
    Ok(rules)
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn equal(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, value)?])
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let operator = SeccompCmpOp::MaskedEq(mask);
    SeccompRule::new(vec![condition(argument, operator, value)?])
}

fn any<const N: usize>(
    argument: u8,
    values: [u64; N],
) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let mut rules = Vec::with_capacity(N);
    for value in values {
        rules.push(equal(argument, value)?);
    }
    Ok(rules)
}

/// What of a socket's type is its type; the rest are flags.
const SOCKET_TYPES: u64 = 0xf;
/// A process or thread by its number, 0 for the caller (`linux/resource.h`).
const PRIO_PROCESS: u64 = 0;
/// Makes a socket non-blocking (`asm-generic/ioctls.h`).
const FIONBIO: u64 = 0x5421;
/// Tells which pages were written (`linux/fs.h`): how a pool finds what to clear.
const PAGEMAP_SCAN: u64 = 0xc060_6610;
/// Names a piece of memory (`linux/prctl.h`).
const PR_SET_VMA: u64 = 0x5356_4d41;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_reaches_beyond_the_process_is_allowed() {
        let rules = rules().unwrap();
        for call in [
            libc::SYS_bpf,
            libc::SYS_connect,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_io_uring_setup,
            libc::SYS_kill,
            libc::SYS_mount,
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_perf_event_open,
            libc::SYS_pidfd_getfd,
            libc::SYS_pidfd_open,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_ptrace,
            libc::SYS_recvmsg,
            libc::SYS_sendmsg,
            libc::SYS_setuid,
            libc::SYS_socket,
            libc::SYS_unlinkat,
            libc::SYS_unshare,
            libc::SYS_userfaultfd,
        ] {
            assert!(!rules.contains_key(&call), "system call {call}");
        }
    }

    #[test]
    fn filters_compile_for_every_machine_that_has_them() {
        for arch in ["x86_64", "aarch64", "riscv64"] {
            programs(TargetArch::try_from(arch).unwrap()).unwrap();
        }
    }
}
