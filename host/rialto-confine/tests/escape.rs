//! Code within a confined process tries to get out, with the same calls that work outside.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rialto_confine::{CellLimits, Program, confine_cell, end_with_parent};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, test_kill_process};

const MODE: &str = "RIALTO_TEST_CELL";
/// A folder of this run alone, in which a cell tries to write.
const FOLDER: &str = "RIALTO_TEST_CELL_FOLDER";

/// This test program as a cell: the test below, by its name, with something else to do.
fn program(mode: &str, folder: &Path) -> Program {
    Program {
        file: std::env::current_exe().unwrap(),
        arguments: [
            "what_works_outside_is_refused_within",
            "--exact",
            "--nocapture",
        ]
        .map(Into::into)
        .to_vec(),
        environment: vec![(MODE.into(), mode.into()), (FOLDER.into(), folder.into())],
    }
}

/// What a stranger's code might try, and whether it worked.
fn attempts(parent: u32, folder: &Path) -> Vec<(&'static str, bool)> {
    let pid = Pid::from_raw(i32::try_from(parent).unwrap()).unwrap();
    let memory = format!("/proc/{parent}/mem");
    let opens = |path: &str| fs::File::open(path).is_ok();
    vec![
        ("read a file", fs::read("/etc/passwd").is_ok()),
        ("list a folder", fs::read_dir("/").is_ok()),
        ("write a file", fs::write(folder.join("out"), "x").is_ok()),
        ("open the parent's memory", opens(&memory)),
        ("open its own memory", opens("/proc/self/mem")),
        ("listen", TcpListener::bind("127.0.0.1:0").is_ok()),
        ("connect", connects()),
        ("send datagrams", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("make a named socket", UnixDatagram::unbound().is_ok()),
        ("make a pair for datagrams", UnixDatagram::pair().is_ok()),
        (
            "execute a program",
            Command::new("/bin/true").status().is_ok(),
        ),
        ("signal the parent", test_kill_process(pid).is_ok()),
        ("wake the parent", kill_process(pid, Signal::CONT).is_ok()),
        (
            "hold the parent",
            pidfd_open(pid, PidfdFlags::empty()).is_ok(),
        ),
        ("make a process", forks()),
    ]
}

/// A refusal by the other side is a connection that was tried.
fn connects() -> bool {
    match TcpStream::connect("127.0.0.1:1") {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

fn forks() -> bool {
    // The standard library's own way to a process, without executing one that is not there.
    match Command::new("/nonexistent").spawn() {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn be_a_cell(mode: &str) -> ! {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let parent = rustix::process::getppid().unwrap();
    let parent = u32::try_from(parent.as_raw_nonzero().get()).unwrap();
    end_with_parent(parent).unwrap();
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut socket = UnixStream::from(socket);
    let limits = CellLimits {
        memory_bytes: 64 << 20,
        image_bytes: 1 << 20,
    };
    if mode == "outside" {
        report(&mut socket, &attempts(parent, &folder));
        std::process::exit(0);
    }
    let done = confine_cell(limits).unwrap();
    match mode {
        "within" => {
            let mut tried = attempts(parent, &folder);
            // A thread that is started afterwards has no more.
            let there = std::thread::spawn(move || attempts(parent, &folder));
            tried.extend(there.join().unwrap());
            tried.push((
                "take memory",
                Vec::<u8>::new().try_reserve_exact(1 << 30).is_ok(),
            ));
            let words = ["no dumps", "memory 64 MiB", "no files", "no system calls"];
            let said = |word: &str| done.iter().any(|line| line.contains(word));
            tried.push(("say less than holds", !words.into_iter().all(said)));
            report(&mut socket, &tried);
        }
        "waiting" => {
            report(&mut socket, &[]);
            let _ = socket.read(&mut [0]);
            loop {
                std::thread::park();
            }
        }
        other => panic!("no mode {other}"),
    }
    std::process::exit(0);
}

fn report(socket: &mut UnixStream, tried: &[(&str, bool)]) {
    for (what, worked) in tried {
        writeln!(socket, "{} {what}", u8::from(*worked)).unwrap();
    }
    socket.shutdown(std::net::Shutdown::Write).unwrap();
}

fn run(mode: &str, folder: &Path) -> (String, ExitStatus) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut child = program(mode, folder)
        .start(Stdio::from(OwnedFd::from(theirs)))
        .unwrap();
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    (text, child.wait().unwrap())
}

#[test]
fn what_works_outside_is_refused_within() {
    if let Ok(mode) = std::env::var(MODE) {
        be_a_cell(&mode);
    }
    let folder = tempfile::tempdir().unwrap();
    let (outside, status) = run("outside", folder.path());
    assert!(status.success(), "{status}");
    let written = folder.path().join("out");
    fs::remove_file(&written).unwrap();
    let (within, status) = run("within", folder.path());
    assert!(status.success(), "{status}");
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    // Otherwise a test that fails for another reason would look like a wall.
    for line in lines(&outside) {
        assert!(line.starts_with('1'), "does not even work outside: {line}");
    }
    assert!(!within.is_empty());
    for line in lines(&within) {
        assert!(line.starts_with('0'), "works within: {line}");
    }
    assert!(!written.exists());
}

#[test]
fn it_ends_with_the_thread_that_started_it() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut child = std::thread::spawn(move || {
        let child = program("waiting", Path::new("/")).start(Stdio::from(OwnedFd::from(theirs)));
        // Until it is confined.
        ours.read_to_end(&mut Vec::new()).unwrap();
        // The socket stays open meanwhile: it is not its end that ends the process.
        (child.unwrap(), ours)
    })
    .join()
    .unwrap();
    let status = child.0.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
}
